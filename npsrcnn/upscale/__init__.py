"""From an image to a larger one: ``npsrcnn.upscale`` for arrays, ``python -m npsrcnn.upscale``.

The image is enlarged by bicubic interpolation and restored by the network: of a colour image Y by
a network of one channel, and all channels by one of three. This goes in strips of rows, each with
as much of its surroundings as the filters see, so that memory beyond the image and its result is
bounded and the result does not show it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from npsrcnn import model_files
from npsrcnn.color import convert, peak, to_rgb, to_ycbcr
from npsrcnn.errors import UserError
from npsrcnn.network import SRCNN
from npsrcnn.resize import Resizer
from npsrcnn.upscale.transparency import fill

STRIP = 1 << 23  # pixels of the result that are in work at a time: 4 x 32 MiB in floats
SUPPORT = 2  # bicubic interpolation looks this far, in pixels of the small image


def upscale(
    image: np.ndarray, scale: float | None = None, model: SRCNN | str | Path | None = None
) -> np.ndarray:
    """Enlarge an image with SRCNN.

    Parameters
    ----------
    image : ndarray, (H, W), (H, W, 1), (H, W, 2), (H, W, 3) or (H, W, 4)
        Grey, grey with alpha, RGB, or RGBA, of any size from 1 x 1 on. uint8, uint16, or a float
        type with black at 0 and white at 1.
    scale : float
        How much larger; what the model was trained for. May be left out where the model says it.
        Without a model any number above 1: what no shipped weights were trained for is reached
        in steps (x6 by x2 and x3) and a last one by bicubic interpolation (x1.5 from x2).
    model : SRCNN, name or path
        The network, or what :func:`npsrcnn.load` takes; default: the best that ships for the
        scale. (:func:`npsrcnn.ensemble.ensemble` makes a better, slower one of any network.)

    Returns
    -------
    ndarray
        ``ceil(scale * H)`` by ``ceil(scale * W)``, channels and dtype as given. Integers are
        rounded and limited to their range. Floats are not limited: at sharp edges they go a
        little below 0 and above 1. Alpha is enlarged by bicubic interpolation within its range,
        and the colour of transparent pixels does not show in visible ones.

    Raises
    ------
    UserError
        No model for the scale, or one trained for another; values that are not finite.
    TypeError, ValueError
        No image: another dtype or shape.
    """
    image = np.asarray(image)
    channels = image.shape[2] if image.ndim == 3 else 1
    if image.ndim not in (2, 3) or channels not in (1, 2, 3, 4) or image.size == 0:
        raise ValueError(f"expected an image (H, W) or (H, W, 1 to 4), not {image.shape}")
    if image.dtype not in (np.uint8, np.uint16, np.float16, np.float32, np.float64):
        raise TypeError(f"cannot enlarge {image.dtype}: use uint8, uint16 or a float type in 0..1")
    nets, scale = choose_models(model, scale)
    solid = image.reshape(*image.shape[:2], channels)
    pixels = solid[..., 0] if channels < 3 else solid[..., :3]
    alpha = solid[..., -1] if channels in (2, 4) else None
    pixels, alpha = enlarge(pixels, alpha, nets, scale)
    if alpha is not None:
        pixels = np.dstack([pixels, alpha])
    return pixels.reshape(*pixels.shape[:2], *image.shape[2:])


def choose_models(
    model: SRCNN | str | Path | None, scale: float | None, device: str = "cpu"
) -> tuple[list[SRCNN], float]:
    """The network to use, or several in turn, and the scale that is asked for.

    Only where no model is named, they may make more of an image than the scale: see
    :func:`steps_of`.

    Raises
    ------
    UserError
        There is none for the scale, or the two do not fit.
    """
    if model is None:
        if scale is None:
            raise UserError("neither a scale nor a model is given")
        return [model_files.load(name, device) for name in model_files.chain_for(scale)], scale
    net = model if isinstance(model, SRCNN) else model_files.load(model, device)
    if scale is None:
        if net.scale is None:
            raise UserError("the model does not say for which scale it was trained: give the scale")
        scale = net.scale
    if not 1 <= scale < math.inf:
        raise UserError(f"scale {scale:g}: to enlarge, it is at least 1")
    if net.scale is not None and net.scale != scale:
        raise UserError(
            f"the model was trained for scale {net.scale:g}, not {scale:g}: "
            f"use scale {net.scale:g}, or a model for {scale:g}"
        )
    return [net], scale


def steps_of(nets: Sequence[SRCNN], scale: float) -> list[float]:
    """By how much each network enlarges, and bicubic interpolation in the end, if it must.

    [3] for x3; [2, 3] for x6; [2, 0.75] for x1.5: enlarged to x2 and reduced by 0.75.
    """
    steps = [scale if net.scale is None else net.scale for net in nets]
    rest = scale / math.prod(steps)
    return steps if rest == 1 else [*steps, rest]


def enlarge(
    pixels: np.ndarray, alpha: np.ndarray | None, nets: Sequence[SRCNN], scale: float
) -> tuple[np.ndarray, np.ndarray | None]:
    """As :func:`upscale`, with pixels (H, W) or (H, W, 3) and alpha (H, W) in two arrays."""
    resizer = Resizer(pixels.shape[:2], scale)
    steps = steps_of(nets, scale)
    if alpha is not None:
        pixels = fill(pixels, alpha, _reach(nets, steps) + 1)
        alpha = resizer(alpha).clip(0, alpha.dtype.type(peak(alpha.dtype)))
    if len(steps) == 1:
        return _restored(pixels, nets[0], scale), alpha
    white = peak(pixels.dtype)
    between = pixels.astype(np.float32) / np.float32(white)  # nothing is rounded between steps
    for net, step in zip(nets, steps, strict=False):
        between = _restored(between, net, step)
    if between.shape[:2] != resizer.shape:
        between = Resizer(between.shape[:2], shape=resizer.shape)(between)
    if pixels.dtype.kind == "u":
        between = np.floor(between * white + 0.5).clip(0, white)
    return between.astype(pixels.dtype), alpha


def _reach(nets: Sequence[SRCNN], steps: Sequence[float]) -> int:
    """How far a pixel of the result sees, in pixels of the small image."""
    reach, zoom = 0.0, 1.0
    margins = [net.margin / 2 for net in nets] + [0.0] * (len(steps) - len(nets))
    for margin, step in zip(margins, steps, strict=True):
        reach += (SUPPORT / min(step, 1) + margin / step) / zoom
        zoom *= step
    return math.ceil(reach)


def _restored(pixels: np.ndarray, net: SRCNN, scale: float) -> np.ndarray:
    """Pixels (H, W) or (H, W, 3) enlarged by one network, dtype kept."""
    resizer = Resizer(pixels.shape[:2], scale)
    white = peak(pixels.dtype)
    matrix, offset = (np.eye(3), np.zeros(3)) if net.color == "rgb" else to_ycbcr(1.0)
    back, back_offset = (matrix, offset) if net.color == "rgb" else to_rgb(1.0)
    if pixels.ndim == 2 and net.channels == 1:
        planes = (pixels / np.float32(white)).astype(np.float32, copy=False)[None]
    else:
        color = pixels if pixels.ndim == 3 else np.stack([pixels] * 3, axis=2)
        color = color.astype(np.float32) if color.dtype == np.float16 else color
        planes = np.empty((3, *pixels.shape[:2]), np.float32)
        convert(color, matrix / white, offset, planes.transpose(1, 2, 0))
    if pixels.ndim == 2:  # of three channels, if the network has three, the mean
        back, back_offset = back.mean(axis=0, keepdims=True), back_offset.mean(keepdims=True)

    result = np.empty((*resizer.shape, *pixels.shape[2:]), pixels.dtype)
    for start, stop, enlarged in _strips(planes, net, resizer):
        if len(enlarged) == 3:
            kind = np.float32 if white == 1 else pixels.dtype
            strip = np.empty((*enlarged.shape[1:], len(back)), kind)
            convert(enlarged.transpose(1, 2, 0), back * white, back_offset * white, strip)
            result[start:stop] = strip.reshape(result[start:stop].shape)
        elif white == 1:
            result[start:stop] = enlarged[0]
        else:
            result[start:stop] = np.floor(enlarged[0] * white + 0.5).clip(0, white)
    return result


def _strips(
    planes: np.ndarray, net: SRCNN, resizer: Resizer
) -> Iterator[tuple[int, int, np.ndarray]]:
    """Rows start to stop of the result, (channels, rows, W) float32, strip by strip.

    ``planes`` (channels, H, W) are the small image. The network restores as many channels as it
    has, and gets the rows that its filters see above and below; the others are just enlarged.
    """
    height, width = resizer.shape
    reach = sum(w.shape[2] // 2 for w, _ in net.layers)  # to either side, however it is turned
    rows = max(64, STRIP // width)
    for start in range(0, height, rows):
        stop = min(start + rows, height)
        first, last = max(0, start - reach), min(height, stop + reach)
        seen = np.stack([resizer(plane, (first, last)) for plane in planes[: net.channels]])
        enlarged = np.empty((len(planes), stop - start, width), np.float32)
        restored = net.forward(seen[None])[0]
        enlarged[: net.channels] = restored[:, start - first : stop - first]
        for i in range(net.channels, len(planes)):
            enlarged[i] = resizer(planes[i], (start, stop))
        yield start, stop, enlarged
