"""Read from a picture file how strongly its pixels were compressed."""

from __future__ import annotations

from pathlib import Path

from PIL.JpegImagePlugin import JpegImageFile

from npsrcnn.errors import UserError
from npsrcnn.images.formats import DAMAGE
from npsrcnn.pixels.jpeg import strength_of_table

JPEG_BEGINS = b"\xff\xd8\xff"


def strength_of_file(path: str | Path) -> float | None:
    """Measure the luminance quantization table of a JPEG or MPO file.

    Only headers are read.

    Returns
    -------
    float or None
        Percent of the standard's table: see :mod:`npsrcnn.pixels.jpeg`. None of other formats.

    Raises
    ------
    UserError
        The table is missing or damaged.
    OSError
        The file cannot be read.
    """
    with open(path, "rb") as file:
        if file.read(len(JPEG_BEGINS)) != JPEG_BEGINS:
            return None
        file.seek(0)
        try:
            image = JpegImageFile(file)
            with image:
                table = image.layer[0][3]  # of the first component, which is Y
                return strength_of_table(image.quantization.get(table, ()))
        except UserError as error:
            raise UserError(f"{path}: {error}") from error
        except DAMAGE as error:
            raise UserError(f"{path}: its quantization table is damaged ({error})") from error
