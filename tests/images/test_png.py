"""PNG of 16 bits, read from files made byte by byte; and writing on several threads."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from random_inputs import random_samples

from npsrcnn.errors import UserError
from npsrcnn.images import Picture, png, read, suffix_of, write
from npsrcnn.runtime.threads import set_num_threads

COLORS = {1: 0, 2: 4, 3: 2, 4: 6}  # PNG's number for each count of channels
PASSES = [  # x and y where each pass of Adam7 starts, and its steps (PNG specification, 8.2)
    (0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)
]  # fmt: skip


def naive_filter(line, above, step, kind):
    """PNG specification, 9.2, byte by byte."""
    out = bytearray([kind])
    for x, value in enumerate(line):
        a = line[x - step] if x >= step else 0
        b = above[x]
        c = above[x - step] if x >= step else 0
        p = a + b - c
        nearest = min((abs(p - a), 0, a), (abs(p - b), 1, b), (abs(p - c), 2, c))[2]
        out.append((value - [0, a, b, (a + b) // 2, nearest][kind]) % 256)
    return bytes(out)


def naive_png(samples, interlaced=False, extra=()):
    height, width, channels = samples.shape
    raw = b""
    for x, y, dx, dy in PASSES if interlaced else [(0, 0, 1, 1)]:
        part = samples[y::dy, x::dx]
        if part.size == 0:
            continue
        above = bytes(part.shape[1] * channels * 2)
        for i, row in enumerate(part):
            line = row.astype(">u2").tobytes()
            raw += naive_filter(line, above, 2 * channels, i % 5)
            above = line
    head = struct.pack(">IIBBBBB", width, height, 16, COLORS[channels], 0, 0, interlaced)
    packed = zlib.compress(raw)
    half = len(packed) // 2  # pixels may come in several chunks
    chunks = [(b"IHDR", head), *extra, (b"IDAT", packed[:half]), (b"IDAT", packed[half:])]
    return png.SIGNATURE + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in [*chunks, (b"IEND", b"")]
    )


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize("size", [(23, 17), (1, 1), (3, 1), (1, 9), (5, 4)])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_sixteen_bits_with_every_filter(rng, size, channels, interlaced):
    samples = rng.integers(0, 65536, (*size, channels), np.uint16)
    data = naive_png(samples, interlaced)
    assert png.is_16_bit(data)
    np.testing.assert_array_equal(png.decode_16_bit(data), samples)
    with Image.open(io.BytesIO(data)) as image:  # and the file is one
        image.load()


@pytest.mark.parametrize("channels", [1, 3])
def test_a_transparent_colour_becomes_alpha(rng, channels):
    samples = rng.integers(0, 65536, (6, 7, channels), np.uint16)
    samples[2, 3] = samples[4, 5]
    key = samples[4, 5].astype(">u2").tobytes()
    result = png.decode_16_bit(naive_png(samples, extra=[(b"tRNS", key)]))
    np.testing.assert_array_equal(result[..., :-1], samples)
    hidden = np.zeros((6, 7), bool)
    hidden[2, 3] = hidden[4, 5] = True
    np.testing.assert_array_equal(result[..., -1], np.where(hidden, 0, 65535))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("size", [(1, 1), (2, 3), (700, 401)])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_what_is_written_reads_back(rng, size, channels, dtype):
    samples = rng.integers(0, np.iinfo(dtype).max, (*size, channels), dtype, endpoint=True)
    data = png.encode(samples, [])
    if dtype == np.uint16:
        np.testing.assert_array_equal(png.decode_16_bit(data), samples)
    with Image.open(io.BytesIO(data)) as image:
        image.load()  # checks every checksum
        if dtype == np.uint16 and channels == 2:  # which Pillow shows as RGBA
            return
        pixels = np.asarray(image).reshape(samples.shape)
    if dtype == np.uint8 or channels == 1:
        np.testing.assert_array_equal(pixels, samples)
    else:
        np.testing.assert_array_equal(pixels, samples >> 8)


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from([np.uint8, np.uint16]),
    st.tuples(st.integers(1, 70), st.integers(1, 70), st.sampled_from([1, 2, 3, 4])),
    st.integers(0, 99),
    st.integers(0, 8),
)
def test_any_picture_reads_back(tmp_path_factory, dtype, shape, seed, shift):
    """As a file; ``shift`` makes neighbours alike, so that filters and matches have work."""
    samples = random_samples(np.random.default_rng(seed), shape, dtype) >> dtype(shift)
    path = tmp_path_factory.getbasetemp() / "any.png"
    write(path, Picture.from_samples(samples))
    result = read(path).samples()
    assert result.dtype == dtype
    np.testing.assert_array_equal(result, samples)


def test_the_file_does_not_depend_on_the_threads(rng):
    samples = np.cumsum(rng.integers(-3, 4, (600, 500, 3)), axis=1).astype(np.uint8)
    files = []
    for threads in (1, 2, 3):
        set_num_threads(threads)
        files.append(png.encode(samples, []))
    assert files[0] == files[1] == files[2]


def test_cutting_into_blocks_costs_no_size(rng, monkeypatch):
    """Each block is compressed as what follows the one before, where it finds what it repeats."""
    data = np.tile(rng.integers(0, 256, 20_000, np.uint8), 20)
    monkeypatch.setattr(png, "BLOCK_BYTES", 16_384)
    parts = png._deflate(data)
    assert len(parts) > 20 and zlib.decompress(b"".join(parts)) == data.tobytes()
    assert sum(map(len, parts)) < 1.1 * len(zlib.compress(data.tobytes(), png.ZLIB_LEVEL))


def test_missing_and_damaged_pixels(rng):
    data = naive_png(rng.integers(0, 65536, (30, 30, 3), np.uint16))
    with pytest.raises(UserError, match="pixels are missing"):
        png.decode_16_bit(data[: len(data) // 2])
    place = data.index(b"IDAT") + 40
    with pytest.raises(UserError, match="damaged PNG"):
        png.decode_16_bit(data[:place] + b"\0\0\0\0\0\0" + data[place + 6 :])


def spoiled(name):
    """A PNG file of 8 bits whose chunk of that name has a wrong checksum; its pixels and chunks."""
    pixels = np.arange(24 * 16, dtype=np.uint32).reshape(24, 16, 1).astype(np.uint8)
    texts = [(b"tEXt", b"Title\0kept"), (b"tEXt", b"Comment\0hello"), (b"tRNS", b"\0\7")]
    data = png.encode(pixels, [*texts, (b"pHYs", bytes([0, 0, 11, 19] * 2 + [1])), (b"abCd", b"x")])
    place = data.rindex(name) if name == b"tEXt" else data.index(name)
    end = place + 4 + int.from_bytes(data[place - 4 : place], "big")
    return pixels, data[:end] + bytes([data[end] ^ 1]) + data[end + 1 :]


@pytest.mark.parametrize(
    "name, words", [(b"tEXt", "text"), (b"pHYs", "resolution"), (b"abCd", "chunk 'abCd'")]
)
def test_a_damaged_chunk_that_pixels_need_not_is_left_out_and_named(tmp_path, name, words):
    pixels, data = spoiled(name)
    (tmp_path / "a.png").write_bytes(data)
    picture = read(tmp_path / "a.png")
    np.testing.assert_array_equal(picture.pixels, pixels[..., 0])
    assert picture.lost == (f"{words}, which is damaged",)
    assert suffix_of(data) == ".png"
    assert picture.metadata.text.get("Title") == "kept"
    assert ("Comment" in picture.metadata.text) == (name != b"tEXt")
    assert (picture.metadata.dpi is None) == (name == b"pHYs")


@pytest.mark.parametrize("name", [b"IHDR", b"tRNS"])
def test_a_damaged_chunk_that_pixels_need_is_named(tmp_path, name):
    (tmp_path / "a.png").write_bytes(spoiled(name)[1])
    with pytest.raises(
        UserError, match=rf"a\.png: damaged PNG \(wrong checksum of .*{name.decode()}"
    ):
        read(tmp_path / "a.png")


def test_damage_behind_the_pixels_costs_nothing_but_what_is_damaged(tmp_path):
    pixels, data = spoiled(b"IEND")
    (tmp_path / "a.png").write_bytes(data)
    picture = read(tmp_path / "a.png")
    np.testing.assert_array_equal(picture.pixels, pixels[..., 0])
    assert picture.lost == () and picture.metadata.text == {"Title": "kept", "Comment": "hello"}
