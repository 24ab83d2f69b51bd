"""Small weights for compressed pictures, and pictures that show how they were compressed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from random_inputs import random_net

from npsrcnn import SRCNN
from npsrcnn.datasets import dead_leaves

FAMILIES = (("y-x1", 1, (75, 20)), ("y-x2", 2, (None, 75, 20)), ("y-x3", 3, (None,)))


def save_families(folder: Path) -> None:
    """Write small networks: x1 and x2 for two qualities, x2 and x3 for clean pictures."""
    folder.mkdir(exist_ok=True)
    for family, scale, qualities in FAMILIES:
        for quality in qualities:
            net = random_net("3-1-3", scale=scale, seed=scale + (quality or 0))
            if quality is not None:
                net.metadata |= {"quality": quality, "jpeg": [quality, quality]}
            name = family if quality is None else f"{family}-q{quality}"
            net.save(folder / f"{name}.npz")
    random_net("3-1-3", scale=2, seed=7).save(folder / "fast-x2.npz")


def save_chroma(folder: Path) -> None:
    """Write networks that restore Cb and Cr beside them, for qualities 75 and 20."""
    for quality in (75, 20):
        random_chroma_net(quality).save(folder / f"chroma-q{quality}.npz")


def random_chroma_net(quality: int = 75) -> SRCNN:
    """A network that takes Y, Cb and Cr, and is there for Cb and Cr."""
    net = random_net("3-1-3", 3, scale=1, color="ycbcr", seed=quality)
    net.metadata |= {"quality": quality, "jpeg": [quality, quality], "restores": "chroma"}
    return net


def clean_picture() -> np.ndarray:
    """A generated picture (200, 216, 3), uint8, that no JPEG has touched."""
    rng = np.random.default_rng(0)
    picture = dead_leaves(1, (200, 216), seed=5)[0]
    return np.clip(picture + rng.normal(0, 2, picture.shape), 0, 255).round().astype(np.uint8)
