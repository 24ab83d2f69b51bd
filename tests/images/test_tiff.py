"""TIFF, read from files made tag by tag and by tifffile: in memory and by windows alike."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from processes import run_python
from random_inputs import random_image, smooth_samples
from tiff_files import tiff_of

from npsrcnn.errors import UserError
from npsrcnn.images import Picture, read, tiff, write

NONE, LZW, DEFLATE, PACKBITS = 1, 5, 8, 32773


def compressed(samples, compression, order):
    """One strip or tile, (rows, columns, channels)."""
    raw = samples.astype(samples.dtype.newbyteorder(order)).tobytes()
    if compression == NONE:
        return raw
    if compression == DEFLATE:
        return zlib.compress(raw)
    # Let Pillow do it, on the same bytes as 8-bit grey, and take the only strip out of its file
    width = samples.itemsize * samples.shape[1] * samples.shape[2]
    file = io.BytesIO()
    name = {LZW: "tiff_lzw", PACKBITS: "packbits"}[compression]
    image = Image.frombytes("L", (width, len(samples)), raw)
    image.save(file, "TIFF", compression=name, tiffinfo={278: len(samples)})
    with Image.open(file) as image:
        start, size = image.tag_v2[273], image.tag_v2[279]
    assert len(start) == 1
    return file.getvalue()[start[0] : start[0] + size[0]]


def naive_tiff(samples, order="<", compression=NONE, predictor=1, tile=None, planar=1, big=False,
               extra=2, white_is_zero=False):  # fmt: skip
    """TIFF 6.0, sections 2, 13, 14, 15 and 18; BigTIFF's wider fields."""
    height, width, channels = samples.shape
    rows, columns = tile or (7, width)
    parts = []
    for plane in range(channels) if planar == 2 else [slice(None)]:
        picture = np.atleast_3d(samples[..., plane])
        for y in range(0, height, rows):
            for x in range(0, width, columns):
                part = picture[y : y + rows, x : x + columns]
                if tile:
                    grow = ((0, rows - part.shape[0]), (0, columns - part.shape[1]), (0, 0))
                    part = np.pad(part, grow)
                if predictor == 2:
                    part = np.diff(part, axis=1, prepend=np.zeros_like(part[:, :1]))
                if predictor == 3:  # TIFF Technical Note 3: bytes, the highest of all samples first
                    planes = part.astype(">f4").view(np.uint8).reshape(len(part), -1, 4)
                    planes = planes.swapaxes(1, 2).reshape(len(part), -1, part.shape[2])
                    part = np.diff(planes, axis=1, prepend=np.zeros_like(planes[:, :1]))
                parts.append(compressed(part, compression, order))
    tags = {
        256: [width], 257: [height], 258: [8 * samples.itemsize] * channels, 259: [compression],
        262: [0 if white_is_zero else 2 if channels > 2 else 1],
        277: [channels], 284: [planar], 317: [predictor],
        339: [3 if samples.dtype.kind == "f" else 1] * channels,
    }  # fmt: skip
    if channels in (2, 4):
        tags[338] = [extra]
    head = 16 if big else 8
    starts = [head + sum(map(len, parts[:i])) for i in range(len(parts))]
    tags |= (
        {322: [columns], 323: [rows], 324: starts, 325: list(map(len, parts))}
        if tile
        else {273: starts, 278: [rows], 279: list(map(len, parts))}
    )
    body = b"".join(parts)
    offset = head + len(body)
    mark = {"<": b"II", ">": b"MM"}[order]
    if big:
        file = mark + struct.pack(order + "HHHQ", 43, 8, 0, offset) + body
        entry, count, room = "HHQ", struct.pack(order + "Q", len(tags)), 8
    else:
        file = mark + struct.pack(order + "HI", 42, offset) + body
        entry, count, room = "HHI", struct.pack(order + "H", len(tags)), 4
    entries, tail = b"", b""
    end = offset + len(count) + len(tags) * (struct.calcsize(order + entry) + room) + room
    for tag, values in sorted(tags.items()):
        data = struct.pack(f"{order}{len(values)}I", *values)
        if len(data) > room:
            pointer = struct.pack(order + ("Q" if big else "I"), end + len(tail))
            tail, data = tail + data, pointer
        entries += struct.pack(order + entry, tag, 4, len(values)) + data.ljust(room, b"\0")
    return file + count + entries + bytes(room) + tail


