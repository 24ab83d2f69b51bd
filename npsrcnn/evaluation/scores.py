"""PSNR and SSIM of a method, image by image and their mean, in the paper's protocol."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from npsrcnn.datasets.paths import paths_of
from npsrcnn.evaluation.protocol import EvaluationImage, protocol
from npsrcnn.model.network import SRCNN
from npsrcnn.pixels.color import rgb2ycbcr
from npsrcnn.upscaling.arrays import choose_models, enlarge

Method = Callable[[EvaluationImage], np.ndarray]
"""A method enlarges: it takes ``low``, ``bicubic`` and ``scale`` of an image, never ``picture`` or
``truth``, and returns Y, (H, W), or Y, Cb and Cr, (H, W, 3), floats in 0..1."""


def by_network(net: SRCNN) -> Method:
    """The method that a network is, for any colours that it works in."""

    def restore(image: EvaluationImage) -> np.ndarray:
        if net.color == "y":
            return net.forward(image.bicubic)
        blurred = image.bicubic_rgb if net.color == "rgb" else image.bicubic_ycbcr
        restored = net.forward(blurred.transpose(2, 0, 1)[None])[0].transpose(1, 2, 0)
        if net.color == "ycbcr":
            return restored
        if image.picture.ndim == 2:
            return restored.mean(axis=2)
        return rgb2ycbcr(restored.clip(0, 1))

    return restore


def by_steps(nets: Sequence[SRCNN]) -> Method:
    """Return the method that applies several networks in turn, beginning at the small image.

    See :func:`npsrcnn.upscaling.enlarger.steps_of`.
    """

    def restore(image: EvaluationImage) -> np.ndarray:
        return enlarge(image.low.astype(np.float32), None, nets, image.scale)[0]

    return restore


def mean_psnr(net: SRCNN, prepared: Sequence[EvaluationImage]) -> tuple[float, float]:
    """Mean PSNR in dB of Y over images: by the network, and by bicubic interpolation."""
    method = by_network(net)
    restored = [image.psnr(_luma_of(method(image))) for image in prepared]
    return float(np.mean(restored)), float(np.mean([image.psnr_bicubic for image in prepared]))


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
    """The whole result: scale, protocol, all rows, and their mean."""
    keys = list(dict.fromkeys(key for row in rows for key in row if key != "name"))
    mean = {key: float(np.mean([row[key] for row in rows if key in row])) for key in keys}
    return {"scale": scale, "protocol": protocol(scale, edge), "images": rows, "mean": mean}


def evaluate(
    method: SRCNN | Method, folder: str | Path, scale: int, edge: str = "clamp",
    color: bool | None = None,
) -> dict[str, Any]:  # fmt: skip
    """PSNR and SSIM of a network, or another method, on the images of a folder.

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
    prepared = (EvaluationImage.from_file(path, scale, edge) for path in paths_of(folder))
    return summary(scale, edge, [score(p, method(p), bool(color)) for p in prepared])


def _luma_of(restored: np.ndarray) -> np.ndarray:
    return restored if restored.ndim == 2 else restored[..., 0]
