"""Measure a method by PSNR and SSIM, image by image and their mean, in the paper's protocol."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from npsrcnn.datasets.paths import paths_of
from npsrcnn.evaluation.methods import Method, by_network
from npsrcnn.evaluation.protocol import EvaluationImage, input_name, protocol
from npsrcnn.model.network import SRCNN
from npsrcnn.upscaling.choice import choose_models


def mean_psnr(net: SRCNN, images: Sequence[EvaluationImage]) -> tuple[float, float]:
    """Measure mean PSNR in dB of Y over images: by the network, and by bicubic interpolation."""
    method = by_network(net)
    restored = [image.psnr(_luma_of(method(image))) for image in images]
    return float(np.mean(restored)), float(np.mean([image.psnr_bicubic for image in images]))


def score(image: EvaluationImage, restored: np.ndarray, color: bool = False) -> dict[str, Any]:
    """Measure one image: its name, then PSNR and SSIM of Y, bicubic and restored.

    Of an image that was compressed, also the quality, "jpeg", or of one that was filmed "crf"; at
    scale 1 the keys of what was to be restored end in "_jpeg" instead of "_bicubic", and PSNR-B,
    "psnr_b", stands beside the rest.
    With ``color``, also PSNR of Cb, Cr, YCbCr and RGB (:meth:`EvaluationImage.psnr_color`), unless
    the image is grey. Of a method that restores Y alone, Cb and Cr are bicubic.
    """
    y = _luma_of(restored)
    before = f"_{input_name(image.scale).lower()}"
    row: dict[str, Any] = {"name": image.name}
    if image.jpeg is not None:
        row["jpeg"] = image.jpeg
    if image.crf is not None:
        row["crf"] = image.crf
    row |= {
        f"psnr{before}": image.psnr_bicubic,
        "psnr": image.psnr(y),
        f"ssim{before}": image.ssim_bicubic,
        "ssim": image.ssim(y),
    }
    if image.scale == 1:
        row |= {f"psnr_b{before}": image.psnr_b(image.bicubic), "psnr_b": image.psnr_b(y)}
    if color and image.picture.ndim == 3:
        for suffix, ycbcr in ((before, image.bicubic_ycbcr), ("", image.in_color(restored))):
            scores = image.psnr_color(ycbcr)
            row |= {f"psnr_{key}{suffix}": value for key, value in scores.items()}
    return row


def summary(
    scale: int,
    edge: str,
    rows: list[dict[str, Any]],
    jpeg: int | None = None,
    crf: int | None = None,
) -> dict[str, Any]:
    """Return the whole result: scale, compression if any, protocol, all rows, their mean."""
    keys = dict.fromkeys(key for row in rows for key in row if key not in ("name", "jpeg", "crf"))
    mean = {key: float(np.mean([row[key] for row in rows if key in row])) for key in keys}
    compressed = {"jpeg": jpeg, "crf": crf}
    lost = {key: value for key, value in compressed.items() if value is not None}
    text = protocol(scale, edge, jpeg, crf)
    return {"scale": scale, **lost, "protocol": text, "images": rows, "mean": lost | mean}


def evaluate(
    method: SRCNN | Method,
    folder: str | Path,
    scale: int,
    edge: str = "clamp",
    color: bool | None = None,
    jpeg: int | None = None,
    crf: int | None = None,
) -> dict[str, Any]:
    """Measure PSNR and SSIM of a network, or another method, on the images of a folder.

    Parameters
    ----------
    method
        A network, or a function from a :class:`EvaluationImage` to Y or YCbCr.
    folder
        A folder of images, or one image.
    scale
        2 or more; with ``jpeg`` also 1.
    edge
        "clamp" (the paper) or "mirror" (newer MATLAB): bicubic interpolation at the edge.
    color
        Measure Cb, Cr and RGB as well. Default: for networks of three channels.
    jpeg
        Quality, 1 to 100, at which the small images are compressed as JPEG; None: they are not.
    crf
        CRF, 0 to 51, at which Y of the small images is filmed by x264; None: it is not.

    Returns
    -------
    dict
        {"scale", "protocol", "images": [{"name", "psnr_bicubic", "psnr", "ssim_bicubic",
        "ssim"}, ...], "mean": {the same keys}}; PSNR in dB. With ``jpeg`` see :func:`score`.

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
    images = (EvaluationImage.from_file(path, scale, edge, jpeg, crf) for path in paths_of(folder))
    rows = [score(image, method(image), bool(color)) for image in images]
    return summary(scale, edge, rows, jpeg, crf)


def _luma_of(restored: np.ndarray) -> np.ndarray:
    return restored if restored.ndim == 2 else restored[..., 0]