@pytest.mark.parametrize("channels", [2, 3, 4])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    "layout",
    [
        {},
        {"compression": DEFLATE},
        {"compression": LZW},
        {"compression": PACKBITS},
        {"compression": DEFLATE, "predictor": 2},
        {"compression": LZW, "predictor": 2},
        {"tile": (16, 32)},
        {"tile": (32, 16), "compression": DEFLATE, "predictor": 2},
        {"planar": 2},
        {"planar": 2, "compression": DEFLATE, "predictor": 2},
        {"planar": 2, "tile": (16, 16)},
        {"big": True},
        {"big": True, "tile": (16, 16), "compression": LZW, "predictor": 2},
    ],
    ids=str,
)
def test_sixteen_bit_colour_in_every_layout(rng, channels, order, layout):
    samples = rng.integers(0, 65536, (41, 37, channels), np.uint16)
    samples[10:20, 5:30] = 777  # something to compress
    result, _ = tiff.decode(naive_tiff(samples, order, **layout))
    np.testing.assert_array_equal(result, samples)


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    "layout", [{}, {"compression": DEFLATE, "predictor": 2}, {"tile": (16, 16)}, {"planar": 2}],
    ids=str,
)  # fmt: skip
def test_grey_whose_white_is_zero(rng, channels, order, layout):
    samples = rng.integers(0, 65536, (41, 37, channels), np.uint16)
    result, _ = tiff.decode(naive_tiff(samples, order, white_is_zero=True, **layout))
    np.testing.assert_array_equal(result[..., 0], 65535 - samples[..., 0])
    np.testing.assert_array_equal(result[..., 1:], samples[..., 1:])  # alpha stays


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("compression", [DEFLATE, LZW])
@pytest.mark.parametrize("layout", [{}, {"tile": (16, 32)}, {"planar": 2}], ids=str)
@pytest.mark.parametrize("predictor", [2, 3])
def test_floats_as_differences(rng, channels, order, compression, layout, predictor):
    samples = rng.standard_normal((41, 37, channels)).astype(np.float32)
    # differences of floats are those of the integers of the same bits
    stored = samples.view(np.uint32) if predictor == 2 else samples
    data = naive_tiff(stored, order, compression, predictor, **layout)
    if predictor == 2:
        entry = struct.pack(order + "HHI", 339, 4, channels)
        place = data.index(entry) + len(entry)
        if channels > 1:
            place = struct.unpack_from(order + "I", data, place)[0]
        formats = struct.pack(f"{order}{channels}I", *[3] * channels)
        data = data[:place] + formats + data[place + len(formats) :]
    np.testing.assert_array_equal(tiff.decode(data)[0], samples)


@pytest.mark.parametrize("channels", [2, 4])
def test_colours_multiplied_with_alpha_are_divided(rng, channels):
    samples = rng.integers(0, 65536, (41, 37, channels), np.uint16)
    samples[:9, :9, -1] = 0
    samples[9:20, :9, -1] = 65535
    share = samples[..., -1:] / 65535
    stored = samples.copy()
    stored[..., :-1] = np.rint(samples[..., :-1] * share)
    result, _ = tiff.decode(naive_tiff(stored, extra=1))
    np.testing.assert_array_equal(result[..., -1], samples[..., -1])
    np.testing.assert_array_equal(result[:9, :9], stored[:9, :9])  # of which nothing is known
    error = np.abs(result[..., :-1] - samples[..., :-1].astype(float))
    seen = share[..., 0] > 0
    assert (error[seen] <= 0.5 / share[seen] + 0.5).all()  # both were rounded
    stored[..., :-1] = 65535  # which cannot be
    assert (tiff.decode(naive_tiff(stored, extra=1))[0][..., :-1] == 65535).all()


@st.composite
def tifffile_options(draw):
    """Samples as they mean, as tifffile is to write them, and how."""
    dtype = np.dtype(draw(st.sampled_from([np.uint8, np.uint16, np.float32])))
    height, width, channels = (
        draw(st.integers(1, 60)),
        draw(st.integers(1, 60)),
        draw(st.integers(1, 4)),
    )
    samples = random_image(
        np.random.default_rng(draw(st.integers(0, 99))), (height, width, channels), dtype
    )
    options = {
        "compression": draw(st.sampled_from([None, "zlib"])),
        "byteorder": draw(st.sampled_from("<>")),
        "bigtiff": draw(st.booleans()),
        "photometric": "rgb"
        if channels > 2
        else draw(st.sampled_from(["minisblack", "miniswhite"])),
    }
    options |= draw(st.sampled_from([{}, {"rowsperstrip": 7}, {"tile": (16, 32)}]))
    if options["compression"] and dtype.kind == "u":
        options["predictor"] = draw(st.booleans())
    stored = samples.copy()
    if channels in (2, 4):
        options["extrasamples"] = ["unassalpha"]
    if options["photometric"] == "miniswhite":
        stored[..., 0] = (
            dtype.type(1 if dtype.kind == "f" else np.iinfo(dtype).max) - stored[..., 0]
        )
        if dtype.kind == "f":
            samples[..., 0] = np.float32(1) - stored[..., 0]  # which rounds
    if channels > 1 and draw(st.booleans()):
        stored, options["planarconfig"] = np.moveaxis(stored, 2, 0), "separate"
    elif channels == 1:
        stored = stored[..., 0]
    else:
        options["planarconfig"] = "contig"
    return samples, stored, options


