"""Tell how many bits a channel has in files of formats that Pillow decodes to 8 bits."""

from __future__ import annotations

import re

PORTABLE = re.compile(rb"P[36](?:(?:\s|#[^\n]*\n)+(\d+)){3}\s")  # the last number is white
CODESTREAM = b"\xff\x4f\xff\x51"  # JPEG 2000's first two markers; the second one tells sizes
HEADER_BYTES = 4096


def bits(name: str, data: bytes) -> int:
    """Return the bits of a channel, of PPM, SGI and JPEG 2000; of others 8.

    Parameters
    ----------
    name : str
        Of the format, as Pillow has it.
    data : bytes
        The file's contents.
    """
    if name == "PPM" and (found := PORTABLE.match(data[:HEADER_BYTES])):
        return int(found[1]).bit_length()
    if name == "SGI":
        return 8 * data[3]
    place = data.find(CODESTREAM) + 42 if name == "JPEG2000" else -1
    return (data[place] & 127) + 1 if 41 < place < len(data) else 8
