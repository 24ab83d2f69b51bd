"""HEIC: read and write by pillow-heif, which is libheif, with 8, 10 and 12 bits.

A picture is turned by its own box (irot, imir; ISO/IEC 23008-12, 6.5.10), which the decoder has
done; EXIF's orientation says the same once more, and is not followed.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np

from npsrcnn.errors import UserError
from npsrcnn.images import exif, icc, xmp
from npsrcnn.images.formats import EXTRA
from npsrcnn.images.layout import Layout
from npsrcnn.images.limits import check_pixels
from npsrcnn.images.metadata import Metadata, exif_with_prefix
from npsrcnn.images.picture import Picture
from npsrcnn.pixels.transparency import divided
from npsrcnn.pixels.values import to_16_bits

if TYPE_CHECKING:
    from pillow_heif import HeifFile

HEIC = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx"}  # brands of pictures by HEVC
HEIF, AVIF = {b"mif1", b"msf1"}, {b"avif", b"avis"}  # of any codec; of AV1
MOST_BRANDS = 64
BITS_WRITTEN = 10  # of 16, as phones and browsers take them
SRGB_MATRIX, BT2020_MATRIX, NO_MATRIX = 6, 9, 0  # from RGB to Y'CbCr, by their numbers in H.273
BT2020_PRIMARIES = 9
GAIN_MAP = "gainmap"  # in the name of an auxiliary picture


def is_heif(begin: bytes) -> bool:
    """Return whether a file, of which these are the first bytes, is HEIC and not AVIF."""
    if begin[4:8] != b"ftyp":
        return False
    length = min(int.from_bytes(begin[:4], "big"), 4 * MOST_BRANDS)
    brands = {begin[8:12], *(begin[i : i + 4] for i in range(16, length, 4))}
    return bool(brands & HEIC) or (begin[8:12] in HEIF and not brands & AVIF)


def read_layout(data: bytes) -> Layout:
    """Return what a file's boxes say of its picture, which are read but not decoded.

    Raises
    ------
    UserError
        Without the package for it.
    """
    opened = _open(data)
    channels = {"L": 1, "I": 1}.get(opened.mode.partition(";")[0], len(opened.mode.split(";")[0]))
    width, height = opened.size
    return Layout(height, width, channels, 2 if ";16" in opened.mode else 1)


def decode(data: bytes) -> Picture:
    """Decode the first picture of a file; what else it holds is named as lost.

    10 and 12 bits become 16.

    Raises
    ------
    UserError
        Without the package for it.
    Image.DecompressionBombError
        More pixels than Pillow takes.
    """
    opened = _open(data)
    check_pixels(opened.size[1], opened.size[0])
    info = opened.info
    samples = np.asarray(opened)
    if opened.mode.endswith(";16"):
        bits = int(info["bit_depth"])
        samples = to_16_bits(samples >> (16 - bits), bits)  # shifted up by the decoder
    if samples.ndim == 3:
        if opened.premultiplied_alpha and samples.shape[2] == 4:
            samples = divided(samples)
        grey = "chroma" not in info and (samples[..., :3] == samples[..., :1]).all()
        samples = samples[..., [0, 3][: samples.shape[2] - 2]] if grey else samples
    orientation, block = exif.turned(
        (info.get("exif") or b"").removeprefix(exif.PREFIX),
        (samples.shape[0], samples.shape[1]),
        decoder_turns=True,
    )
    described = xmp.turned(info.get("xmp"), orientation)
    box = info.get("nclx_profile") or {}
    named = [box[key] for key in ("color_primaries", "transfer_characteristics") if key in box]
    metadata = Metadata(
        icc_profile=info.get("icc_profile") or None,
        exif=block or None,
        xmp=described and xmp.without_gain_map(described),
        color={} if info.get("icc_profile") or not named else icc.chunk_of(*named),
    )
    picture = Picture.from_samples(np.require(samples, requirements=["C", "W"]), metadata)
    picture.lost = tuple(_left_out(opened))
    return picture


def encode(picture: Picture, metadata: Metadata, quality: int | None) -> bytes:
    """Encode a picture of 8 or 16 bits, of which 10 are kept; without loss where quality is None.

    Raises
    ------
    UserError
        Without the package for it.
    """
    try:
        import pillow_heif
    except ImportError as error:
        raise UserError(f"HEIC, {EXTRA}") from error
    samples = picture.samples()
    mode = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}[samples.shape[2]]
    if samples.dtype == np.uint16:
        mode += ";16"
        white = 2**BITS_WRITTEN - 1
        stored = (samples.astype(np.uint32) * white + 32767) // 65535
        samples = (stored << (16 - BITS_WRITTEN)).astype(np.uint16)
    options: dict[str, object] = {"quality": -1 if quality is None else quality, "chroma": "444"}
    chunk = metadata.color.get(b"cICP", b"")
    primaries, transfer = (1, icc.SRGB) if len(chunk) != 4 else chunk[:2]
    matrix = BT2020_MATRIX if primaries == BT2020_PRIMARIES else SRGB_MATRIX
    if quality is None and samples.shape[2] > 2:
        matrix = NO_MATRIX
    options |= {"color_primaries": primaries, "transfer_characteristics": transfer}
    options |= {"matrix_coefficients": matrix, "full_range_flag": 1}
    # the encoder would turn the picture as these say
    described = metadata.xmp and xmp.upright(metadata.xmp)
    known = {"icc_profile": metadata.icc_profile, "exif": exif_with_prefix(metadata)}
    options |= {key: value for key, value in known.items() if value}
    options |= {"xmp": described} if described else {}
    file = io.BytesIO()
    size = samples.shape[1], samples.shape[0]
    pillow_heif.encode(mode, size, np.ascontiguousarray(samples).tobytes(), file, **options)
    return file.getvalue()


def _open(data: bytes) -> HeifFile:
    try:
        import pillow_heif
    except ImportError as error:
        raise UserError(f"HEIC, {EXTRA}") from error
    return pillow_heif.open_heif(data, convert_hdr_to_8bit=False, bgr_mode=False)


def _left_out(opened: HeifFile) -> list[str]:
    """Name what a file holds beside its first picture."""
    info, others = opened.info, len(opened) - 1
    aux = [name.lower() for name in info.get("aux") or {}]
    lost = ["gain map"] if any(GAIN_MAP in name for name in aux) else []
    if info.get("depth_images"):
        lost.append("depth map")
    if more := sum(GAIN_MAP not in name for name in aux):
        lost.append("auxiliary picture" if more == 1 else f"{more} auxiliary pictures")
    if others:
        lost.append("other picture" if others == 1 else f"{others} other pictures")
    return lost
