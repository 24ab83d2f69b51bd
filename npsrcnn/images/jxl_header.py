"""The header of a JPEG XL codestream (ISO/IEC 18181-1, annexes D and E): read it, add a profile.

The header stands before the frames, which begin at a whole byte and do not depend on the profile
where pixels are stored as they are, and not as XYB. So a profile can be put into a finished file.
"""

from __future__ import annotations

from dataclasses import dataclass

from npsrcnn.images.bits import BitReader, BitWriter

SIGNATURE = b"\xff\x0a"
HEADER_BYTES = 4096  # in which all of a header lies but a profile
RATIOS = {1: (1, 1), 2: (12, 10), 3: (4, 3), 4: (3, 2), 5: (16, 9), 6: (5, 4), 7: (2, 1)}
ALPHA, BLACK, SPOT, CFA = 0, 4, 2, 5  # kinds of extra channels
RGB, GREY = 0, 1  # color spaces
D65, CUSTOM, P3 = 1, 2, 11  # white point; white point or primaries; primaries
SRGB = 13  # transfer
DISPLAY_P3 = 12  # primaries in H.273, where 11 has another white
ONE_CONTEXT = (1, 1), (0, 2)  # for all: a simple map, of 0 bits each
LENGTH_CODES = 18  # of which a prefix code gives the lengths, in the order of RFC 7932, 3.5
PLACE_OF_8 = 10  # of the length 8 in that order

Choice = tuple[int, int]  # a number's offset and bits


@dataclass
class Header:
    """What the header of a codestream says.

    Attributes
    ----------
    size : (rows, columns)
        As displayed.
    bits : int
        Of a sample.
    is_float, animated, xyb : bool
        ``xyb``: pixels are stored as XYB, which loses something, and come out in ``color``.
    extra : list of int
        Kinds of the channels beside colours: 0 is alpha.
    premultiplied : bool
        Colours are multiplied with alpha.
    grey : bool
    color : (primaries, transfer) or None
        By their numbers in H.273; None where a profile says, or others have no such number.
    by_profile : bool
        A profile follows the header.
    color_place : (start, stop)
        Of the color encoding, in bits.
    end : int
        Of the header, in bits; a profile follows if there is one.
    """

    size: tuple[int, int]
    bits: int = 8
    is_float: bool = False
    animated: bool = False
    xyb: bool = True
    extra: tuple[int, ...] = ()
    premultiplied: bool = False
    grey: bool = False
    color: tuple[int, int] | None = (1, 13)
    by_profile: bool = False
    color_place: tuple[int, int] = (0, 0)
    end: int = 0


def parse(codestream: bytes) -> Header:
    """Read the header of a codestream.

    Raises
    ------
    EOFError, ValueError
        It is damaged.
    """
    if not codestream.startswith(SIGNATURE):
        raise ValueError("no codestream of JPEG XL")
    reader = BitReader(codestream[:HEADER_BYTES])
    reader.bits(16)
    header = Header(_size(reader))
    if reader.flag():  # all is as usual
        header.end = reader.position + 1
        return header
    more = reader.flag()
    if more:
        orientation = 1 + reader.bits(3)
        if orientation > 4:
            header.size = header.size[1], header.size[0]
        if reader.flag():
            _size(reader)  # that is meant
        if reader.flag():
            _skip_preview(reader)
        header.animated = reader.flag()
        if header.animated:
            return header
    header.is_float, header.bits = _depth(reader)
    reader.flag()  # buffers of 16 bits will do
    count = _number(reader, (0, 0), (1, 0), (2, 4), (1, 12))
    kinds = [_extra_channel(reader) for _ in range(count)]
    header.extra = tuple(kind for kind, _ in kinds)
    header.premultiplied = any(associated for _, associated in kinds)
    header.xyb = reader.flag()
    start = reader.position
    header.by_profile, header.grey, header.color = _color(reader)
    header.color_place = start, reader.position
    if more and not reader.flag():  # tone mapping
        reader.bits(16 + 16 + 1 + 16)
    if _long(reader):
        raise ValueError("a header with extensions")
    if not reader.flag():  # the usual transforms
        raise ValueError("a header with transforms of its own")
    header.end = reader.position
    return header