@settings(max_examples=150, deadline=None)
@given(tifffile_options(), st.data())
def test_any_file_is_the_same_in_memory_and_by_windows(tmp_path_factory, case, data):
    samples, stored, options = case
    path = tmp_path_factory.getbasetemp() / "any.tif"
    tifffile.imwrite(path, stored, metadata=None, **options)
    np.testing.assert_array_equal(read(path).samples(), samples)
    reader = tiff.TiffReader(path)
    for _ in range(3):
        spans = []
        for length in samples.shape[:2]:
            start = data.draw(st.integers(0, length - 1))
            spans.append((start, data.draw(st.integers(start + 1, length))))
        window = samples[slice(*spans[0]), slice(*spans[1])]
        pixels, alpha = reader.read(*spans)
        np.testing.assert_array_equal(Picture(pixels, alpha).samples(), window)
    reader.close()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_a_premultiplied_file_is_the_same_in_memory_and_by_windows(tmp_path, rng, mode, dtype):
    samples = random_image(rng, (50, 60, len(mode)), dtype)
    samples[:10, :, -1] = 0
    opacity = samples[..., -1:] / (1 if dtype == np.float32 else np.iinfo(dtype).max)
    samples[..., :-1] = samples[..., :-1] * opacity
    tifffile.imwrite(tmp_path / "a.tif", samples, metadata=None, extrasamples=["assocalpha"],
                     photometric="rgb" if mode == "RGBA" else "minisblack",
                     planarconfig="contig", rowsperstrip=7)  # fmt: skip
    whole = read(tmp_path / "a.tif")
    pixels, alpha = tiff.TiffReader(tmp_path / "a.tif").read((5, 33), (20, 60))
    np.testing.assert_array_equal(pixels, whole.pixels[5:33, 20:60])
    np.testing.assert_array_equal(alpha, whole.alpha[5:33, 20:60])
    if dtype == np.uint8:  # as Pillow divides RGBA, rounded down
        seen = samples[..., -1] > 0
        colors, opacity = samples[seen][:, :-1].astype(int), samples[seen][:, -1:].astype(int)
        expected = np.minimum(255 * colors // opacity, 255)
        np.testing.assert_array_equal(whole.samples()[seen][:, :-1], expected)


@pytest.mark.parametrize("mode", ["L", "RGB", "YCbCr"])
@pytest.mark.parametrize("compression", ["jpeg", "tiff_lzw", "packbits", "tiff_adobe_deflate"])
def test_what_pillow_compresses_is_the_same_by_windows(tmp_path, mode, compression):
    image = Image.fromarray(smooth_samples((75, 64, 3))).convert(mode)
    if compression != "jpeg" and mode == "YCbCr":
        return  # which tiff leaves to Pillow
    image.save(tmp_path / "a.tif", compression=compression, tiffinfo={278: 16})
    with Image.open(tmp_path / "a.tif") as image:
        expected = np.asarray(image.convert("L" if mode == "L" else "RGB"))
    np.testing.assert_array_equal(read(tmp_path / "a.tif").pixels, expected)
    pixels, _ = tiff.TiffReader(tmp_path / "a.tif").read((10, 75), (5, 40))
    np.testing.assert_array_equal(pixels, expected[10:75, 5:40])


def test_tiles_that_a_file_leaves_out_are_zero(tmp_path, rng):
    samples = rng.integers(1, 256, (64, 96), np.uint8)
    tiles = [samples[y : y + 32, x : x + 32] for y in (0, 32) for x in (0, 32, 64)]
    tiles[1] = tiles[4] = None
    tifffile.imwrite(tmp_path / "a.tif", iter(tiles), shape=samples.shape, dtype=np.uint8,
                     tile=(32, 32), compression="zlib", metadata=None)  # fmt: skip
    samples[:, 32:64] = 0
    np.testing.assert_array_equal(read(tmp_path / "a.tif").pixels, samples)


def test_other_kinds_are_left_to_pillow():
    file = io.BytesIO()
    tifffile.imwrite(file, np.zeros((8, 8), np.int64))
    with pytest.raises(tiff.PillowOnly, match="a TIFF of grey, 1 channel of int64: taken are"):
        tiff.decode(file.getvalue())
    file = io.BytesIO()
    Image.new("P", (4, 4)).save(file, "TIFF")
    with pytest.raises(tiff.PillowOnly, match="a TIFF of palette, 1 channel of uint8: taken are"):
        tiff.decode(file.getvalue())


def test_more_pixels_than_pillow_takes_are_refused(monkeypatch):
    data = tiff_of(np.zeros((15, 15, 3), np.uint16))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 112)  # of which Pillow refuses twice as many
    with pytest.raises(Image.DecompressionBombError):
        tiff.decode(data)


