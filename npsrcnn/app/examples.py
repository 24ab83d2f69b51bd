"""Make the picture that a tab shows ready: the photograph that ships, or one that was sent."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from npsrcnn import images
from npsrcnn.app.limits import check_picture
from npsrcnn.evaluation.protocol import EvaluationImage
from npsrcnn.model.network import SRCNN
from npsrcnn.report.photograph import photograph

MOST_SIDE = 320  # pixels: of larger pictures the middle
USUAL_SCALE = 3


def example(upload: str | None, scale: int | None, jpeg: int | None = None) -> EvaluationImage:
    """Return a picture, made smaller by a scale, as a network gets it.

    Parameters
    ----------
    upload : str, optional
        Its file; default: the photograph that ships.
    scale : int, optional
        Default: 3.
    jpeg : int, optional
        Quality at which it is compressed.

    Raises
    ------
    UserError
        The file is no picture, too large, or too small.
    """
    scale = scale or USUAL_SCALE
    if scale == 1 and jpeg is None:
        scale = USUAL_SCALE
    if upload is None:
        return photograph(scale, jpeg)
    path = Path(upload)
    check_picture(path)
    pixels = images.read_array(path)
    top, left = (max(0, (length - MOST_SIDE) // 2) for length in pixels.shape[:2])
    part = pixels[top : top + MOST_SIDE, left : left + MOST_SIDE]
    return EvaluationImage.from_array(part, scale, name=path.name, jpeg=jpeg)


def input_of(net: SRCNN, image: EvaluationImage) -> np.ndarray:
    """Return what a network gets of an image: (H, W), or (3, H, W); float32."""
    if net.color == "y":
        return image.bicubic.astype(np.float32)
    planes = image.bicubic_rgb if net.color == "rgb" else image.bicubic_ycbcr
    return np.ascontiguousarray(planes.transpose(2, 0, 1), np.float32)
