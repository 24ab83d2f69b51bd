"""Read and write picture files and their metadata."""

from npsrcnn.images.formats import SUFFIXES, WRITABLE, list_images, writable
from npsrcnn.images.picture import Picture
from npsrcnn.images.pictures import (
    read,
    read_array,
    read_layout,
    read_pages,
    read_size,
    suffix_of,
)
from npsrcnn.images.writing import misfit, write, write_pages

__all__ = [
    "SUFFIXES",
    "WRITABLE",
    "Picture",
    "list_images",
    "misfit",
    "read",
    "read_array",
    "read_layout",
    "read_pages",
    "read_size",
    "suffix_of",
    "writable",
    "write",
    "write_pages",
]
