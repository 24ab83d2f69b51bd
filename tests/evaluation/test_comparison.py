"""Pictures side by side."""

from __future__ import annotations

import numpy as np

from npsrcnn.evaluation import comparison
from npsrcnn.evaluation.protocol import EvaluationImage


def test_the_crop_is_where_bicubic_fails_most(rng):
    truth = np.full((300, 280), 100, np.uint8)
    truth[120:160, 30:70] = rng.integers(0, 255, (40, 40))
    rows, columns = comparison.hardest(EvaluationImage.from_array(truth, 2), side=60)
    assert rows.start <= 122 and rows.stop >= 158 and rows.stop - rows.start == 60
    assert columns.start <= 32 and columns.stop >= 68 and columns.stop - columns.start == 60


def test_pictures_side_by_side(rng):
    parts = [rng.integers(0, 255, (30, 40, 3), dtype=np.uint8) for _ in range(3)]
    parts[1] = parts[1][..., 0]
    crop = (slice(5, 15), slice(20, 40))
    canvas = comparison.side_by_side(
        [("one", parts[0]), ("two", parts[1]), ("", parts[2])], crop, 2
    )
    top = comparison.CAPTION
    assert canvas.shape == (top + 20, 3 * 40 + 2 * comparison.GAP, 3)
    for i, part in enumerate(parts):
        left = i * (40 + comparison.GAP)
        shown = canvas[top::2, left : left + 40 : 2]
        expected = part[crop] if part.ndim == 3 else np.repeat(part[crop][..., None], 3, axis=2)
        np.testing.assert_array_equal(shown, expected)
        np.testing.assert_array_equal(canvas[top + 1 :: 2, left + 1 : left + 40 : 2], expected)
        caption = canvas[:top, left : left + 40]
        assert (caption < 255).any() == (i < 2)
