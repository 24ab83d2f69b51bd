"""JPEG XL: read and write by imagecodecs, which is libjxl, and profiles by pillow-jxl-plugin.

imagecodecs decodes and encodes all types, but nothing else that a file holds; the plugin decodes 8
bits alone, and the profile. So boxes (ISO/IEC 18181-2) and the header of the codestream are read
and written here. A picture is turned by its header, which the decoder has done; EXIF's orientation
says the same once more, and is not followed.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np

from npsrcnn.errors import UserError
from npsrcnn.images import exif, icc, jxl_header, xmp
from npsrcnn.images.formats import EXTRA
from npsrcnn.images.jxl_header import ALPHA, BLACK, Header
from npsrcnn.images.layout import Layout
from npsrcnn.images.limits import check_pixels
from npsrcnn.images.metadata import Metadata
from npsrcnn.images.picture import Picture
from npsrcnn.pixels.transparency import divided
from npsrcnn.pixels.values import to_16_bits

Box = tuple[bytes, bytes]  # name and contents
CONTAINER = b"\0\0\0\x0cJXL \r\n\x87\n"
TYPE = b"ftyp", b"jxl \0\0\0\0jxl "
WHOLE, PART, PACKED, FROM_JPEG = b"jxlc", b"jxlp", b"brob", b"jbrd"
LEVEL = b"jxll"
LARGEST_METADATA = 1 << 26  # bytes, unpacked


def is_jxl(begin: bytes) -> bool:
    """Return whether a file, of which these are the first bytes, is JPEG XL."""
    return begin.startswith((jxl_header.SIGNATURE, CONTAINER))


def read_layout(data: bytes) -> Layout:
    """Return what the header of a file says of its picture."""
    header = jxl_header.parse(_codestream(_boxes(data)))
    channels = (1 if header.grey else 3) + (ALPHA in header.extra)
    return Layout(*header.size, channels, -(-header.bits // 8))


def decode(data: bytes) -> Picture:
    """Decode a file; integers of more than 8 bits become 16.

    Raises
    ------
    UserError
        Animated, CMYK, or without the packages for it.
    Image.DecompressionBombError
        More pixels than Pillow takes.
    """
    boxes = _boxes(data)
    codestream = _codestream(boxes)
    header = jxl_header.parse(codestream)
    if header.animated:
        raise UserError("JPEG XL of several frames (animated): only single pictures are taken")
    if BLACK in header.extra:
        raise UserError("JPEG XL of CMYK, which is not taken: save it as TIFF")
    check_pixels(*header.size)
    samples, lost = _samples(codestream, header)
    profile = None
    if header.xyb and header.by_profile:
        samples = _from_linear(samples)  # which is what the decoder gives then
    elif header.color is None:
        profile = _profile(codestream)
    found = _metadata(boxes)
    orientation, block = exif.turned(
        _without_offset(found.get(b"Exif", b"")), header.size, decoder_turns=True
    )
    described = xmp.turned(found.get(b"xml "), orientation)
    metadata = Metadata(
        icc_profile=profile,
        exif=block or None,
        xmp=described and xmp.without_gain_map(described),
        color=icc.chunk_of(*header.color) if header.color else {},
    )
    picture = Picture.from_samples(np.require(samples, requirements=["C", "W"]), metadata)
    picture.lossless = not header.xyb and FROM_JPEG not in found
    if b"jhgm" in found:
        lost = (*lost, "gain map")
    picture.lost = lost
    return picture


def encode(picture: Picture, metadata: Metadata, quality: int | None) -> bytes:
    """Encode a picture of 8 bits, or without loss, quality None, of 16 bits or floats.

    Raises
    ------
    UserError
        Without the packages for it, or the package cannot write such values.
    """
    profile = metadata.icc_profile
    imagecodecs = _imagecodecs()
    samples = picture.samples()
    samples = samples[..., 0] if samples.shape[2] == 1 else samples
    if quality is None:
        try:
            encoded = imagecodecs.jpegxl_encode(samples, lossless=True)
        except imagecodecs.JpegxlError as error:
            if samples.min() < 0:  # libjxl 0.12, its issue 4902; 0.11 writes them
                raise UserError(
                    "this imagecodecs takes no values below zero: give --format tif"
                ) from error
            raise
    elif profile is None:
        encoded = imagecodecs.jpegxl_encode(samples, distance=_distance(quality))
    else:
        encoded = _with_loss(samples, quality)
    boxes = _boxes(encoded)
    codestream = _codestream(boxes)
    if quality is None or profile is not None:
        codestream = jxl_header.with_colors(codestream, profile)  # 16 bits were called linear
    added = [(name, body) for name, body in boxes if name == LEVEL]
    if metadata.exif:
        added.append((b"Exif", bytes(4) + metadata.exif))
    if metadata.xmp:
        added.append((b"xml ", metadata.xmp))
    if not added:
        return codestream
    parts = [TYPE, *added, (WHOLE, codestream)]
    return CONTAINER + b"".join(
        struct.pack(">I4s", 8 + len(body), name) + body for name, body in parts
    )


def _imagecodecs() -> ModuleType:
    try:
        import imagecodecs
    except ImportError as error:
        raise UserError(f"JPEG XL, {EXTRA}") from error
    return imagecodecs


def _boxes(data: bytes) -> list[Box]:
    """Return the boxes of a file; a bare codestream is one."""
    if not data.startswith(CONTAINER):
        return [(WHOLE, data)]
    boxes, place = [], 0
    while place + 8 <= len(data):
        length, name = struct.unpack_from(">I4s", data, place)
        begin = place + 8
        if length == 1:
            length, begin = struct.unpack_from(">Q", data, begin)[0], begin + 8
        end = place + length if length else len(data)
        if end < begin:
            raise ValueError("a box of a wrong length")
        boxes.append((name, data[begin:end]))
        place = end
    return boxes


def _codestream(boxes: Sequence[Box]) -> bytes:
    """Return the codestream, which may lie in parts."""
    parts = [body if name == WHOLE else body[4:] for name, body in boxes if name in (WHOLE, PART)]
    if not parts:
        raise ValueError("no codestream")
    return b"".join(parts)


def _samples(codestream: bytes, header: Header) -> tuple[np.ndarray, tuple[str, ...]]:
    """Decode (H, W, C), colours not multiplied with alpha; name the channels that are left out."""
    imagecodecs = _imagecodecs()
    try:
        decoded = np.asarray(imagecodecs.jpegxl_decode(codestream))
    except imagecodecs.JpegxlError as error:
        raise ValueError(str(error)) from error
    colors = 1 if header.grey else 3
    samples = decoded.reshape(*decoded.shape[:2], -1)
    alpha = ALPHA in header.extra and samples.shape[2] > colors
    samples = samples[..., : colors + alpha]
    if alpha and header.premultiplied:
        samples = divided(samples)
    if samples.dtype == np.uint16 and header.bits < 16:
        samples = to_16_bits(samples, header.bits)
    more = len(header.extra) - alpha
    return samples, ("other channels",) if more else ()


def _profile(codestream: bytes) -> bytes | None:
    try:
        from pillow_jxl import Decoder
    except ImportError as error:
        raise UserError(f"JPEG XL with a profile, {EXTRA}") from error
    profile: bytes = Decoder(num_threads=1)(codestream)[3]
    return profile or None


def _from_linear(samples: np.ndarray) -> np.ndarray:
    """Return samples of sRGB for samples of its light; alpha stays."""
    colors = samples.shape[2] - (samples.shape[2] in (2, 4))
    white = np.iinfo(samples.dtype).max if samples.dtype.kind == "u" else 1
    light = (samples[..., :colors] / white).astype(np.float64).clip(0, None)
    values = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    values = np.rint(values * white) if samples.dtype.kind == "u" else values
    return np.dstack([values.astype(samples.dtype), samples[..., colors:]])


def _metadata(boxes: Sequence[Box]) -> dict[bytes, bytes]:
    """Return boxes by their names, those unpacked that are packed; the first of each name."""
    found: dict[bytes, bytes] = {}
    for name, body in boxes:
        if name == PACKED and body[:4] in (b"Exif", b"xml "):
            imagecodecs = _imagecodecs()
            try:
                unpacked = imagecodecs.brotli_decode(body[4:], out=LARGEST_METADATA)
            except imagecodecs.BrotliError:
                continue  # damaged: the picture is worth more
            name, body = body[:4], bytes(unpacked)
        found.setdefault(name, body)
    return found


def _without_offset(body: bytes) -> bytes:
    """Return EXIF from its TIFF header on, before which stands where that is."""
    start = 4 + int.from_bytes(body[:4], "big")
    return body[start:].removeprefix(exif.PREFIX)


def _distance(quality: int) -> float:
    """Return how far pixels may be, in just noticeable differences, for JPEG's quality.

    As libjxl's own tools have it.
    """
    if quality >= 100:
        return 0.01
    if quality >= 30:
        return 0.1 + 0.09 * (100 - quality)
    return 53 / 3000 * quality**2 - 23 / 20 * quality + 25


def _with_loss(samples: np.ndarray, quality: int) -> bytes:
    """Encode 8 bits by colours as they are, for which imagecodecs has no option."""
    try:
        from pillow_jxl import Encoder
    except ImportError as error:
        raise UserError(f"JPEG XL with a profile, {EXTRA}") from error
    mode = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}[1 if samples.ndim == 2 else samples.shape[2]]
    options: dict[str, Any] = {"mode": mode, "lossless": False, "quality": quality, "effort": 7}
    options |= {"decoding_speed": 0, "use_container": False, "use_original_profile": True}
    encoder = Encoder(num_threads=-1, **options)
    nothing: dict[str, Any] = {"exif": None, "jumb": None, "xmp": None, "compress": False}
    height, width = samples.shape[:2]
    data = np.ascontiguousarray(samples).tobytes()
    encoded: bytes = encoder(data, width, height, jpeg_encode=False, **nothing)
    return encoded
