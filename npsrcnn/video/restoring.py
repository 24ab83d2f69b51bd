"""Choose weights by how strongly a clip was compressed, which H.264 says in every frame.

Its quantizer QP stands for a step of ``2 ** ((QP - 4) / 6)`` by which all frequencies are divided.
Weights for JPEG pictures whose table is 3.6 times as strong, in percent of the standard's, restore
a clip best, or nearly: measured at x2 from CRF 12 to 32 on two moving pictures, see
``python -m benchmarks.video --quality``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from npsrcnn.errors import UserError
from npsrcnn.pixels.jpeg import quality_of_strength
from npsrcnn.upscaling.choice import Automatic, Choice, Chosen, choose
from npsrcnn.upscaling.source_quality import AUTO, CLEAN

STRENGTH_PER_STEP = 3.6


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
        """Return the networks of all clips, or where that is asked of each, of a clean one.

        Returns
        -------
        chosen, scale
            With those of colour, for animated pictures; and the model's scale, if none was given.
        """
        choice, scale = choose(
            self.model,
            self.scale,
            CLEAN if self.by_clip else self.source_quality,
            fast=self.fast,
            orientations=self.orientations,
            device=self.device,
            residual=self.residual,
        )
        assert not isinstance(choice, Automatic)
        return choice, scale

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
    """Return the JPEG quality, 1 to 100, whose weights fit an H.264 quantizer, 0 to 51."""
    strength = STRENGTH_PER_STEP * 2 ** ((quantizer - 4) / 6)
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
    how = partial(choose, None, scale, fast=fast, orientations=orientations, device=device)
    if quantizer is not None:
        try:
            return _for_all(how(quality_of_quantizer(quantizer)))
        except UserError:
            if scale == 1:
                raise
    return _for_all(how(CLEAN))


def _for_all(found: tuple[Choice, float]) -> Chosen:
    """Return the networks for all frames, without those of colour, which video leaves as it is."""
    choice, _ = found
    assert not isinstance(choice, Automatic)  # a quality was given
    return choice.without_chroma()


def comment_on(quantizer: float | None, choice: Chosen) -> str:
    """Say what was chosen for a clip that was compressed; nothing of another."""
    if quantizer is None or choice.decision.quality is None:
        return ""
    return (
        f"H.264 of quantizer {quantizer:.0f}, about as JPEG of quality {choice.decision.quality}: "
        f"restored with {choice.names[0]}"
    )
