"""Enlarge images that are arrays: ``npsrcnn.upscale``.

The image is enlarged by bicubic interpolation and restored by the network: of a colour image Y by
a network of one channel, and all channels by one of three.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, overload

import numpy as np

from npsrcnn.errors import UserError
from npsrcnn.model.network import SRCNN
from npsrcnn.pixels.color import as_native
from npsrcnn.pixels.values import LARGEST_FLOAT, LEAST_FLOAT, Values, extent
from npsrcnn.upscaling.choice import Automatic, choose
from npsrcnn.upscaling.strips import enlarge, join, split

if TYPE_CHECKING:
    import dask.array as da


@overload
def upscale(
    image: np.ndarray,
    scale: float | None = None,
    model: SRCNN | str | Path | None = None,
    source_quality: str | int = "clean",
) -> np.ndarray: ...


@overload
def upscale(
    image: da.Array,
    scale: float | None = None,
    model: SRCNN | str | Path | None = None,
    source_quality: str | int = "clean",
) -> da.Array: ...


def upscale(
    image: np.ndarray | da.Array,
    scale: float | None = None,
    model: SRCNN | str | Path | None = None,
    source_quality: str | int = "clean",
) -> np.ndarray | da.Array:
    """Enlarge an image with SRCNN.

    Parameters
    ----------
    image : ndarray, (H, W), (H, W, 1), (H, W, 2), (H, W, 3) or (H, W, 4)
        Grey, grey with alpha, RGB, or RGBA, of any size from 1 x 1 on. uint8, uint16, or a float
        type with black at 0 and white at 1, in either byte order; NaN and infinity are pixels
        without a value (a masked array is to be filled with NaN before). Of a Dask
        array, in any chunks, the result is one too, not yet computed, and the same to the last bit.
    scale : float
        How much larger; what the model was trained for. May be left out where the model says it.
        Without a model any number above 1: what no shipped weights were trained for is reached
        in steps (x6 by x2 and x3) and a last one by bicubic interpolation (x1.5 from x2). 1
        restores a compressed image at its size.
    model : SRCNN, name or path
        The network, or what :func:`npsrcnn.load` takes; default: the best that ships for the
        scale. (:func:`npsrcnn.model.ensemble.ensemble` makes a better, slower one of any network.)
    source_quality : "clean", "auto", or int
        How the image was compressed before: never; by what its pixels show, if weights for that
        ship; or as JPEG of a quality from 1 to 100. With a model, "auto" takes it as it is, and
        of a number the model is the name of weights that ship for several, such as "9-5-5-x2".

    Returns
    -------
    ndarray
        ``ceil(scale * H)`` by ``ceil(scale * W)``, channels and dtype as given, in native byte
        order. Integers are rounded and limited to their range. Floats are not limited: at sharp
        edges they go a little below 0 and above 1. Alpha is enlarged by bicubic interpolation
        within its range, and the colour of transparent pixels does not show in visible ones. Where
        a pixel has no value, the result has none, and its neighbours do not see that.

    Raises
    ------
    UserError
        No model for the scale or the quality, or one trained for another scale; floats, of colour
        or alpha, that are plainly not in 0..1; "auto" of a Dask array; at scale 1, an image that
        was not compressed.
    TypeError, ValueError
        No image: another dtype or shape, a masked array; a scale that is no number.
    """
    dask = sys.modules.get("dask.array")  # who has a Dask array has imported it
    lazy = dask is not None and isinstance(image, dask.Array)
    if isinstance(getattr(image, "_meta", image), np.ma.MaskedArray):  # also within Dask's
        raise TypeError(
            "a masked array would lose its mask: give floats with NaN in its place, such as "
            "(image / 255).filled(np.nan), of which the result has NaN there"
        )
    image = image.astype(image.dtype.newbyteorder("=")) if lazy else as_native(image)
    channels = image.shape[2] if image.ndim == 3 else 1
    if image.ndim not in (2, 3) or channels not in (1, 2, 3, 4) or image.size == 0:
        raise ValueError(f"expected an image (H, W) or (H, W, 1 to 4), not {image.shape}")
    if image.dtype not in (np.uint8, np.uint16, np.float16, np.float32, np.float64):
        raise TypeError(_not_enlarged(image.dtype))
    if isinstance(scale, str | bool | bytes):
        raise TypeError(f"scale {scale!r} is {type(scale).__name__}: expected a number, as in 3")
    choice, scale = choose(model, scale, source_quality)
    if not isinstance(image, np.ndarray):
        from npsrcnn.upscaling.dask_arrays import upscale_lazily

        if isinstance(choice, Automatic):
            raise UserError('source_quality="auto" looks at pixels, and a Dask array has none yet')
        chosen = choice if channels > 2 else choice.without_chroma()
        return upscale_lazily(image, chosen.nets, scale)
    pixels, alpha = split(image)
    _check_range(pixels, alpha)
    if isinstance(choice, Automatic):
        chosen = choice.chosen(pixels, None)
    else:
        chosen = choice if channels > 2 else choice.without_chroma()
    return join(*enlarge(pixels, alpha, chosen.nets, scale), image.shape[2:])


def _not_enlarged(dtype: np.dtype) -> str:
    """Say that images of a type are not taken, and how to make some that are."""
    ways = {
        "b": ", such as image * np.uint8(255)",
        "i": ", such as image.astype(np.uint8) where white is 255",
        "u": ", such as image.astype(np.uint8) where white is 255",
    }
    how = ways.get(dtype.kind, "")
    return f"cannot enlarge {dtype}: use uint8, uint16 or a float type in 0..1{how}"


def _check_range(pixels: np.ndarray, alpha: np.ndarray | None) -> None:
    """Raise UserError where floats are plainly in another range than 0..1, and say what to do.

    A little less and more than that is what enlarging makes of edges.
    """
    if pixels.dtype.kind != "f":
        return
    low, high = extent([(pixels, alpha)], Values.of_type(pixels.dtype))
    if not np.isfinite(pixels).any():
        raise UserError("an image whose values are all not finite (NaN or infinity)")
    if low > high or (low >= LEAST_FLOAT and high <= LARGEST_FLOAT):
        return
    if low >= 0 and high <= 255:
        advice = "divide by 255"
    elif low >= 0 and high <= 65535:
        advice = "divide by 65535"
    elif low >= -1 and high <= 1:
        advice = "give (image + 1) / 2, and take 2 * result - 1"
    else:
        advice = "give (image - low) / (high - low), and take low + (high - low) * result"
    raise UserError(f"floats from {low:.6g} to {high:.6g}, and black is 0, white 1: {advice}")
