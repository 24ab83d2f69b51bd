"""Choose the networks for a picture: by name, or by its scale and its compression."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from npsrcnn.errors import UsageError, UserError
from npsrcnn.model import load, shipped
from npsrcnn.model.ensemble import ensemble
from npsrcnn.model.network import SRCNN
from npsrcnn.model.shipped import NAME_WITH_QUALITY, anchors, chain_for, chroma_for
from npsrcnn.upscaling.source_quality import (
    AS_TOLD,
    AUTO,
    BY_MODEL,
    BY_TABLE,
    CLEAN,
    Decision,
    check_source_quality,
    decide,
)

AS_IT_IS = Decision(None, BY_MODEL)
LIKELY_QUALITY = 75  # of pictures at scale 1, for which there is no network for clean ones


@dataclass(frozen=True)
class Chosen:
    """Networks for a picture, one after the other, and why these.

    Attributes
    ----------
    nets : sequence of SRCNN
    names : tuple of str
        What :func:`npsrcnn.load` knows them by, as far as that is known.
    decision : Decision
        What the picture is taken to be.
    lacking : str
        What does not ship, where these are not for the decision's quality; why there are none.
    """

    nets: Sequence[SRCNN]
    names: tuple[str, ...] = ()
    decision: Decision = AS_IT_IS
    lacking: str = ""

    @property
    def likely(self) -> Chosen:
        """The networks that pictures are likely to need: these."""
        return self

    @property
    def comment(self) -> str:
        """What was decided, in words; empty where the picture was never compressed."""
        if self.decision.quality is None:
            return self.lacking
        if self.lacking:
            return f"{self.decision}; {self.lacking}"
        names = [name for name in self.names if NAME_WITH_QUALITY.fullmatch(name)]
        return f"{self.decision}: restored with {' and '.join(names or self.names[:1])}"

    def without_chroma(self) -> Chosen:
        """Leave out what restores Cb and Cr: grey pictures have none."""
        if not (self.nets and self.nets[0].keeps_y):
            return self
        return replace(self, nets=self.nets[1:], names=self.names[1:])


@dataclass(frozen=True)
class Automatic:
    """Networks that ship, for each picture by its own compression, each loaded once.

    It goes to other processes as it is.
    """

    scale: float
    fast: bool = False
    orientations: bool = False
    device: str = "cpu"
    _loaded: dict[int | None, Chosen] = field(default_factory=dict, repr=False, compare=False)

    @property
    def likely(self) -> Chosen:
        """The networks that pictures are likely to need, to compile kernels for."""
        return self._chain(LIKELY_QUALITY if self.scale == 1 else None)

    def chosen(self, pixels: np.ndarray, strength: float | None, said_by: str = BY_TABLE) -> Chosen:
        """Return the networks for a picture.

        Arguments are those of :func:`npsrcnn.upscaling.source_quality.decide`.

        Raises
        ------
        UserError
            At scale 1, the picture was not compressed, or no weights ship for that.
        """
        decision = decide(pixels, strength, said_by)
        try:
            chosen = replace(self._chain(decision.quality), decision=decision)
            return chosen if pixels.ndim == 3 else chosen.without_chroma()
        except UserError:
            if decision.quality is None or self.scale == 1:
                raise
        kind = "fast weights" if self.fast else "weights"
        lacking = f"no {kind} for that at x{self.scale:g}"
        return replace(self._chain(None), decision=decision, lacking=lacking)

    def _chain(self, quality: int | None) -> Chosen:
        if quality not in self._loaded:
            names = names_for(self.scale, quality, self.fast)
            self._loaded[quality] = _load(names, self.device, self.orientations)
        return self._loaded[quality]


@dataclass(frozen=True)
class BySize:
    """Networks for results of a size: for each picture by how much larger it becomes.

    Attributes
    ----------
    model : Chosen or None
        These for all; default: what ships, by what :func:`choose` is given.
    """

    model: Chosen | None = None
    source_quality: str | int = CLEAN
    fast: bool = False
    orientations: bool = False
    device: str = "cpu"

    @property
    def likely(self) -> Chosen:
        """The networks that pictures are likely to need, to compile kernels for."""
        return self.model or self.for_factor(2).likely

    def for_factor(self, factor: float) -> Chosen | Automatic:
        """Return the networks for a picture that becomes ``factor`` times as large.

        Raises
        ------
        UserError
            The model was trained for less.
        """
        if factor <= 1:
            return Chosen((), lacking="not enlarged: bicubic interpolation alone")
        if self.model is None:
            return choose(
                None,
                factor,
                self.source_quality,
                fast=self.fast,
                orientations=self.orientations,
                device=self.device,
            )[0]
        trained = math.prod(net.scale or factor for net in self.model.nets)
        if factor > trained:
            raise UserError(
                f"the model was trained for scale {trained:g}, and the size needs {factor:.4g}"
            )
        return self.model


Choice = Chosen | Automatic


def choose(
    model: SRCNN | str | Path | None,
    scale: float | None,
    source_quality: str | int = CLEAN,
    *,
    fast: bool = False,
    orientations: bool = False,
    device: str = "cpu",
    residual: bool = False,
) -> tuple[Choice, float]:
    """Choose networks for pictures, and return them with the scale that is asked for.

    Parameters
    ----------
    model
        See :func:`npsrcnn.upscale`; None: weights that ship.
    scale
        None: the model's.
    source_quality
        "auto": each picture's own, or the model as it is; "clean": never compressed; or a JPEG
        quality from 1 to 100.
    fast
        Weights with few maps, where no model is named.
    orientations
        Take the mean over eight orientations, see :mod:`npsrcnn.model.ensemble`.
    device, residual
        See :func:`npsrcnn.load`.

    Raises
    ------
    UserError
        No networks for that.
    """
    source_quality = check_source_quality(source_quality)
    quality = source_quality if isinstance(source_quality, int) else None
    told = Decision(quality, AS_TOLD)
    if model is None:
        if scale is None:
            raise UserError("neither a scale nor a model is given")
        if source_quality == AUTO:
            automatic = Automatic(scale, fast, orientations, device)
            if scale != 1:
                chain_for(scale, fast=fast)  # or it says what is wrong
            return automatic, scale
        names = names_for(scale, quality, fast)
        return replace(_load(names, device, orientations), decision=told), scale
    if quality is not None:
        model = _of_quality(model, quality)
    named = model
    if residual and not isinstance(model, SRCNN):
        named = load(model, device, residual=True)
    nets, scale = choose_models(named, scale, device)
    if orientations:
        nets = [ensemble(net) for net in nets]
    names = () if isinstance(model, SRCNN) else (str(model),)
    return Chosen(nets, names, AS_IT_IS if source_quality == AUTO else told), scale


def choose_models(
    model: SRCNN | str | Path, scale: float | None, device: str = "cpu"
) -> tuple[list[SRCNN], float]:
    """Return the network that is named, and the scale that is asked for.

    Raises
    ------
    UserError
        The two do not fit.
    """
    net = model if isinstance(model, SRCNN) else load(model, device)
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


def names_for(scale: float, quality: int | None, fast: bool = False) -> tuple[str, ...]:
    """Return the names of the weights for pictures of a scale and a quality, in their order.

    Colour is restored first, at the picture's own size: 4% more work at x2 than Y alone. Beside
    fast networks that would be as much as they take themselves.
    """
    chroma = [] if quality is None or fast else chroma_for(quality)
    return (*chroma, *chain_for(scale, quality, fast))


def _load(names: tuple[str, ...], device: str, orientations: bool) -> Chosen:
    """Load weights that ship; the last few stay loaded, so that small pictures do not wait."""
    return _load_from(shipped.FOLDER, names, device, orientations)


@lru_cache(maxsize=4)
def _load_from(_: Path, names: tuple[str, ...], device: str, orientations: bool) -> Chosen:
    nets = [load(name, device) for name in names]
    return Chosen([ensemble(net) for net in nets] if orientations else nets, names)


def _of_quality(model: SRCNN | str | Path | None, quality: int) -> str:
    """Return the name of a model's family with a quality.

    Raises
    ------
    UsageError
        The model is not the name of a family that has weights for compressed pictures.
    """
    if isinstance(model, str) and any(anchor.quality for anchor in anchors(model)):
        return f"{model}-q{quality}"
    name = model.name if isinstance(model, SRCNN) else model
    raise UsageError(
        f"source quality {quality}: {name} has no weights for other qualities; "
        "leave the model out, or the quality"
    )
