"""Read and write image files, with all that belongs to a picture.

A :class:`Picture` holds the pixels as an array, and transparency, colour profile and metadata
beside them. Pillow decodes and encodes; :mod:`npsrcnn.images.png` does what it cannot, and
:mod:`npsrcnn.images.tiff` reads and writes TIFF. Whatever a file holds, reading it ends in a
picture or in one line that says what is wrong.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import struct
import threading
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageCms, ImageFile, UnidentifiedImageError

from npsrcnn.errors import UserError
from npsrcnn.images import avif, icc, iptc, mpf, png, tiff, tiff_metadata, tiff_writer, xmp
from npsrcnn.images.exif import UPRIGHT
from npsrcnn.images.metadata import Metadata, exif_with_prefix, metadata_of, png_chunks
from npsrcnn.images.tiff_pages import DAMAGED, HEADERS, TiffPages
from npsrcnn.pixels.color import peak
from npsrcnn.pixels.transparency import fill
from npsrcnn.pixels.values import DTYPES, IN_NETWORK, Values
from npsrcnn.runtime.files import write_atomically

__all__ = [
    "Metadata",
    "Picture",
    "list_images",
    "read",
    "read_array",
    "read_layout",
    "read_pages",
    "read_size",
    "writable",
    "write",
    "write_pages",
]


class Format(NamedTuple):
    """A file format: what it can hold, and the options with which Pillow writes it."""

    name: str
    dtype_chars: str = "B"  # of samples, as NumPy has them: B uint8, H uint16
    alpha: bool = False
    max_side: int = 65535  # pixels
    options: dict[str, object] = {}  # noqa: RUF012 (never changed)
    limits: dict[str, int] = {}  # noqa: RUF012 (bytes of metadata; longer ones are dropped)


SEGMENT_BYTES = 65533  # that a segment of JPEG holds
# Pillow below 13 leaves no room in libjpeg's buffer for a comment, and there must be room for all
# that stands before the pixels.
ImageFile.MAXBLOCK = max(ImageFile.MAXBLOCK, 8 * SEGMENT_BYTES)
FORMATS = {
    ".png": Format("PNG", "BH", True, 2**31 - 1),
    ".jpg": Format(
        "JPEG",
        options={"quality": 95, "subsampling": 0},
        limits={
            "exif": SEGMENT_BYTES,
            "xmp": SEGMENT_BYTES - 29,
            "comment": SEGMENT_BYTES,
        },  # 29: XMP's name
    ),
    ".tif": Format("TIFF", "".join(dtype.char for dtype in DTYPES), True, 2**31 - 1),
    ".webp": Format("WEBP", alpha=True, max_side=16383, options={"quality": 95}),
    ".bmp": Format("BMP", max_side=2**31 - 1),
    ".ppm": Format("PPM", max_side=2**31 - 1),
    ".tga": Format("TGA", alpha=True),
    ".jp2": Format("JPEG2000", alpha=True, limits={"comment": SEGMENT_BYTES - 2}),
    ".avif": Format("AVIF", alpha=True, options={"quality": 90, "subsampling": "4:4:4"}),
}
ALIASES = {".jpeg": ".jpg", ".jpe": ".jpg", ".tiff": ".tif", ".pgm": ".ppm", ".pnm": ".ppm"}
SAMSUNG_VIDEO = b"MotionPhoto_Data"  # before a video that follows a picture
FILLED = 16  # pixels that values reach into where there are none, for training and comparison
READ_ONLY = {".gif", ".pbm"}  # suffixes of formats with too few colours for a result
READABLE = [format.name for format in FORMATS.values()]
READABLE += ["GIF", "MPO", "DIB", "ICO", "PCX", "PSD", "QOI", "SGI"]  # no EPS, which is a program
WRITABLE = FORMATS.keys() | ALIASES.keys()  # suffixes
SUFFIXES = WRITABLE | READ_ONLY
STILL = ("MPO", "PSD", "ICO")  # hold several images, of which the first is the picture

# What decoders raise when a file is damaged
DAMAGE = (*DAMAGED, OSError)


class _WarningsIgnored:
    """Ignore Pillow's warnings about odd files, on any number of threads.

    (warnings.catch_warnings changes what is common to all threads: entered and left by several
    out of order, it would leave the warnings off for good.)
    """

    def __init__(self) -> None:
        self.lock, self.inside = threading.Lock(), 0

    def __enter__(self) -> None:
        with self.lock:
            if self.inside == 0:
                self.caught = warnings.catch_warnings()
                self.caught.__enter__()
                warnings.simplefilter("ignore")
            self.inside += 1

    def __exit__(self, *error: object) -> None:
        with self.lock:
            self.inside -= 1
            if self.inside == 0:
                self.caught.__exit__(None, None, None)


_warnings_ignored = _WarningsIgnored()


@dataclass
class Companion:
    """A picture that goes with another: see :mod:`npsrcnn.images.mpf`."""

    picture: Picture
    attribute: int
    is_gain_map: bool = False

    def __str__(self) -> str:
        """Return what it is, in words."""
        return "gain map" if self.is_gain_map else "other picture"


@dataclass
class Picture:
    """An image with all that belongs to it.

    Attributes
    ----------
    pixels : ndarray, (H, W) grey or (H, W, 3) RGB
        Of a type in :data:`npsrcnn.pixels.values.DTYPES`.
    alpha : ndarray, (H, W), or None
        Opacity, with the dtype of ``pixels``, which are not multiplied with it.
    metadata : Metadata
    nodata : float or None
        What stands for no value in ``pixels``, beside NaN and infinity.
    others : list of Companion
        What goes with the picture in its file, and in JPEG files alone: a gain map, the other
        picture of a stereo pair.
    role : int
        What the picture is for where there are ``others``.
    lost : tuple of str
        What its file held as well, and is not kept, in words.
    """

    pixels: np.ndarray
    alpha: np.ndarray | None = None
    metadata: Metadata = field(default_factory=Metadata)
    nodata: float | None = None
    others: list[Companion] = field(default_factory=list)
    role: int = mpf.BASELINE
    lost: tuple[str, ...] = ()

    @classmethod
    def from_samples(cls, samples: np.ndarray, metadata: Metadata | None = None) -> Picture:
        """Make a picture of (H, W) or (H, W, C): C is 1 grey, 2 grey and alpha, 3 RGB, 4 RGBA."""
        samples = np.asarray(samples)
        samples = samples[..., None] if samples.ndim == 2 else samples
        channels = samples.shape[2] if samples.ndim == 3 else 0
        if channels not in (1, 2, 3, 4) or samples.size == 0:
            raise ValueError(f"no image: an array of {samples.shape}")
        if samples.dtype not in DTYPES:
            raise TypeError(f"no image of {samples.dtype}: use uint8, uint16 or float32")
        pixels = samples[..., 0] if channels < 3 else samples[..., :3]
        alpha = samples[..., -1] if channels in (2, 4) else None
        return cls(pixels, alpha, metadata or Metadata())

    def is_opaque(self) -> bool:
        """Return whether alpha, if there is one, is at its maximum everywhere."""
        return self.alpha is None or bool((self.alpha == peak(self.alpha.dtype)).all())

    def values(self) -> Values:
        """Return what the numbers in ``pixels`` mean."""
        return Values.measured([(self.pixels, self.alpha)], self.pixels.dtype, self.nodata)

    def samples(self) -> np.ndarray:
        """Return (H, W, C), contiguous: the inverse of :meth:`from_samples`."""
        parts = (self.pixels,) if self.alpha is None else (self.pixels, self.alpha)
        return np.dstack(parts) if len(parts) > 1 else np.atleast_3d(self.pixels)


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


def read_pages(path: str | Path, page: int | None = None) -> Iterator[Picture]:
    """Read the pages of a TIFF file one after the other; of other files the only picture.

    Overviews, thumbnails and masks are no pages.

    Parameters
    ----------
    path : str or Path
    page : int, optional
        The only page to read, from 1 on.

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
            with _warnings_ignored:
                picture = _decode(data)
            yield picture
            return
        pages = TiffPages(io.BytesIO(data))
        count = len(pages.places)
        if page is not None and not 1 <= page <= count:
            raise UserError(f"no page {page}: the file holds {count}")
    for number in range(count) if page is None else [page - 1]:
        with _told_in_one_line(path), _warnings_ignored:
            picture = _decode_page(data, pages, number)
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
        raise UserError(f"{path}: not an image, or of an unknown format") from error
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


