"""Damage small pictures of every format that is read, and count what is read, refused, escapes.

``python -m benchmarks.fuzz_pictures 5000``. Each file's layout is read from its headers, then its
pages, or, of every third file, it is enlarged by a small network; of TIFF also a window. What may
come of it, and the limits of time and memory: :mod:`benchmarks.fuzzing`. Files that escape are kept
in the folder that is printed.

Pillow takes 179 million pixels, which may need gigabytes. Here it takes 4 million.
"""

from __future__ import annotations

import functools
import io
import struct
import sys
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image, ImageCms

import npsrcnn
from benchmarks.fuzzing import run
from npsrcnn import images
from npsrcnn.images import Picture, png, tiff, webp
from npsrcnn.images.compression import strength_of_file
from npsrcnn.images.encoding import Encoding
from npsrcnn.images.formats import FORMATS
from npsrcnn.images.metadata import Metadata
from npsrcnn.images.tiff_pages import HEADERS
from npsrcnn.upscaling.choice import Chosen
from npsrcnn.upscaling.files import EnlargeOptions, Job, enlarge_file

PIXELS = 2_000_000  # of which Pillow takes twice as many
MEMORY = 400 * 10**6  # bytes that enlarging takes
SIZE = 40, 48
XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf='
    b'"http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" '
    b'xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6" tiff:ImageWidth="48"/>'
    b"</rdf:RDF></x:xmpmeta>"
)


def _smooth(channels: int, dtype: type = np.uint8) -> np.ndarray:
    """Return soft values (H, W, C) over most of a type's range; those of C = 1 are (H, W)."""
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    parts = [np.sin(rows / (5 + c)) * np.cos(columns / (9 - c)) for c in range(channels)]
    soft = np.dstack(parts) / 2.1 + 0.5
    top = np.iinfo(dtype).max if np.dtype(dtype).kind in "ui" else 1
    values: np.ndarray = (soft * top).astype(dtype)
    return values[..., 0] if channels == 1 else values


def _metadata() -> Metadata:
    """Return metadata of every kind."""
    exif = Image.Exif()
    exif[0x010F], exif[0x0112], exif[0x011A] = "Maker", 6, 72.0
    exif[0x8769] = {0xA002: 48, 0xA003: 40, 0x9214: (20, 20, 8, 8), 0x927C: b"note" * 9}
    return Metadata(
        icc_profile=ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(),
        exif=exif.tobytes().removeprefix(b"Exif\0\0"),
        xmp=XMP,
        text={"Comment": "a text", "Author": "somebody"},
        dpi=(72, 72),
        comment=b"a comment",
    )


