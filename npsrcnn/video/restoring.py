"""Choose weights by how strongly a clip was compressed: by the quantizer of its key frames.

Of an animated picture the first frame decides, as if it were a still one.

Weights for frames of clips, where they ship, restore best what is quantized as x264 does at CRF 19
to 33. Else those for JPEG pictures are taken whose table takes away about as much: at x264's CRF 20
of quality 94, at 28 of 80, at 36 of 45. Below that clean weights are best. All was measured at x2
on moving windows of photographs, in x264, x265, VP9 and AV1: see the weights' README, and
``python -m benchmarks.video --quality``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from npsrcnn.errors import UserError
from npsrcnn.images import webp
from npsrcnn.model.shipped import FAST, clips_for
from npsrcnn.pixels.jpeg import quality_of_strength, strength_of_quality
from npsrcnn.upscaling.choice import Automatic, Choice, Chosen, choose
from npsrcnn.upscaling.source_quality import AUTO, BY_HEADER, CLEAN

CLIP_QUANTIZERS = 19.0, 33.0  # between which weights for clips are ahead of all others
QUALITIES = {20: 94, 24: 87, 28: 80, 32: 62, 36: 45, 51: 6}
"""JPEG quality whose weights restore clips of a quantizer best, or nearly."""


@dataclass(frozen=True)
class Weights:
    """Which networks clips get: as asked for, the same for all, or each by its compression.

    Attributes
    ----------
    model, scale, source_quality, fast, orientations, device, residual
        See :func:`npsrcnn.upscaling.choice.choose`; AUTO without a model: by the quantizer.
    """

    model: str | Path | None
    scale: float | None
    source_quality: str | int = AUTO
    fast: bool = False
    orientations: bool = False
    device: str = "cpu"
    residual: bool = False

    @property
    def by_clip(self) -> bool:
        """Whether each clip gets networks of its own."""
        return self.model is None and self.source_quality == AUTO

    def for_all(self) -> tuple[Chosen, float]:
        """Return the networks of all clips, where each does not get its own.

        Returns
        -------
        chosen, scale
            With those of colour, for animated pictures; and the model's scale, if none was given.
        """
        choice, scale = self._choose()
        assert not isinstance(choice, Automatic)
        return choice, scale

    def for_animation(self, path: Path) -> tuple[Chosen, float]:
        """Return the networks for an animated picture, with those of colour, and the scale."""
        choice, scale = self._choose()
        if not isinstance(choice, Automatic):
            return choice, scale
        from npsrcnn.video.animations import read_first_frame

        first, strength = read_first_frame(path), webp.read_strength(path)
        try:
            return choice.chosen(first, strength, BY_HEADER), scale
        except UserError as error:
            raise UserError(f"{path}: {error}") from error

    def _choose(self) -> tuple[Choice, float]:
        return choose(
            self.model,
            self.scale,
            self.source_quality,
            fast=self.fast,
            orientations=self.orientations,
            device=self.device,
            residual=self.residual,
        )

    def for_clip(self, quantizer: float | None) -> tuple[Chosen, float, str]:
        """Return the networks for a clip's planes of Y, the scale, and what to say of the choice.

        Parameters
        ----------
        quantizer : float or None
            See :class:`npsrcnn.video.clips.Clip`.
        """
        if not self.by_clip or self.scale is None:
            choice, scale = self.for_all()
            return choice.without_chroma(), scale, ""
        choice = choose_for(
            quantizer,
            self.scale,
            fast=self.fast,
            orientations=self.orientations,
            device=self.device,
        )
        return choice, self.scale, comment_on(quantizer, choice)


def quality_of_quantizer(quantizer: float) -> int:
    """Return the JPEG quality, 1 to 100, whose weights fit a quantizer of H.264, 0 to 51.

    Between those of :data:`QUALITIES` the logarithm of the strength goes straight, and below them
    on as between the first two.
    """
    at = list(QUALITIES)
    strengths = np.log([strength_of_quality(quality) for quality in QUALITIES.values()])
    slope = (strengths[1] - strengths[0]) / (at[1] - at[0])
    below = slope * min(0, quantizer - at[0])
    strength = math.exp(below + np.interp(quantizer, at, strengths))
    return min(100, max(1, round(quality_of_strength(strength))))


def choose_for(
    quantizer: float | None,
    scale: float,
    *,
    fast: bool = False,
    orientations: bool = False,
    device: str = "cpu",
) -> Chosen:
    """Choose weights that ship for a clip; those for clean ones where no others fit.

    Parameters
    ----------
    quantizer : float or None
        See :class:`npsrcnn.video.clips.Clip`.
    scale, fast, orientations, device
        See :func:`npsrcnn.upscaling.choice.choose`.

    Raises
    ------
    UserError
        No weights for the scale; at scale 1, a clip of which nothing says how it was compressed.
    """
    if scale == 1 and quantizer is None:
        raise UserError("nothing says how it was compressed: give --source-quality, as 40")
    how = partial(choose, scale=scale, fast=fast, orientations=orientations, device=device)
    if quantizer is not None:
        least, most = CLIP_QUANTIZERS
        if least <= quantizer <= most and (name := clips_for(scale, fast)):
            return _for_all(how(name))
        try:
            return _for_all(how(None, source_quality=quality_of_quantizer(quantizer)))
        except UserError:
            if scale == 1:
                raise
    return _for_all(how(None, source_quality=CLEAN))


def _for_all(found: tuple[Choice, float]) -> Chosen:
    """Return the networks for all frames, without those of colour, which video leaves as it is."""
    choice, _ = found
    assert not isinstance(choice, Automatic)  # a quality was given
    return choice.without_chroma()


def comment_on(quantizer: float | None, choice: Chosen) -> str:
    """Say what was chosen for a clip that was compressed; nothing of another."""
    if quantizer is None:
        return ""
    said, name = f"compressed as H.264 at quantizer {quantizer:.0f}", choice.names[0]
    if choice.decision.quality is not None:
        return f"{said}, about as JPEG of quality {choice.decision.quality}: restored with {name}"
    if name == clips_for(choice.nets[0].scale or 0, name.startswith(FAST)):
        return f"{said}: restored with {name}"
    return ""
