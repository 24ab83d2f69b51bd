"""Networks and pictures that tests of several rooms make up, known number by number."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from npsrcnn import SRCNN


def asymmetric(rng, name="9-1-5", channels=1, n=None, **metadata):
    """A small network: signed weights, no two equal, biases too."""
    sizes = [int(f) for f in name.split("-")]
    widths = [channels, *(n or [5, 3, 2][: len(sizes) - 1]), channels]
    layers = [
        (rng.standard_normal((o, c, f, f)), rng.standard_normal(o))
        for f, c, o in zip(sizes, widths[:-1], widths[1:], strict=True)
    ]
    return SRCNN.from_layers(layers, device="reference", metadata=metadata)


def assert_same(net, other):
    """Assert that two networks have the same float32 weights."""
    assert (net.name, net.n, net.channels) == (other.name, other.n, other.channels)
    for (w, b), (w2, b2) in zip(net.layers, other.layers, strict=True):
        assert w2.dtype == b2.dtype == np.float32
        np.testing.assert_array_equal(w, w2)
        np.testing.assert_array_equal(b, b2)


def identity(channels=1, **metadata):
    """x = max(0, x) - max(0, -x), as a network."""
    one = np.eye(channels)[:, :, None, None]
    layers = [
        (np.concatenate([one, -one]), np.zeros(2 * channels)),
        (np.concatenate([one, -one], axis=1), np.zeros(channels)),
    ]
    return SRCNN.from_layers(layers, device="reference", metadata=metadata)


def near_identity(rng, **metadata):
    """A network of one channel that changes pictures a little."""
    net = identity(1, **metadata)
    for w, _ in net.layers:
        w += 0.01 * rng.standard_normal(w.shape).astype(np.float32)
    return net


def waves(rng):
    """A picture with structure, RGB uint8, no multiple of anything."""
    y, x = np.mgrid[:53, :64]
    base = np.stack([np.sin(x / 3 + y / 7), np.cos(x / 5 - y / 4), np.sin(y / 2)], axis=2)
    return (128 + 80 * base + 20 * rng.standard_normal(base.shape)).clip(0, 255).astype(np.uint8)


def two_images(folder: Path, picture: np.ndarray) -> Path:
    """Write a.png in colour and b.png in grey into a new folder."""
    folder.mkdir()
    Image.fromarray(picture).save(folder / "a.png")
    Image.fromarray(picture[::-1, :, 1]).save(folder / "b.png")
    return folder


def shipped_weights(folder: Path, rng) -> Path:
    """Write five small networks into a new folder like the one that ships."""
    folder.mkdir()
    facts = [
        ("9-1-5-x3", 3, "y", 28.1, {"Set5": 32.641, "Set14": 29.152}, ["T91"], "none stated"),
        ("9-5-5-x3", 3, "y", 28.6, {"Set5": 33.0, "Set14": 29.4}, ["T91", "T91", "BSDS"], "mixed"),
        ("9-1-5-x3-rgb", 3, "rgb", 28.3, {}, ["T91"], "none stated"),
        ("9-1-5-x2", 2, "y", 31.0, {"Set5": 36.7}, "dead leaves", "none needed"),
        ("9-1-5-x10", 10, "y", 22.0, {}, ["T91"], "none stated"),
    ]
    for name, scale, color, validation, psnr, data, licence in facts:
        net = asymmetric(
            rng,
            name[:5],
            3 if color == "rgb" else 1,
            scale=scale,
            color=color,
            psnr_validation=validation,
            psnr=psnr,
            data=data,
            licence=licence,
        )
        net.save(folder / f"{name}.npz")
    return folder
