"""Measure a method by PSNR and SSIM, image by image and their mean, in the paper's protocol."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from npsrcnn.datasets.paths import paths_of
from npsrcnn.evaluation.methods import Method, by_network
from npsrcnn.evaluation.protocol import EvaluationImage, protocol
from npsrcnn.model.network import SRCNN
from npsrcnn.upscaling.arrays import choose_models


def mean_psnr(net: SRCNN, images: Sequence[EvaluationImage]) -> tuple[float, float]:
    """Measure mean PSNR in dB of Y over images: by the network, and by bicubic interpolation."""
    method = by_network(net)
    restored = [image.psnr(_luma_of(method(image))) for image in images]
    return float(np.mean(restored)), float(np.mean([image.psnr_bicubic for image in images]))


def score(image: EvaluationImage, restored: np.ndarray, color: bool = False) -> dict[str, Any]:
    """Measure one image: its name, then PSNR and SSIM of Y, bicubic and restored.

    With ``color``, also PSNR of Cb, Cr, YCbCr and RGB (:meth:`EvaluationImage.psnr_color`), unless
    the image is grey. Of a method that restores Y alone, Cb and Cr are bicubic.
    """
    y = _luma_of(restored)
    row = {
        "name": image.name,
        "psnr_bicubic": image.psnr_bicubic,
        "psnr": image.psnr(y),
        "ssim_bicubic": image.ssim_bicubic,
        "ssim": image.ssim(y),
    }
    if color and image.picture.ndim == 3:
        for suffix, ycbcr in (("_bicubic", image.bicubic_ycbcr), ("", image.in_color(restored))):
            scores = image.psnr_color(ycbcr)
            row |= {f"psnr_{key}{suffix}": value for key, value in scores.items()}
    return row


def summary(scale: int, edge: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the whole result: scale, protocol, all rows, and their mean."""
    keys = list(dict.fromkeys(key for row in rows for key in row if key != "name"))
    mean = {key: float(np.mean([row[key] for row in rows if key in row])) for key in keys}
    return {"scale": scale, "protocol": protocol(scale, edge), "images": rows, "mean": mean}


def evaluate(
    method: SRCNN | Method,
    folder: str | Path,
    scale: int,
    edge: str = "clamp",
    color: bool | None = None,
) -> dict[str, Any]:
    """Measure PSNR and SSIM of a network, or another method, on the images of a folder.

    Parameters
    ----------
    method
        A network, or a function from a :class:`EvaluationImage` to Y or YCbCr.
    folder
        A folder of images, or one image.
    scale
        2 or more.
    edge
        "clamp" (the paper) or "mirror" (newer MATLAB): bicubic interpolation at the edge.
    color
        Measure Cb, Cr and RGB as well. Default: for networks of three channels.

    Returns
    -------
    dict
        {"scale", "protocol", "images": [{"name", "psnr_bicubic", "psnr", "ssim_bicubic",
        "ssim"}, ...], "mean": {the same keys}}; PSNR in dB.

    Raises
    ------
    UserError
        No such folder, no images, one that cannot be read or is too small; a network that was
        trained for another scale.
    """
    if isinstance(method, SRCNN):
        choose_models(method, scale)  # refuses a network for another scale
        color = method.channels == 3 if color is None else color
        method = by_network(method)
    images = (EvaluationImage.from_file(path, scale, edge) for path in paths_of(folder))
    return summary(scale, edge, [score(image, method(image), bool(color)) for image in images])


def _luma_of(restored: np.ndarray) -> np.ndarray:
    return restored if restored.ndim == 2 else restored[..., 0]