def read_layout(path: str | Path) -> tiff.Layout:
    """Read the layout of a file's pictures from headers; see :func:`read_size`."""
    with contextlib.suppress(*DAMAGE, Image.DecompressionBombError):
        if Path(path).is_file():
            if layout := tiff.read_layout(path):
                return layout
            with _warnings_ignored, _image(path) as image:
                size = {"F": 4, "I": 2}.get(image.mode[:1], 1)
                if image.format == "PNG":
                    with open(path, "rb") as file:
                        size = 2 if png.is_16_bit(file.read(32)) else 1
                return tiff.Layout(image.height, image.width, len(image.getbands()), size)
    picture = read(path)  # or it says what is wrong
    channels = picture.pixels[:1, :1].size + (picture.alpha is not None)
    height, width = picture.pixels.shape[:2]
    return tiff.Layout(height, width, channels, picture.pixels.itemsize)


def write(path: str | Path, picture: Picture | np.ndarray) -> None:
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
    write_pages(path, [picture])


def write_pages(path: str | Path, pictures: Iterable[Picture]) -> None:
    """Write pictures as the pages of a file, in their order; raises as :func:`write`.

    They are taken one by one, and let go when they are compressed.
    """
    path = Path(path)
    kind = writable(path.suffix)
    parts: list[bytes] = []
    pages: list[tiff_writer.Page] = []
    for picture in pictures:
        reason = misfit(picture, kind, len(parts) + 1)
        if reason:
            raise UserError(f"{path}: {reason}")
        if not kind.alpha:
            picture = dataclasses.replace(picture, alpha=None)
        try:
            if kind.name == "TIFF":
                metadata = picture.metadata.for_profiles(picture.pixels.ndim == 2)
                if metadata.xmp and picture.others:
                    metadata.xmp = xmp.without_gain_map(metadata.xmp)
                tags = tiff_metadata.to_directory(metadata, picture.pixels.shape[:2])
                pages.append(tiff_writer.encode_page(picture.samples(), tags))
            else:
                parts.append(_encode(picture, kind))
        except (UserError, OSError, ValueError, OverflowError, struct.error) as error:
            raise UserError(f"{path}: cannot be written as {kind.name} ({error})") from error
    data = b"".join(tiff_writer.assemble(pages) if pages else parts)
    with write_atomically(path) as temporary:
        temporary.write_bytes(data)


