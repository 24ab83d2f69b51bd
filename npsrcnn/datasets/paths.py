"""Find the image files that a folder, a pattern or the name of a set stands for."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from npsrcnn import images
from npsrcnn.datasets.downloads import find
from npsrcnn.runtime.files import expand_pattern


def paths_of(data: str | Path) -> list[Path]:
    """List the images of a folder, a pattern (folder/a*.png), a set by name (t91), or a file.

    Raises
    ------
    UserError
        No such file or set, or a folder without images.
    """
    path = Path(data)
    if path.is_file():
        return [path]
    if (found := expand_pattern(path)) != [path]:
        return found
    if not path.exists():
        path = find(str(data))
    return images.list_images(path)


def paths_of_all(data: Iterable[str | Path]) -> list[Path]:
    """List the images that several names stand for, in their order; see :func:`paths_of`."""
    return [path for name in data for path in paths_of(name)]