@pytest.mark.parametrize("tag", [322, 323])
@pytest.mark.parametrize("side", [2**20, 2**31])
@pytest.mark.parametrize("photometric", ["rgb", "separated"])  # read here, and by Pillow
def test_tiles_much_larger_than_the_picture_are_refused(tmp_path, tag, side, photometric):
    path, samples = tmp_path / "a.tif", np.zeros((40, 50, 3 + (photometric != "rgb")), np.uint8)
    tifffile.imwrite(path, samples, photometric=photometric, tile=(48, 64), metadata=None)
    data, usual = path.read_bytes(), 64 if tag == 322 else 48
    entries = [struct.pack("<HHII", tag, 4, 1, n) for n in (usual, side)]
    assert data.count(entries[0]) == 1
    path.write_bytes(data.replace(*entries))
    with pytest.raises(UserError, match=f"a damaged TIFF, of tiles of .*{side}"):
        read(path)


def test_a_tile_may_be_larger_than_the_picture(tmp_path):
    samples = random_image(np.random.default_rng(0), (40, 50), np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", samples, tile=(1024, 4096), compression="zlib")
    np.testing.assert_array_equal(read(tmp_path / "a.tif").pixels, samples)


@pytest.mark.parametrize("compression", [None, "zlib", "packbits"])
@pytest.mark.parametrize("white_is_zero", [False, True])
@pytest.mark.parametrize("layout", [{"rowsperstrip": 7}, {"tile": (16, 32)}], ids=str)
def test_one_bit(tmp_path, rng, compression, white_is_zero, layout):
    bits = rng.integers(0, 2, (41, 37)).astype(bool)
    kind = "miniswhite" if white_is_zero else "minisblack"
    tifffile.imwrite(tmp_path / "a.tif", bits, compression=compression, photometric=kind,
                     metadata=None, **layout)  # fmt: skip
    expected = np.where(bits != white_is_zero, 255, 0)
    np.testing.assert_array_equal(read(tmp_path / "a.tif").pixels, expected)
    pixels, _ = tiff.TiffReader(tmp_path / "a.tif").read((10, 40), (5, 30))
    np.testing.assert_array_equal(pixels, expected[10:40, 5:30])


@pytest.mark.parametrize("name", ["jpegxl", "webp"])
def test_a_compression_that_needs_a_package_more_is_named(tmp_path, name):
    pytest.importorskip("imagecodecs", reason="writes such files")
    path = tmp_path / "a.tif"
    pixels = np.full((32, 48, 3), 99, np.uint8)
    tifffile.imwrite(path, pixels, photometric="rgb", compression=name)
    np.testing.assert_array_equal(read(path).pixels.shape, pixels.shape)
    code = f"""
import sys
sys.modules["imagecodecs"] = None  # as where it is not installed
from npsrcnn import images
from npsrcnn.errors import UserError
try:
    images.read({str(path)!r})
except UserError as error:
    print(error)
"""
    said = run_python(code).strip()
    assert said == (
        f"{path}: compressed by {name.upper()}, which needs a package more: pip install imagecodecs"
    )


def test_of_a_tag_that_comes_twice_the_first_counts(tmp_path):
    """As tifffile writes a description, and behind it one of its own."""
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((8, 9), np.uint8), description="mine")
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        assert len(file.pages[0].tags.getall(270)) == 2
    write(tmp_path / "b.tif", read(tmp_path / "a.tif"))
    with tifffile.TiffFile(tmp_path / "b.tif") as file:
        assert file.pages[0].description == "mine"


def test_no_memory_is_taken_for_what_a_file_does_not_hold(tmp_path, monkeypatch):
    path = tmp_path / "a.tif"
    long = 1 << 20
    tifffile.imwrite(path, np.zeros((8, 9), np.uint8), extratags=[(315, "s", 0, "a" * 40, True)])
    data = bytearray(path.read_bytes())
    place = data.index(struct.pack("<HH", 315, 2)) + 4
    data[place : place + 4] = struct.pack("<I", long)
    place = data.index(struct.pack("<HHI", 279, 4, 1)) + 8  # StripByteCounts
    data[place : place + 4] = struct.pack("<I", long)
    path.write_bytes(data)
    asked = []
    read_bytes = tifffile.FileHandle.read
    monkeypatch.setattr(
        tifffile.FileHandle, "read", lambda self, n: asked.append(n) or read_bytes(self, n)
    )
    reader = tiff.TiffReader(path)
    assert 315 not in reader._directory
    assert len(reader._pages.bytes_at(reader._page.dataoffsets[0], long)) < long
    assert max(asked) < long