def writable(suffix: str) -> Format:
    """Return the format that a suffix, such as ".png", names.

    Raises
    ------
    UserError
        An unknown format, or one that pictures are only read from.
    """
    suffix = suffix.lower()
    kind = FORMATS.get(ALIASES.get(suffix, suffix))
    if kind is None:
        raise UserError(
            f"cannot write {suffix or 'a file without suffix'}: use {', '.join(FORMATS)}"
        )
    Image.preinit()
    if kind.name not in Image.SAVE:
        Image.init()
    if kind.name not in Image.SAVE:
        raise UserError(f"cannot write {suffix}: this Pillow was built without {kind.name}")
    return kind


def misfit(picture: Picture, kind: Format, number: int = 1) -> str | None:
    """Return why a format cannot hold a picture as page ``number``, and what to do; None if it can.

    Pages count from 1 on.
    """
    dtype = picture.pixels.dtype
    if number > 1 and kind.name != "TIFF":
        return f"{kind.name} holds one picture: write TIFF, or choose a page (--page)"
    if dtype.char not in kind.dtype_chars:
        if dtype not in (np.uint16, np.float32):
            return f"{kind.name} holds no {dtype}: write TIFF"
        bits = 8 * picture.pixels.itemsize
        other = "PNG or TIFF" if bits == 16 else "TIFF"
        return f"{kind.name} holds no {bits} bits a channel: write {other}"
    hdr = icc.hdr_name(picture.metadata.color)
    if hdr and kind.name != "PNG":
        return f"{kind.name} cannot say that colours are HDR ({hdr}): write PNG"
    if not (kind.alpha or picture.is_opaque()):
        return f"{kind.name} holds no transparency: write PNG, TIFF or WebP"
    if max(picture.pixels.shape[:2]) > kind.max_side:
        return f"{kind.name} holds at most {kind.max_side} pixels a side: write PNG"
    return None


