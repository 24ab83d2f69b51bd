"""Read image files, with all that belongs to a picture.

A :class:`Picture` holds the pixels as an array, and transparency, colour profile and metadata
beside them. Pillow decodes; :mod:`npsrcnn.images.png` does what it cannot,
:mod:`npsrcnn.images.tiff` reads and writes TIFF, and :mod:`npsrcnn.images.heif` and
:mod:`npsrcnn.images.jxl` what takes packages more. Whatever a file holds, reading it ends in a
picture or in one line that says what is wrong.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageCms, UnidentifiedImageError

from npsrcnn.errors import UserError
from npsrcnn.images import (
    avif,
    depth,
    heif,
    jxl,
    mpf,
    png,
    recognized,
    tiff,
    tiff_metadata,
    webp,
    xmp,
)
from npsrcnn.images.exif import UPRIGHT
from npsrcnn.images.formats import DAMAGE, READABLE, suffix_of_name
from npsrcnn.images.layout import Layout, read_tiff_layout
from npsrcnn.images.limits import BoundedFile
from npsrcnn.images.metadata import Metadata, metadata_of
from npsrcnn.images.picture import Companion, Picture
from npsrcnn.images.quiet import keep_libtiff_quiet, warnings_ignored
from npsrcnn.images.tiff_pages import HEADERS, TiffPages
from npsrcnn.pixels.transparency import fill
from npsrcnn.pixels.values import IN_NETWORK

SAMSUNG_VIDEO = b"MotionPhoto_Data"  # before a video that follows a picture
FIRST_BYTES = 512  # that tell formats apart
FILLED = 16  # pixels that values reach into where there are none, for training and comparison
STILL = ("MPO", "PSD", "ICO")  # hold several images, of which the first is the picture


def read(path: str | Path) -> Picture:
    """Read a picture: grey, RGB, palette, 1 bit, 16 bits, CMYK, with or without transparency.

    It is turned as its EXIF orientation says, and keeps its type: 16 bits stay 16 bits. Palettes
    become RGB or grey, one bit becomes grey. CMYK becomes sRGB, by its colour profile if it has
    one. Colours declared transparent become alpha.

    Raises
    ------
    UserError
        No picture, damaged, animated, of several pages, or far too large (Pillow's limit, 179
        million pixels).
    OSError
        The file is missing or may not be read.
    """
    pages = read_pages(path)
    first = next(pages)
    more = sum(1 for _ in pages)
    if more:
        raise UserError(f"{path}: TIFF of {more + 1} pages: only single pictures are taken")
    return first


def read_pages(
    path: str | Path, page: int | None = None, *, keep_cmyk: bool = False
) -> Iterator[Picture]:
    """Read the pages of a TIFF file one after the other; of other files the only picture.

    Overviews, thumbnails and masks are no pages.

    Parameters
    ----------
    path : str or Path
    page : int, optional
        The only page to read, from 1 on.
    keep_cmyk : bool
        Leave CMYK as it is: see :attr:`Picture.black`.

    Raises
    ------
    UserError, OSError
        As :func:`read`; no such page.
    """
    path = Path(path)
    data = _contents(path)
    with _told_in_one_line(path):
        if data[:4] not in HEADERS:
            if page not in (None, 1):
                raise UserError(f"no page {page}: the file holds one picture")
            with warnings_ignored:
                picture = _decode(data, keep_cmyk=keep_cmyk)
            yield picture
            return
        pages = TiffPages(io.BytesIO(data))
        count = len(pages.places)
        if page is not None and not 1 <= page <= count:
            raise UserError(f"no page {page}: the file holds {count}")
    for number in range(count) if page is None else [page - 1]:
        with _told_in_one_line(path), warnings_ignored:
            picture = _decode_page(data, pages, number, keep_cmyk)
            if page is not None and count > 1:
                picture.metadata = tiff_metadata.of_one_page(picture.metadata)
        yield picture


@contextlib.contextmanager
def _told_in_one_line(path: Path) -> Iterator[None]:
    """Turn what decoders raise into a UserError that names the file."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    except UnidentifiedImageError as error:
        raise UserError(f"{path}: {recognized.described_file(path)}") from error
    except Image.DecompressionBombError as error:
        limit = 2 * (Image.MAX_IMAGE_PIXELS or 0) // 10**6
        raise UserError(
            f"{path}: more than {limit} million pixels, refused as a decompression bomb"
        ) from error
    except DAMAGE as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"{path}: damaged or truncated ({reason})") from error


