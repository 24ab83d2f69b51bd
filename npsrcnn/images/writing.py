"""Write pictures to files: Pillow encodes all but PNG and TIFF. Never is anything relabelled."""

from __future__ import annotations

import dataclasses
import io
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import cast

import numpy as np
from PIL import Image

from npsrcnn.errors import UserError
from npsrcnn.images import heif, icc, iptc, jxl, mpf, png, tiff_metadata, tiff_writer, xmp
from npsrcnn.images.encoding import AS_USUAL, Encoding
from npsrcnn.images.formats import Format, writable
from npsrcnn.images.metadata import exif_with_prefix, png_chunks
from npsrcnn.images.picture import Picture
from npsrcnn.runtime.files import write_atomically


def write(path: str | Path, picture: Picture | np.ndarray, encoding: Encoding = AS_USUAL) -> None:
    """Write a picture, or an array as for ``Picture.from_samples``; the suffix names the format.

    The file appears under its name when it is complete.

    Raises
    ------
    UserError
        An unknown format, or one that cannot hold the picture; never is anything dropped but
        metadata for which the format has no place.
    OSError
        The file cannot be written.
    """
    if isinstance(picture, np.ndarray):
        picture = Picture.from_samples(picture)
    write_pages(path, [picture], encoding)


def write_pages(
    path: str | Path, pictures: Iterable[Picture], encoding: Encoding = AS_USUAL
) -> None:
    """Write pictures as the pages of a file, in their order; raises as :func:`write`.

    They are taken one by one, and let go when they are compressed.
    """
    path = Path(path)
    kind = writable(path.suffix)
    parts: list[bytes] = []
    pages: list[tiff_writer.Page] = []
    for picture in pictures:
        reason = misfit(picture, kind, len(parts) + 1, encoding)
        if reason:
            raise UserError(f"{path}: {reason}")
        if not kind.alpha:
            picture = encoding.flattened(picture)
        try:
            if kind.name == "TIFF":
                metadata = picture.metadata.for_profiles(picture.pixels.ndim == 2)
                if metadata.xmp and picture.others:
                    metadata.xmp = xmp.without_gain_map(metadata.xmp)
                tags = tiff_metadata.to_directory(metadata, picture.pixels.shape[:2])
                cmyk = picture.black is not None
                samples = picture.inks() if cmyk else picture.samples()
                pages.append(tiff_writer.encode_page(samples, tags, cmyk=cmyk))
            else:
                parts.append(_encode(picture, kind, encoding))
        except (UserError, OSError, ValueError, OverflowError, RuntimeError, struct.error) as error:
            raise UserError(f"{path}: cannot be written as {kind.name} ({error})") from error
    data = b"".join(tiff_writer.assemble(pages) if pages else parts)
    with write_atomically(path) as temporary:
        temporary.write_bytes(data)


def misfit(
    picture: Picture, kind: Format, number: int = 1, encoding: Encoding = AS_USUAL
) -> str | None:
    """Return why a format cannot hold a picture as page ``number``, and what to do; None if it can.

    Pages count from 1 on.
    """
    dtype = picture.pixels.dtype
    if picture.black is not None and kind.name not in ("TIFF", "JPEG"):
        return f"{kind.name} holds no CMYK: write TIFF or JPEG, or leave out --keep-cmyk"
    if number > 1 and kind.name != "TIFF":
        return f"{kind.name} holds one picture: write TIFF, or choose a page (--page)"
    if dtype.char not in kind.dtype_chars:
        if dtype not in (np.uint16, np.float32):
            return f"{kind.name} holds no {dtype}: write TIFF"
        bits = 8 * picture.pixels.itemsize
        other = "PNG or TIFF" if bits == 16 else "TIFF"
        return f"{kind.name} holds no {bits} bits a channel: write {other}"
    hdr = icc.hdr_name(picture.metadata.color)
    if hdr and not kind.can_say_hdr:
        return f"{kind.name} cannot say that colours are HDR ({hdr}): write PNG"
    if encoding.lossless and not kind.can_be_lossless:
        return f"{kind.name} loses something: write PNG, TIFF or WebP"
    if encoding.lossless and kind.name == "HEIC" and dtype == np.uint16:
        return f"HEIC holds {heif.BITS_WRITTEN} bits, which loses some of 16: write PNG or TIFF"
    if encoding.quality is not None and kind.name == "JPEG XL" and dtype != np.uint8:
        return "JPEG XL holds more than 8 bits without loss alone: leave out --quality"
    if not (kind.alpha or picture.is_opaque()):
        if encoding.background is None:
            return f"{kind.name} holds no transparency: write PNG, TIFF or WebP"
        grey = picture.pixels.ndim == 2 and picture.metadata.icc_profile
        if grey and len(set(encoding.background)) > 1:
            return "a grey picture with a profile of its own needs a grey background"
    if max(picture.pixels.shape[:2]) > kind.max_side:
        return f"{kind.name} holds at most {kind.max_side} pixels a side: write PNG"
    return None


def _encode(picture: Picture, kind: Format, encoding: Encoding) -> bytes:
    metadata = picture.metadata
    if kind.name != "JPEG" and metadata.xmp:
        metadata = dataclasses.replace(metadata, xmp=xmp.without_gain_map(metadata.xmp))
    if kind.name == "PNG":
        return png.encode(picture.samples(), png_chunks(metadata))
    quality = encoding.quality or cast("int | None", kind.options.get("quality"))
    quality = None if encoding.lossless else quality
    if kind.name == "HEIC":
        if metadata.icc_profile or b"cICP" not in metadata.color:  # which it has room for
            metadata = metadata.for_profiles(picture.pixels.ndim == 2)
        return heif.encode(picture, metadata, quality)
    metadata = metadata.for_profiles(picture.pixels.ndim == 2)
    if kind.name == "JPEG XL":
        exact = (picture.lossless and encoding.quality is None) or picture.pixels.dtype != np.uint8
        return jxl.encode(picture, metadata, None if exact else quality)
    samples = picture.samples()
    image = Image.fromarray(samples[..., 0] if samples.shape[2] == 1 else samples)
    if picture.black is not None:
        image = Image.frombytes("CMYK", image.size, picture.inks().tobytes())
    known = {
        "icc_profile": metadata.icc_profile,
        "exif": exif_with_prefix(metadata),
        "xmp": metadata.xmp,
        "comment": metadata.comment or metadata.text.get("Comment", "").encode(),
        "dpi": metadata.dpi,
    }
    options = kind.options | {
        key: value
        for key, value in known.items()
        if value and len(value) <= kind.limits.get(key, len(value))
    }
    if encoding.quality is not None and kind.has_quality:
        options["quality"] = encoding.quality
    elif kind.name == "WEBP" and (encoding.lossless or picture.lossless):
        # there quality is effort, and exact keeps the colours where alpha is 0
        options |= {"lossless": True, "quality": 80, "exact": True}
    others: list[mpf.Part] = []
    if kind.name == "JPEG":
        others = [
            mpf.Part(other.attribute, _encode(other.picture, kind, encoding))
            for other in picture.others
        ]
        options["extra"] = b"".join(
            [
                iptc.segments(metadata.photoshop),
                metadata.gain_map,
                mpf.placeholder(1 + len(others)) if others else b"",
            ]
        )
        for other, part in zip(picture.others, others, strict=True):
            if other.is_gain_map and "xmp" in options and metadata.xmp:
                options["xmp"] = xmp.with_gain_map_bytes(metadata.xmp, len(part.data))
    file = io.BytesIO()
    image.save(file, kind.name, **options)
    return mpf.joined(file.getvalue(), picture.role, others) if others else file.getvalue()