def list_images(folder: str | Path) -> list[Path]:
    """Return the image files of ``folder`` (by suffix, hidden ones left out), sorted by name.

    Raises
    ------
    UserError
        No such folder, or none of its files is an image.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder")
    paths = [
        path
        for path in sorted(folder.iterdir())
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()
    ]
    if not paths:
        raise UserError(f"{folder}: no image files in this folder")
    return paths


def _contents(path: Path) -> bytes:
    if path.is_dir():
        raise UserError(f"{path}: a folder, not an image")
    if path.exists() and not path.is_file():
        raise UserError(f"{path}: not a regular file")
    data = path.read_bytes()
    if not data:
        raise UserError(f"{path}: empty (0 bytes)")
    return data


def _decode(data: bytes, *, with_others: bool = True) -> Picture:
    """Decode a file that is no TIFF, with what goes with its picture."""
    with _image(io.BytesIO(data)) as image:
        frames = getattr(image, "n_frames", 1)
        if frames > 1 and image.format not in STILL:
            raise UserError(
                f"{image.format} of {frames} frames (animated): only single pictures are taken"
            )
        metadata, orientation = metadata_of(image, data)
        if image.format == "PNG" and image.mode == "L" and "transparency" in image.info:
            # Of 2 and 4 bits Pillow scales the samples to 8, and not the key
            image.info["transparency"] *= 255 // (2 ** png.bits(data) - 1)
        samples = _samples(image, metadata)
        if png.is_16_bit(data):
            samples = png.decode_16_bit(data)
        if image.format == "AVIF":
            metadata.color = {} if metadata.icc_profile else avif.color_chunks(data)
            wide = avif.decode_wide(data) if avif.bits(data) > 8 else None
            samples = samples if wide is None else wide
        picture = _upright(samples, orientation, metadata)
        if image.format in ("JPEG", "MPO") and with_others:
            _add_others(picture, data, orientation)
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
    if not has_map and xmp.claims_gain_map(described):
        picture.lost += ("gain map",)
    if not has_map:
        described, metadata.gain_map = xmp.without_gain_map(described), b""
    metadata.xmp = described or None


def _decode_page(data: bytes, pages: TiffPages, number: int) -> Picture:
    """Decode a page of a TIFF file, from 0 on."""
    try:
        reader = tiff.TiffReader(io.BytesIO(data), number, pages)
        samples = tiff.whole(reader)
    except tiff.PillowOnly as refusal:
        try:
            image = _image(io.BytesIO(data))
        except UnidentifiedImageError as error:
            raise refusal from error
        with image:
            image.seek(pages.indices[number])
            directory = pages.directory(pages.places[number])
            metadata = tiff_metadata.from_directory(directory, (image.height, image.width))
            return _upright(_samples(image, metadata), 1, metadata)  # Pillow has turned it
    picture = _upright(samples, reader.orientation, reader.metadata())
    picture.nodata = reader.nodata
    return picture


def _upright(samples: np.ndarray, orientation: int, metadata: Metadata) -> Picture:
    """Return the picture of samples that are turned as EXIF's ``orientation`` says."""
    if orientation in UPRIGHT:
        samples = UPRIGHT[orientation](samples)
    return Picture.from_samples(np.require(samples, requirements=["C", "W"]), metadata)


def _image(file: str | Path | io.BytesIO) -> Image.Image:
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


def _encode(picture: Picture, kind: Format) -> bytes:
    metadata = picture.metadata
    if kind.name != "JPEG" and metadata.xmp:
        metadata = dataclasses.replace(metadata, xmp=xmp.without_gain_map(metadata.xmp))
    if kind.name == "PNG":
        return png.encode(picture.samples(), png_chunks(metadata))
    metadata = metadata.for_profiles(picture.pixels.ndim == 2)
    samples = picture.samples()
    image = Image.fromarray(samples[..., 0] if samples.shape[2] == 1 else samples)
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
    others: list[mpf.Part] = []
    if kind.name == "JPEG":
        others = [
            mpf.Part(other.attribute, _encode(other.picture, kind)) for other in picture.others
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
