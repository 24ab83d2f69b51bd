"""Methods of enlarging that can be measured: networks, chains of them, dictionaries of patches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from npsrcnn.datasets.paths import paths_of
from npsrcnn.errors import UsageError, UserError
from npsrcnn.evaluation.protocol import PEAK, EvaluationImage
from npsrcnn.model.ensemble import ensemble
from npsrcnn.model.loading import load
from npsrcnn.model.network import SRCNN
from npsrcnn.model.shipped import chain_for
from npsrcnn.pixels.color import Y_BLACK, Y_RANGE, rgb2ycbcr
from npsrcnn.pixels.resize import imresize
from npsrcnn.upscaling.choice import choose_models
from npsrcnn.upscaling.enlarger import steps_of

DEAD_LEAVES = "dead-leaves"  # generated images, where a folder of images could be named

Method = Callable[[EvaluationImage], np.ndarray]
"""A method enlarges: it takes ``low``, ``bicubic`` and ``scale`` of an image, never ``picture`` or
``truth``, and returns Y, (H, W), or Y, Cb and Cr, (H, W, 3), floats in 0..1."""


class Candidate(NamedTuple):
    """A method to be measured."""

    method: Method
    scale: int
    title: str
    in_color: bool  # it restores Cb and Cr as well


def by_network(net: SRCNN) -> Method:
    """Return the method that a network is, for any colours that it works in.

    A grey image is taken as it is, as in the papers on enlarging; one that was compressed as JPEG
    is mapped to 16..235 of 255, where Y of colour images lies, and back.
    """

    def restore(image: EvaluationImage) -> np.ndarray:
        mapped = _is_mapped(image)
        if net.color == "y":
            if mapped:
                return _mapped_back(net.forward(_mapped(image.bicubic)))
            return net.forward(image.bicubic)
        blurred = image.bicubic_rgb if net.color == "rgb" else image.bicubic_ycbcr
        if mapped and net.color == "ycbcr":
            blurred = np.concatenate([_mapped(blurred[..., :1]), blurred[..., 1:]], axis=2)
        restored = net.forward(blurred.transpose(2, 0, 1)[None])[0].transpose(1, 2, 0)
        if net.keeps_y:
            restored[..., 0] = blurred[..., 0]
        if net.color == "rgb" and image.picture.ndim == 2:
            grey: np.ndarray = restored.mean(axis=2)
            return grey
        if mapped:
            return _mapped_back(restored[..., 0])
        return restored if net.color == "ycbcr" else rgb2ycbcr(restored.clip(0, 1))

    return restore


def by_steps(nets: Sequence[SRCNN]) -> Method:
    """Return the method that applies several networks in turn, beginning at the small image.

    See :func:`npsrcnn.upscaling.enlarger.steps_of`.
    """

    def restore(image: EvaluationImage) -> np.ndarray:
        low = _mapped(image.low) if _is_mapped(image) else image.low
        y = low.astype(np.float32)
        for net, factor in zip(nets, steps_of(nets, image.scale), strict=False):
            y = net.forward(imresize(y, factor))
        y = y if y.shape == image.truth.shape else imresize(y, shape=image.truth.shape)
        return _mapped_back(y) if _is_mapped(image) else y

    return restore


def srcnn(
    model: str | None,
    scale: int | None,
    *,
    device: str = "cpu",
    padding: str | None = None,
    orientations: bool = False,
    jpeg: int | None = None,
) -> Candidate:
    """Load the network to be measured, or the chain of networks that ship for a scale.

    Parameters
    ----------
    model
        A file or a name, see :func:`npsrcnn.load`; None: the best that ship for ``scale``.
    scale
        None: the model's own.
    device, padding
        See :func:`npsrcnn.load`.
    orientations
        Take the mean over eight orientations, see :mod:`npsrcnn.model.ensemble`.
    jpeg
        Quality of JPEG; without ``model`` the network is the one that ships for it.

    Raises
    ------
    UserError
        Neither ``model`` nor ``scale``; a model for another scale, or for one that is not whole;
        and as :func:`npsrcnn.load`.
    """
    if model is not None:
        names = [model]
        nets, factor = choose_models(load(model, device, padding), scale)
    elif scale is not None:
        names = chain_for(scale, quality=jpeg)
        nets, factor = [load(name, device, padding) for name in names], scale
    else:
        raise UserError("to measure, name a model, a scale, or both")
    if factor != int(factor):
        raise UsageError(f"{names[0]} is for x{factor:g}: the protocol is for whole scales")
    steps = steps_of(nets, factor)
    words = []
    for name, net, step in zip(names, nets, steps, strict=False):
        edges = "replicated" if net.padding == "replicate" else "zero"
        which = f"x{step:g} by " if len(steps) > 1 else ""
        words.append(f"{which}SRCNN {net.name} ({name}, edges {edges})")
    if len(steps) > len(nets):
        words.append(f"x{steps[-1]:.4g} by bicubic interpolation")
    if orientations:
        nets = [ensemble(net) for net in nets]
        words.append("mean over 8 orientations")
    method = by_network(nets[0]) if len(steps) == 1 else by_steps(nets)
    in_color = len(steps) == 1 and nets[0].channels == 3
    return Candidate(method, int(factor), ", ".join(words), in_color)


def by_patches(kind: str, scale: int, train_data: str) -> Candidate:
    """Return a super-resolver of :mod:`npsrcnn.sparse_coding`, trained unless it was before.

    Parameters
    ----------
    kind
        One of ``npsrcnn.sparse_coding.methods.TITLES``.
    scale
        2 or more.
    train_data
        See :func:`npsrcnn.datasets.paths.paths_of`; or "dead-leaves".
    """
    from npsrcnn import datasets
    from npsrcnn.sparse_coding import methods  # here: training starts without it

    if train_data == DEAD_LEAVES:
        pictures = [EvaluationImage.from_array(image, scale) for image in datasets.dead_leaves()]
    else:
        pictures = [EvaluationImage.from_file(path, scale) for path in paths_of(train_data)]
    sharp = [picture.truth / np.float32(PEAK) for picture in pictures]
    made = methods.super_resolver(kind, sharp, scale, cache=methods.default_cache())
    title = f"{methods.TITLES[kind]}, trained on {train_data}"
    return Candidate(lambda image: made.forward(image.bicubic), scale, title, False)


def _is_mapped(image: EvaluationImage) -> bool:
    return image.jpeg is not None and image.picture.ndim == 2


def _mapped(grey: np.ndarray) -> np.ndarray:
    return Y_BLACK + Y_RANGE * grey


def _mapped_back(y: np.ndarray) -> np.ndarray:
    return (y - Y_BLACK) / Y_RANGE
