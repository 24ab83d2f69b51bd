"""Save pictures to judge by eye: a crop of bicubic, restored and original, side by side."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from npsrcnn.errors import UserError
from npsrcnn.evaluation.protocol import EvaluationImage, input_name, rounded
from npsrcnn.pixels.color import ycbcr2rgb
from npsrcnn.runtime.files import write_atomically

SIDE = 100  # pixels of the crop
ZOOM = 3  # each of them is shown as a square of this side
CAPTION = 24  # pixels of height
GAP = 6


def files_of(
    paths: Sequence[Path], folder: Path, method: str, scale: int = 2, jpeg: int | None = None
) -> dict[Path, list[Path]]:
    """Name the files of each image: <name>_bicubic.png, <name>_<method>.png, <name>_compared.png.

    The name of a.jpg is "a", and beside a.png it is "a_jpg"; compressed as JPEG of quality 40,
    "a_q40". At scale 1 the first file is <name>_jpeg.png.

    Raises
    ------
    UserError
        Two images would be saved as one (there is a_jpg.png too), or one over another.
    """
    often = Counter(path.stem for path in paths)
    sources = {os.path.realpath(path) for path in paths}
    result: dict[Path, list[Path]] = {}
    made: dict[Path, Path] = {}
    for path in paths:
        name = path.stem
        if often[name] > 1 and path.suffix != ".png":
            name += f"_{path.suffix.removeprefix('.')}"
        if jpeg is not None:
            name += f"_q{jpeg}"
        kinds = input_name(scale).lower(), method, "compared"
        result[path] = [folder / f"{name}_{kind}.png" for kind in kinds]
        for file in result[path]:
            if os.path.realpath(file) in sources:
                raise UserError(f"{file} is measured and would be overwritten: save elsewhere")
            if made.setdefault(file, path) != path:
                raise UserError(
                    f"{made[file]} and {path} would both be saved as {file}: rename one"
                )
    return result


def save(
    files: Sequence[Path],
    method: str,
    image: EvaluationImage,
    restored: np.ndarray,
    scores: dict[str, float],
) -> None:
    """Write bicubic, restored, and both beside the original.

    Parameters
    ----------
    files
        Of :func:`files_of`.
    restored
        Y or YCbCr as the method made it.
    scores
        The row of :func:`npsrcnn.evaluation.scores.score`; its PSNR goes into the captions.
    """
    before = input_name(image.scale)
    bicubic = picture_of(image, image.bicubic)
    result = picture_of(image, restored)
    panels = [
        (f"{before}, {scores[f'psnr_{before.lower()}']:.2f} dB", bicubic),
        (f"{'SRCNN' if method == 'srcnn' else method}, {scores['psnr']:.2f} dB", result),
        ("original", image.picture),
    ]
    pictures = bicubic, result, side_by_side(panels, hardest(image))
    for file, picture in zip(files, pictures, strict=True):
        with write_atomically(file) as temporary:
            Image.fromarray(picture).save(temporary)


def picture_of(image: EvaluationImage, restored: np.ndarray) -> np.ndarray:
    """Convert a restored image to uint8, grey or RGB as the original."""
    if image.picture.ndim == 2:
        return rounded(restored if restored.ndim == 2 else restored[..., 0])
    return rounded(ycbcr2rgb(np.asarray(image.in_color(restored), np.float64)))


def hardest(image: EvaluationImage, side: int = SIDE) -> tuple[slice, slice]:
    """Find the square of an image, ``side`` pixels wide at most, that bicubic restores worst."""
    return largest_square(np.square(image.bicubic - image.truth / 255), side)


def largest_square(error: np.ndarray, side: int) -> tuple[slice, slice]:
    """Find the square, ``side`` pixels wide at most, whose sum of ``error`` (H, W) is largest."""
    sums = np.pad(error, ((1, 0), (1, 0))).cumsum(axis=0).cumsum(axis=1)
    h, w = (min(side, length) for length in error.shape)
    total = sums[h:, w:] - sums[:-h, w:] - sums[h:, :-w] + sums[:-h, :-w]
    top, left = np.unravel_index(total.argmax(), total.shape)
    return slice(top, top + h), slice(left, left + w)


def side_by_side(
    panels: list[tuple[str, np.ndarray]], crop: tuple[slice, slice], zoom: int = ZOOM
) -> np.ndarray:
    """Draw one crop of several images side by side, each pixel ``zoom`` wide, with captions.

    Parameters
    ----------
    panels
        (caption, uint8 image (H, W) or (H, W, 3)), from left to right.
    crop
        Rows and columns.
    """
    crops = [np.repeat(np.repeat(a[crop], zoom, axis=0), zoom, axis=1) for _, a in panels]
    height, width = crops[0].shape[:2]
    canvas = Image.new("RGB", (len(panels) * (width + GAP) - GAP, height + CAPTION), "white")
    draw = ImageDraw.Draw(canvas)
    for i, ((caption, _), part) in enumerate(zip(panels, crops, strict=True)):
        left = i * (width + GAP)
        canvas.paste(Image.fromarray(part), (left, CAPTION))
        font = ImageFont.load_default(15)
        draw.text((left + width // 2, CAPTION // 2), caption, "black", font, anchor="mm")
    return np.asarray(canvas)
