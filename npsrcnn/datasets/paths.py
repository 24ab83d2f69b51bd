"""Which files a folder, a pattern or the name of a set stands for."""

from __future__ import annotations

from pathlib import Path

from npsrcnn import images
from npsrcnn.datasets.downloads import find


def paths_of(data: str | Path) -> list[Path]:
    """The images of a folder, a pattern (folder/a*.png), a set by name (set5, t91), or a file."""
    path = Path(data)
    if path.is_file():
        return [path]
    if "*" in path.name and (found := sorted(path.parent.glob(path.name))):
        return found
    if not path.exists():
        path = find(str(data))
    return images.list_images(path)
