"""Show on a photograph what a network does, where its own images are not to be seen or are drawn.

Grace Hopper, by James S. Davis, US Navy, 1984: public domain. It is made half as large here, which
takes away what JPEG left in it.
"""

from __future__ import annotations

from pathlib import Path

from npsrcnn.evaluation.protocol import EvaluationImage

PHOTOGRAPH = Path(__file__).with_name("hopper.webp")
CREDIT = "Grace Hopper, by James S. Davis, US Navy; public domain"


def photograph(scale: int, jpeg: int | None = None, crf: int | None = None) -> EvaluationImage:
    """Return the photograph, 252 x 300, made ready to be enlarged."""
    return EvaluationImage.from_file(PHOTOGRAPH, scale, jpeg=jpeg, crf=crf)