def read_array(path: str | Path) -> np.ndarray:
    """Read the pixels of a picture alone, (H, W) or (H, W, 3) uint8 or uint16; see :func:`read`.

    Of other types black and white are those that :meth:`Picture.values` finds, in 16 bits; what
    stands for no value gets the values around it.
    """
    picture = read(path)
    with _told_in_one_line(Path(path)):
        pixels, values = picture.pixels, picture.values()
    missing = values.missing(pixels)
    if missing is None and pixels.dtype in IN_NETWORK:
        return pixels
    filled = fill(values.to_network(pixels, missing), None, FILLED, missing)
    if filled.dtype in IN_NETWORK:
        return filled
    wide: np.ndarray = np.rint(filled.clip(0, 1) * np.float32(65535)).astype(np.uint16)
    return wide


def read_size(path: str | Path) -> tuple[int, int]:
    """Read rows and columns from a file's headers, before it is turned; raises as :func:`read`.

    Only a file whose headers do not say is read whole.
    """
    return read_layout(path)[:2]


def read_layout(path: str | Path) -> Layout:
    """Read the layout of a file's pictures from headers; see :func:`read_size`."""
    with contextlib.suppress(*DAMAGE, Image.DecompressionBombError):
        if Path(path).is_file():
            if layout := read_tiff_layout(path):
                return layout
            begin = _first_bytes(path)
            if heif.is_heif(begin):
                return heif.read_layout(Path(path).read_bytes())
            if jxl.is_jxl(begin):
                return jxl.read_layout(Path(path).read_bytes())
            with warnings_ignored, BoundedFile(path) as file, _image(file) as image:
                size = {"F": 4, "I": 2}.get(image.mode[:1], 1)
                if image.format == "PNG":
                    size = 2 if png.is_16_bit(begin) else 1
                return Layout(image.height, image.width, len(image.getbands()), size)
    picture = read(path)  # or it says what is wrong
    channels = picture.pixels[:1, :1].size + (picture.alpha is not None)
    height, width = picture.pixels.shape[:2]
    return Layout(height, width, channels, picture.pixels.itemsize)


def suffix_of(data: bytes) -> str | None:
    """Return the suffix, as ".png", of the format of a file's contents; None if it is not known."""
    if data[:4] in HEADERS:
        return ".tif"
    if data.startswith(png.SIGNATURE):  # also of one with damaged chunks, which Pillow refuses
        return ".png"
    if heif.is_heif(data[:FIRST_BYTES]):
        return ".heic"
    if jxl.is_jxl(data[:FIRST_BYTES]):
        return ".jxl"
    try:
        with warnings_ignored, _image(io.BytesIO(data)) as image:
            name = {"MPO": "JPEG"}.get(image.format or "", image.format or "")
    except (*DAMAGE, Image.DecompressionBombError):
        return None
    return suffix_of_name(name)


def _first_bytes(path: str | Path) -> bytes:
    with open(path, "rb") as file:
        return file.read(FIRST_BYTES)


def _contents(path: Path) -> bytes:
    if path.is_dir():
        raise UserError(f"{path}: a folder, not an image")
    if path.exists() and not path.is_file():
        raise UserError(f"{path}: not a regular file")
    data = path.read_bytes()
    if not data:
        raise UserError(f"{path}: empty (0 bytes)")
    return data