def with_colors(codestream: bytes, profile: bytes | None) -> bytes:
    """Return a codestream whose pixels, stored as they are, have a colour profile; None: sRGB.

    Raises
    ------
    ValueError
        It has a profile, or its pixels are stored as XYB.
    """
    header = parse(codestream)
    if header.xyb or header.by_profile:
        raise ValueError("a codestream that takes no profile")
    reader, writer = BitReader(codestream[:HEADER_BYTES]), BitWriter()
    writer.add(reader.between(0, header.color_place[0]))
    space = (GREY if header.grey else RGB), 2
    if profile is not None:
        writer.add((0, 1), (1, 1), space)  # unusual, by a profile
    elif header.grey:
        # unusual, by names: D65, no gamma, the curve of sRGB, relative
        writer.add((0, 1), (0, 1), space, (D65, 2), (0, 1), (2, 2), (SRGB - 2, 4), (1, 2))
    else:
        writer.add((1, 1))
    writer.add(reader.between(header.color_place[1], header.end))
    if profile is not None:
        _add_profile(writer, profile)
    return writer.to_bytes() + codestream[-(-header.end // 8) :]


def _add_profile(writer: BitWriter, profile: bytes) -> None:
    """Add a profile by a prefix code in which each byte has its eight bits."""
    packed = _predicted(profile)
    _add_long(writer, len(packed))
    writer.add((0, 1), *ONE_CONTEXT, (1, 1))  # no LZ77; prefix codes
    writer.add((8, 4), (0, 4), (0, 4))  # numbers below 2 ** 8 are symbols
    writer.add((1, 1), (7, 4), (127, 7), (0, 2))  # 256 symbols, by lengths of their codes
    for place in range(LENGTH_CODES):
        writer.add((2 if place == PLACE_OF_8 else 0, 2))  # all are 8 bits long
    for byte in packed:
        writer.add((int(f"{byte:08b}"[::-1], 2), 8))


def _size(reader: BitReader) -> tuple[int, int]:
    small = reader.flag()
    height = _side(reader, small)
    ratio = reader.bits(3)
    if not ratio:
        return height, _side(reader, small)
    return height, height * RATIOS[ratio][0] // RATIOS[ratio][1]


def _side(reader: BitReader, small: bool) -> int:
    if small:
        return 8 * (1 + reader.bits(5))
    return _number(reader, (1, 9), (1, 13), (1, 18), (1, 30))


def _skip_preview(reader: BitReader) -> None:
    small = reader.flag()
    larger = (1, 6), (65, 8), (321, 10), (1345, 12)
    choices = ((16, 0), (32, 0), (1, 5), (33, 9)) if small else larger
    _number(reader, *choices)
    if not reader.bits(3):
        _number(reader, *choices)


def _depth(reader: BitReader) -> tuple[bool, int]:
    """Return whether samples are floats, and their bits."""
    if not reader.flag():
        return False, _number(reader, (8, 0), (10, 0), (12, 0), (1, 6))
    bits = _number(reader, (32, 0), (16, 0), (24, 0), (1, 6))
    reader.bits(4)  # of the exponent
    return True, bits


def _extra_channel(reader: BitReader) -> tuple[int, bool]:
    """Return the kind of a channel, and whether colours are multiplied with it."""
    if reader.flag():  # as usual
        return ALPHA, False
    kind = _enum(reader)
    _depth(reader)
    _number(reader, (0, 0), (3, 0), (4, 0), (1, 3))  # how much smaller it is
    reader.bits(8 * _number(reader, (0, 0), (0, 4), (16, 5), (48, 10)))  # its name
    associated = kind == ALPHA and reader.flag()
    if kind == SPOT:
        reader.bits(4 * 16)
    if kind == CFA:
        _number(reader, (1, 0), (0, 2), (3, 4), (19, 8))
    return kind, associated


def _color(reader: BitReader) -> tuple[bool, bool, tuple[int, int] | None]:
    """Return whether a profile follows, whether it is grey, and primaries and transfer if named."""
    if reader.flag():
        return False, False, (1, 13)
    by_profile, space = reader.flag(), _enum(reader)
    if by_profile:
        return True, space == GREY, None
    if space not in (RGB, GREY):
        raise ValueError("colours of an unknown kind")
    white = _enum(reader)
    known = white == D65
    if white == CUSTOM:
        _skip_point(reader)
    primaries = 1
    if space == RGB:
        primaries = _enum(reader)
        if primaries == CUSTOM:
            known = False
            for _ in range(3):
                _skip_point(reader)
    transfer = 0
    if reader.flag():
        known = False
        reader.bits(24)  # gamma
    else:
        transfer = _enum(reader)
    _enum(reader)  # rendering intent
    primaries = DISPLAY_P3 if primaries == P3 else primaries
    return False, space == GREY, (primaries, transfer) if known else None


def _skip_point(reader: BitReader) -> None:
    for _ in range(2):
        _number(reader, (0, 19), (524288, 19), (1048576, 20), (2097152, 21))


def _number(reader: BitReader, *choices: Choice) -> int:
    """Return a number for whose offset and bits there are four choices (U32)."""
    offset, bits = choices[reader.bits(2)]
    return offset + reader.bits(bits)


def _enum(reader: BitReader) -> int:
    return _number(reader, (0, 0), (1, 0), (2, 4), (18, 6))


def _long(reader: BitReader) -> int:
    """Return a number that is 0 mostly (U64); of large ones only that they are not."""
    choice = reader.bits(2)
    return reader.bits((0, 4, 8, 12)[choice]) + (0, 1, 17, 1)[choice]


def _add_long(writer: BitWriter, value: int) -> None:
    writer.add((3, 2), (value & 0xFFF, 12))
    value >>= 12
    while value:
        writer.add((1, 1), (value & 0xFF, 8))
        value >>= 8
    writer.add((0, 1))


def _predicted(profile: bytes) -> bytes:
    """Return a profile as the stream of profiles has it: its head is stored as differences.

    What follows is stored as it is, by one command.
    """
    length = len(profile)
    head = bytearray(128)
    head[:4] = length.to_bytes(4, "big")
    head[8], head[12:24], head[36:40] = 4, b"mntrRGB XYZ ", b"acsp"
    head[70:72], head[73], head[78:80] = b"\xf6\xd6", 1, b"\xd3\x2d"  # D50
    head[80:84] = profile[4:8]
    maker = profile[40:44]
    for begin, rest in ((b"A", b"PPL"), (b"M", b"SFT"), (b"SG", b"I "), (b"SU", b"NW")):
        if maker.startswith(begin):
            head[44 - len(rest) : 44] = rest
    differences = bytes((a - b) % 256 for a, b in zip(profile, head, strict=False))
    commands = _varint(0) + bytes([1]) + _varint(length - 128)  # no list of tags; insert
    return _varint(length) + _varint(len(commands)) + commands + differences + profile[128:]


def _varint(value: int) -> bytes:
    parts = []
    while value > 127:
        parts.append(value & 127 | 128)
        value >>= 7
    return bytes([*parts, value])
