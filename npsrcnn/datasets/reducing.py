"""Write smaller copies of images."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from npsrcnn.errors import UserError
from npsrcnn.images import read_array, write
from npsrcnn.pixels.resize import imresize


def write_reduced(paths: Iterable[Path], folder: str | Path, factor: float) -> int:
    """Reduce images bicubically by ``factor`` and write them to ``folder`` as PNG files.

    Returns
    -------
    int
        The number of images.

    Raises
    ------
    UserError
        A file that is no image, or two that would get one name; in the latter case nothing is
        written.
    """
    folder = Path(folder)
    targets: dict[Path, Path] = {}
    for path in paths:
        target = folder / f"{path.stem}.png"
        if (other := targets.setdefault(target, path)) != path:
            raise UserError(f"{other} and {path} would both become {target}")
    folder.mkdir(parents=True, exist_ok=True)
    for target, path in targets.items():
        write(target, imresize(read_array(path), factor))
    return len(targets)