def _written(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Yield what is written here: each format with all that it holds, and its types of samples."""
    types = {np.uint8: "", np.uint16: "16", np.float32: "f"}
    for suffix in sorted(images.WRITABLE & FORMATS.keys()):
        kind = images.writable(suffix)
        for dtype, word in types.items():
            if np.dtype(dtype).char not in kind.dtype_chars:
                continue
            for channels in (1, 4) if kind.alpha else (1, 3):
                path = folder / f"own{word}_{channels}{suffix}"
                picture = Picture.from_samples(_smooth(channels, dtype), _metadata())
                images.write(path, picture)
                yield path.name, path.read_bytes()
        if kind.can_be_lossless and kind.has_quality:
            images.write(folder / f"exact{suffix}", _smooth(3), Encoding(lossless=True))
            yield f"exact{suffix}", (folder / f"exact{suffix}").read_bytes()
    images.write_pages(folder / "pages.tif", [Picture(_smooth(3)), Picture(_smooth(1))])
    yield "pages.tif", (folder / "pages.tif").read_bytes()


def _by_pillow() -> Iterator[tuple[str, bytes]]:
    """Yield files of Pillow: palettes, one bit, CMYK, several frames, formats only read."""
    rgb = Image.fromarray(_smooth(3))
    palette = rgb.quantize(64)
    inks, bits, other = rgb.convert("CMYK"), rgb.convert("1"), rgb.rotate(180)
    exif = _metadata().exif or b""
    several: dict[str, object] = {"save_all": True, "append_images": [other]}
    kinds: list[tuple[str, Image.Image, str, dict[str, object]]] = [
        ("palette.png", palette, "PNG", {"transparency": 3}),
        ("bits.png", bits, "PNG", {"transparency": 0}),
        ("keyed.png", rgb, "PNG", {"transparency": (0, 9, 9), "exif": exif}),
        ("animated.png", rgb, "PNG", several),
        ("progressive.jpg", rgb, "JPEG", {"progressive": True, "exif": b"Exif\0\0" + exif}),
        ("inks.jpg", inks, "JPEG", {}),
        ("two.mpo", rgb, "MPO", several),
        ("palette.tif", palette, "TIFF", {"compression": "tiff_lzw"}),
        ("inks.tif", inks, "TIFF", {"compression": "tiff_adobe_deflate"}),
        ("lab.tif", rgb.convert("LAB"), "TIFF", {}),
        ("fax.tif", bits, "TIFF", {"compression": "group4"}),
        ("jpeg.tif", rgb, "TIFF", {"compression": "jpeg"}),
        ("animated.webp", rgb, "WEBP", several),
        ("still.gif", palette, "GIF", {"transparency": 3}),
        ("animated.gif", palette, "GIF", several),
        ("animated.avif", rgb, "AVIF", several),
        ("palette.bmp", palette, "BMP", {}),
        ("alpha.bmp", rgb.convert("RGBA"), "BMP", {}),
        ("a.dib", rgb, "DIB", {}),
        ("a.ico", rgb, "ICO", {"sizes": [(16, 16), (32, 32)]}),
        ("a.pcx", palette, "PCX", {}),
        ("a.sgi", rgb, "SGI", {}),
        ("packed.tga", rgb, "TGA", {"compression": "tga_rle"}),
        ("palette.tga", palette, "TGA", {}),
        ("bits.pbm", bits, "PPM", {}),
        ("whole.jp2", rgb, "JPEG2000", {"irreversible": True, "tile_size": (16, 16)}),
    ]
    for name, image, kind, options in kinds:
        with io.BytesIO() as file:
            image.save(file, kind, **options)
            yield name, file.getvalue()


def _by_tifffile() -> Iterator[tuple[str, bytes]]:
    """Yield TIFF of all layouts and compressions."""
    rgb, grey = _smooth(3), _smooth(1)
    mask = {"photometric": "mask", "subfiletype": 4, "compression": 8}
    kinds: list[tuple[str, np.ndarray, dict[str, object]]] = [
        ("strips", rgb, {"rowsperstrip": 7}),
        ("tiles", rgb, {"tile": (16, 32)}),
        ("big", rgb, {"tile": (16, 16), "bigtiff": True, "compression": "zlib"}),
        ("other_order", _smooth(3, np.uint16), {"byteorder": ">", "compression": "lzw"}),
        ("planes", np.moveaxis(rgb, 2, 0), {"planarconfig": "separate", "compression": "zlib"}),
        ("floats", _smooth(1, np.float64), {"predictor": 3, "compression": "zlib"}),
        ("differences", rgb, {"predictor": 2, "compression": "lzw", "tile": (32, 32)}),
        ("signed", _smooth(1, np.int16), {"extratags": [(42113, "s", 0, "-99", True)]}),
        ("bits", grey > 99, {"compression": "packbits"}),
        ("white_is_zero", grey, {"photometric": "miniswhite"}),
        ("jpeg_tiles", rgb, {"tile": (16, 16), "compression": "jpeg"}),
        ("lzma", rgb, {"compression": "lzma"}),
        ("zstd", rgb, {"compression": "zstd"}),
        ("webp", rgb, {"compression": "webp"}),
        ("jpegxl", rgb, {"compression": "jpegxl"}),
        ("jpeg2000", rgb, {"compression": "jpeg2000"}),
        ("lerc", grey, {"compression": "lerc"}),
    ]
    for name, samples, options in kinds:
        options.setdefault("photometric", "rgb" if samples.ndim == 3 else "minisblack")
        with io.BytesIO() as file:
            tifffile.imwrite(file, samples, metadata=None, **options)
            yield f"{name}.tif", file.getvalue()
    with io.BytesIO() as file:
        tifffile.imwrite(file, np.stack([grey] * 3), imagej=True)
        yield "imagej.tif", file.getvalue()
    with io.BytesIO() as file:
        with tifffile.TiffWriter(file) as writer:
            writer.write(rgb, photometric="rgb", metadata=None)
            writer.write(grey > 50, metadata=None, **mask)
            writer.write(rgb[::2, ::2], photometric="rgb", subfiletype=1, metadata=None)
        yield "mask.tif", file.getvalue()


def _by_imagecodecs() -> Iterator[tuple[str, bytes]]:
    """Yield what only imagecodecs writes: AVIF of 10 bits, QOI."""
    import imagecodecs

    yield "ten_bits.avif", imagecodecs.avif_encode(_smooth(3, np.uint16) >> 6, bitspersample=10)
    yield "a.qoi", imagecodecs.qoi_encode(_smooth(3))


def _psd() -> bytes:
    """Return a Photoshop file of nothing but its picture."""
    head = struct.pack(">4sH6xHIIHH", b"8BPS", 1, 3, *SIZE, 8, 3) + bytes(12)
    return head + bytes(2) + np.moveaxis(_smooth(3), 2, 0).tobytes()


def make_seeds(folder: Path) -> dict[str, bytes]:
    """Return good files, by their names."""
    parts = (_written(folder), _by_pillow(), _by_tifffile(), _by_imagecodecs())
    seeds = {name: data for part in parts for name, data in part}
    return seeds | {"a.psd": _psd()}


def with_checksums(data: bytes, rng: np.random.Generator) -> bytes:
    """Return damaged PNG, as often as not, with the checksums of what its chunks hold now."""
    if not data.startswith(png.SIGNATURE) or rng.random() < 0.5:
        return data
    result, position = bytearray(data), len(png.SIGNATURE)
    while position + 12 <= len(data):
        end = position + 12 + int.from_bytes(data[position : position + 4], "big")
        if end > len(data):
            break
        result[end - 4 : end] = zlib.crc32(data[position + 4 : end - 4]).to_bytes(4, "big")
        position = end
    return bytes(result)


@functools.cache
def _network() -> npsrcnn.SRCNN:
    return npsrcnn.SRCNN("3-1", n=(2,), device="reference")


def read(path: Path, way: int) -> None:
    """Read a picture in one of three ways, or enlarge it."""
    Image.MAX_IMAGE_PIXELS = PIXELS
    images.suffix_of(path.read_bytes())
    strength_of_file(path)
    webp.read_strength(path)
    layout = images.read_layout(path)
    is_tiff = path.read_bytes()[:4] in HEADERS
    if way % 3 == 1:
        pictures = [images.read(path)] if layout.pages == 1 else []
    elif way % 3 == 2 and layout.rows * layout.columns < 4 * PIXELS:
        target = path.with_name(f"large_{path.name}.tif" if is_tiff else f"large_{path.name}.png")
        job = Job(path, target, fallback=target.with_suffix(".tif"))
        try:
            enlarge_file(job, EnlargeOptions(Chosen([_network()]), 2, MEMORY))
        finally:
            for result in path.parent.glob("large_*"):
                result.unlink()
        return
    else:
        pictures = list(images.read_pages(path, keep_cmyk=way % 2 == 0))
    for picture in pictures:
        if picture.pixels.size == 0:
            raise AssertionError("a picture of no pixels")
        picture.values()
    if is_tiff:
        try:
            reader = tiff.TiffReader(path)
        except tiff.PillowOnly:
            return
        height, width = reader.kind.size
        reader.read((height // 2, min(height, height // 2 + 8)), (0, min(width, 9)))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the mutations, and return 1 if anything escaped."""
    return run("benchmarks.fuzz_pictures", __doc__, make_seeds, read, argv, with_checksums)


if __name__ == "__main__":
    sys.exit(main())