def _decode(data: bytes, *, with_others: bool = True, keep_cmyk: bool = False) -> Picture:
    """Decode a file that is no TIFF, with what goes with its picture."""
    if heif.is_heif(data[:FIRST_BYTES]):
        return heif.decode(data)
    if jxl.is_jxl(data[:FIRST_BYTES]):
        return jxl.decode(data)
    damaged: tuple[str, ...] = ()
    if data.startswith(png.SIGNATURE):
        data, damaged = png.without_damaged(data)
    try:
        opened = _image(io.BytesIO(data))
    except UnidentifiedImageError:
        if mpf.NAME not in data:
            raise
        # Pillow 12 takes no JPEG file whose list of further pictures is damaged.
        data = data.replace(mpf.NAME, bytes(len(mpf.NAME)))
        opened = _image(io.BytesIO(data))
    with opened as image:
        frames = getattr(image, "n_frames", 1)
        if frames > 1 and image.format not in STILL:
            raise UserError(
                f"{image.format} of {frames} frames (animated): only single pictures are taken; "
                "alone npsrcnn upscale takes it as a clip"
            )
        metadata, orientation = metadata_of(image, data)
        if image.format == "PNG" and image.mode in ("1", "L") and "transparency" in image.info:
            # Of 1, 2 and 4 bits Pillow scales the samples to 8, and the key, from 12 on, of 1 bit.
            levels = 1 if image.mode == "1" else 2 ** png.bits(data) - 1
            image.info["transparency"] = min(255, image.info["transparency"] * (255 // levels))
        if keep_cmyk and image.mode == "CMYK":
            return _inks(image, orientation, metadata)
        samples = _samples(image, metadata)
        if png.is_16_bit(data):
            samples = png.decode_16_bit(data)
        if image.format == "AVIF":
            metadata.color = {} if metadata.icc_profile else avif.color_chunks(data)
            wide = avif.decode_wide(data) if avif.bits(data) > 8 else None
            samples = samples if wide is None else wide
        picture = _upright(samples, orientation, metadata)
        picture.lost += damaged
        if image.format and picture.pixels.dtype == np.uint8:
            picture.lost += _lost_bits(depth.bits(image.format, data))
        if image.format in ("JPEG", "MPO") and with_others:
            _add_others(picture, data, orientation)
        picture.lossless = image.format == "WEBP" and webp.is_lossless(data)
    return picture


def _add_others(picture: Picture, data: bytes, orientation: int) -> None:
    """Decode what goes with a picture of a JPEG file, and say so of what cannot be kept."""
    metadata = picture.metadata
    described = metadata.xmp or b""
    picture.role, parts = mpf.parts(data)
    for attribute, stream in parts:
        try:
            other = _decode(stream, with_others=False)
        except (UserError, *DAMAGE):
            picture.lost += ("other picture, which is damaged",)
            continue
        own = other.metadata
        is_map = bool(own.gain_map) or xmp.claims_gain_map(own.xmp or b"")
        is_map = is_map or xmp.claims_gain_map(described)
        if is_map and own.exif is None and orientation in UPRIGHT:
            turned = UPRIGHT[orientation](other.samples())
            other = Picture.from_samples(np.ascontiguousarray(turned), own)
        picture.others.append(Companion(other, attribute, is_map))
    has_map = any(other.is_gain_map for other in picture.others)
    if xmp.claims_motion(described) or SAMSUNG_VIDEO in data:
        picture.lost += ("video",)
        described = xmp.without_motion(described)
    if xmp.claims_extension(described):
        picture.lost += ("extended XMP",)
        described = xmp.without_extension(described)
    if not has_map and xmp.claims_gain_map(described):
        picture.lost += ("gain map",)
    if not has_map:
        described, metadata.gain_map = xmp.without_gain_map(described), b""
    metadata.xmp = described or None


def _decode_page(data: bytes, pages: TiffPages, number: int, keep_cmyk: bool) -> Picture:
    """Decode a page of a TIFF file, from 0 on."""
    try:
        reader = tiff.TiffReader(io.BytesIO(data), number, pages)
        samples = tiff.whole(reader)
    except tiff.PillowOnly as refusal:
        keep_libtiff_quiet()
        try:
            image = _image(io.BytesIO(data))
        except UnidentifiedImageError as error:
            raise refusal from error
        with image:
            image.seek(pages.indices[number])
            directory = pages.directory(pages.places[number])
            metadata = tiff_metadata.from_directory(directory, (image.height, image.width))
            if keep_cmyk and image.mode == "CMYK":
                picture = _inks(image, 1, metadata)
            else:
                picture = _upright(_samples(image, metadata), 1, metadata)  # Pillow has turned it
            if picture.pixels.dtype == np.uint8:
                picture.lost = _lost_bits(int(np.max(pages.places[number].page.bitspersample)))
            return picture
    picture = _upright(samples, reader.orientation, reader.metadata())
    picture.nodata = reader.nodata
    return picture


def _lost_bits(bits: int) -> tuple[str, ...]:
    """Say what is lost of a file of so many bits a channel, of which 8 were decoded."""
    return (f"last {bits - 8} of {bits} bits",) if bits > 8 else ()


def _upright(samples: np.ndarray, orientation: int, metadata: Metadata) -> Picture:
    """Return the picture of samples that are turned as EXIF's ``orientation`` says."""
    if orientation in UPRIGHT:
        samples = UPRIGHT[orientation](samples)
    return Picture.from_samples(np.require(samples, requirements=["C", "W"]), metadata)


def _inks(image: Image.Image, orientation: int, metadata: Metadata) -> Picture:
    """Decode CMYK, which stays that, as :func:`_upright`."""
    inks = UPRIGHT.get(orientation, np.asarray)(np.asarray(image))
    return Picture.from_inks(np.ascontiguousarray(inks), metadata)


def _image(file: BinaryIO) -> Image.Image:
    """Open a file with Pillow, which reads the headers."""
    Image.preinit()  # the commonest formats; loading all takes a tenth of a second
    try:
        return Image.open(file, formats=[name for name in READABLE if name in Image.OPEN])
    except UnidentifiedImageError:
        Image.init()
        return Image.open(file, formats=[name for name in READABLE if name in Image.OPEN])


def _samples(image: Image.Image, metadata: Metadata) -> np.ndarray:
    """Decode the samples, (H, W) or (H, W, C)."""
    mode = image.mode
    if mode == "CMYK":
        return np.asarray(_from_cmyk(image, metadata))
    if mode.startswith("I;16"):
        return np.asarray(image).astype(np.uint16)
    if mode == "I":
        samples = np.asarray(image)
        small = samples.min() >= 0 and samples.max() <= 65535
        return samples.astype(np.uint16) if small else samples
    if mode == "F":
        return np.asarray(image)
    if mode in ("P", "PA"):
        samples = np.asarray(image.convert("RGBA"))
        if metadata.icc_profile is None and (samples[..., :3] == samples[..., :1]).all():
            samples = samples[..., [0, 3]]
        return samples if image.has_transparency_data else samples[..., :-1]
    target = {"1": "L", "La": "LA", "RGBa": "RGBA", "RGBX": "RGB", "YCbCr": "RGB"}.get(mode, mode)
    if target not in ("L", "LA", "RGB", "RGBA"):
        raise UserError(f"pixels of an unknown kind ({mode}): save it as RGB")
    if "transparency" in image.info and target in ("L", "RGB"):
        target += "A"
    return np.asarray(image if target == mode else image.convert(target))


def _from_cmyk(image: Image.Image, metadata: Metadata) -> Image.Image:
    """Convert to sRGB, by the colour profile if it is one of CMYK; the profile is then sRGB's."""
    profile, metadata.icc_profile = metadata.icc_profile, None
    if profile is None:
        return image.convert("RGB")
    rgb = ImageCms.createProfile("sRGB")
    try:
        result = ImageCms.profileToProfile(image, io.BytesIO(profile), rgb, outputMode="RGB")
    except ImageCms.PyCMSError:
        result = None
    if result is None:
        return image.convert("RGB")
    metadata.icc_profile = ImageCms.ImageCmsProfile(rgb).tobytes()
    return result
