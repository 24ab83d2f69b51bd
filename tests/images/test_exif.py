"""EXIF of pictures that are turned or enlarged, in blocks made byte by byte."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from PIL import Image
from random_inputs import smooth_samples

from npsrcnn.images import Picture, exif, ifd, read, tiff_metadata, write

MAKER = b"a maker's own bytes, with offsets that count from the beginning"


def small_jpeg(height=40, width=48):
    file = io.BytesIO()
    Image.fromarray(smooth_samples((height, width, 3))).save(file, "JPEG", quality=60)
    return file.getvalue()


def block_of(order, orientation=6, *, thumbnail=None, own=None, width=96, height=80):
    """IFD0, EXIF proper and, with a thumbnail, IFD1; EXIF 2.32, 4.6.2."""
    exif_at, second_at = 200, 400
    data = bytearray(b"II" if order == "<" else b"MM") + struct.pack(order + "HI", 42, 8)
    data += bytes(2000)

    def directory(at, entries, following=0):
        struct.pack_into(order + "H", data, at, len(entries))
        for i, (tag, kind, count, value) in enumerate(entries):
            place = at + 2 + 12 * i
            struct.pack_into(order + "HHI", data, place, tag, kind, count)
            struct.pack_into(order + ("HH" if kind == 3 and count == 1 else "I"), data, place + 8,
                             *([value, 0] if kind == 3 and count == 1 else [value]))  # fmt: skip
        struct.pack_into(order + "I", data, at + 2 + 12 * len(entries), following)

    directory(8, [(256, 3, 1, width), (257, 3, 1, height), (274, 3, 1, orientation),
                  (0x8769, 4, 1, exif_at)], second_at if thumbnail else 0)  # fmt: skip
    directory(exif_at, [(0x9214, 3, 4, 900), (0x927C, 7, len(MAKER), 1000), (0xA002, 3, 1, width),
                        (0xA003, 3, 1, height), (0xA20E, 5, 1, 920)])  # fmt: skip
    struct.pack_into(order + "4H", data, 900, 10, 20, 30, 8)  # a subject 30 wide, 8 high
    struct.pack_into(order + "2I", data, 920, 7000, 2)
    data[1000 : 1000 + len(MAKER)] = MAKER
    if thumbnail:
        entries = [(259, 3, 1, 6), (0x0201, 4, 1, 1200), (0x0202, 4, 1, len(thumbnail))]
        directory(second_at, entries + ([(274, 3, 1, own)] if own else []))
        data[1200 : 1200 + len(thumbnail)] = thumbnail
    return bytes(data)


def thumbnail_in(block):
    """The thumbnail, found by Pillow."""
    found = Image.Exif()
    found.load(b"Exif\0\0" + block)
    second = found.get_ifd(-1)
    if not second:
        return None
    start, length = second[0x0201], second[0x0202]
    return np.asarray(Image.open(io.BytesIO(block[start : start + length])))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_thumbnail_is_turned_with_the_picture(order, orientation):
    small = small_jpeg()
    before = np.asarray(Image.open(io.BytesIO(small))).astype(int)
    found, block = exif.turned(block_of(order, orientation, thumbnail=small), (80, 96))
    assert found == orientation
    after = thumbnail_in(block).astype(int)
    expected = exif.UPRIGHT.get(orientation, lambda a: a)(before)
    assert after.shape == expected.shape and np.abs(after - expected).mean() < 3
    assert MAKER in block and block.index(MAKER) == 1000  # where its offsets point


def test_a_thumbnail_that_is_upright_stays():
    block = block_of("<", 6, thumbnail=small_jpeg(), own=1)
    _, turned = exif.turned(block, (80, 96))
    np.testing.assert_array_equal(thumbnail_in(turned), thumbnail_in(block))


@pytest.mark.parametrize("thumbnail", [b"no JPEG", small_jpeg()[:200]])
def test_a_thumbnail_that_cannot_be_turned_is_dropped(thumbnail):
    _, turned = exif.turned(block_of(">", 8, thumbnail=thumbnail), (80, 96))
    found = Image.Exif()
    found.load(b"Exif\0\0" + turned)
    assert not found.get_ifd(-1)


@pytest.mark.parametrize("order", ["<", ">"])
def test_sizes_are_those_of_the_larger_picture(order):
    block = exif.resized(exif.turned(block_of(order, 1), (80, 96))[1], 2, (160, 192))
    found = Image.Exif()
    found.load(b"Exif\0\0" + block)
    proper = found.get_ifd(0x8769)
    assert (found[256], found[257]) == (proper[0xA002], proper[0xA003]) == (192, 160)
    assert proper[0x9214] == (20, 40, 60, 16)
    assert proper[0xA20E] == 7000  # pixels of the result on a unit of the sensor
    assert len(block) == len(block_of(order, 1))


def test_a_size_beyond_16_bits():
    found = Image.Exif()
    found.load(b"Exif\0\0" + exif.resized(block_of("<", 1), 1000, (80000, 96000)))
    assert found.get_ifd(0x8769)[0xA002] == 96000


@pytest.mark.parametrize("orientation", range(1, 9))
def test_where_the_subject_is_turns_too(orientation):
    picture = np.zeros((80, 96), np.uint8)
    picture[20, 10] = 1
    expected = np.argwhere(exif.UPRIGHT.get(orientation, lambda a: a)(picture))[0]
    block = block_of("<", orientation)
    decoded = (96, 80) if orientation >= 5 else (80, 96)
    turned = exif.turned(block, (80, 96))[1]
    assert exif.turned(block, decoded, decoder_turns=True)[1] == turned
    tags = exif.parts(block) | {274: ifd.entry(ifd.SHORT, [orientation])}
    of_tiff = tiff_metadata.from_directory(tags, (80, 96)).exif
    for upright in (turned, of_tiff):
        found = Image.Exif()
        found.load(b"Exif\0\0" + upright)
        x, y, width, height = found.get_ifd(0x8769)[0x9214]
        assert (y, x) == tuple(expected)
        assert (width, height) == ((8, 30) if orientation >= 5 else (30, 8))


@pytest.mark.parametrize("suffix", [".png", ".webp", ".tif", ".jpg"])
def test_from_any_format_to_any(tmp_path, suffix):
    block = block_of(">", 6, thumbnail=small_jpeg())
    picture = Image.fromarray(smooth_samples((80, 96, 3)))
    for source in (".png", ".webp", ".jpg", ".tif"):
        if source == ".tif":
            tags = exif.parts(block)
            Image.fromarray(smooth_samples((80, 96, 3))).save(tmp_path / "a.tif", exif=block)
            assert ifd.EXIF in tags
        else:
            picture.save(tmp_path / f"a{source}", exif=b"Exif\0\0" + block)
        found = read(tmp_path / f"a{source}")
        assert found.pixels.shape == (96, 80, 3)
        metadata = found.metadata.enlarged(2, (192, 160))
        write(tmp_path / f"b{suffix}", Picture(smooth_samples((192, 160, 3)), None, metadata))
        with Image.open(tmp_path / f"b{suffix}") as image:
            if suffix == ".png":
                raw = (tmp_path / "b.png").read_bytes()
                assert raw[raw.index(b"eXIf") + 4 :][:2] in (b"II", b"MM")  # and no prefix
            stored = image.getexif()
            assert stored.get(274, 1) == 1
            proper = stored.get_ifd(0x8769)
            assert (proper[0xA002], proper[0xA003]) == (160, 192)


def test_damaged_blocks_do_no_harm(rng):
    good = block_of("<", 6, thumbnail=small_jpeg())
    for _ in range(300):
        bad = bytearray(good[: rng.integers(8, len(good))])
        for place in rng.integers(0, min(len(bad), 480), 6):
            bad[place] = rng.integers(256)
        _, block = exif.turned(bytes(bad), (80, 96))
        exif.parts(exif.resized(block, 2, (160, 192)))
