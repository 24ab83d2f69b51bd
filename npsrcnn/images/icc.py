"""Make colour profiles for colours that a file names by numbers: ITU-T H.273, PNG's cHRM and gAMA.

PNG and AVIF can name colours that way; JPEG, TIFF and WebP know profiles alone. A profile is one of
three primaries and a curve (ICC.1:2001-04), adapted to its white, D50, by Bradford's matrix.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

import numpy as np

D50 = (0.9642, 1.0, 0.8249)
D65 = (0.3127, 0.3290)
BRADFORD = np.array(
    [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
)
# Chromaticities x, y of red, green, blue and white, by their number in H.273
PRIMARIES = {
    1: ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06), D65),
    4: ((0.67, 0.33), (0.21, 0.71), (0.14, 0.08), (0.310, 0.316)),
    5: ((0.64, 0.33), (0.29, 0.60), (0.15, 0.06), D65),
    6: ((0.63, 0.34), (0.31, 0.595), (0.155, 0.07), D65),
    7: ((0.63, 0.34), (0.31, 0.595), (0.155, 0.07), D65),
    9: ((0.708, 0.292), (0.17, 0.797), (0.131, 0.046), D65),
    11: ((0.68, 0.32), (0.265, 0.69), (0.15, 0.06), (0.314, 0.351)),
    12: ((0.68, 0.32), (0.265, 0.69), (0.15, 0.06), D65),
}
NAMES = {1: "sRGB", 9: "BT.2020", 12: "Display P3"}
BT709, SRGB, PQ, HLG = (1, 6, 14, 15), 13, 16, 18  # transfer characteristics
GAMMAS = {4: 2.2, 5: 2.8, 8: 1.0}
HDR = {PQ: "PQ", HLG: "HLG"}
CURVE_SAMPLES = 1024
SRGB_GAMMA = 0.45455  # what PNG's gAMA says of sRGB, about
UNSPECIFIED = 2  # primaries and transfer
PLAIN = (1, SRGB)  # primaries and transfer of sRGB, which needs no profile

Chromaticities = tuple[tuple[float, float], ...]


def chunk_of(primaries: int, transfer: int) -> dict[bytes, bytes]:
    """Return colours by their numbers as PNG's chunk cICP; nothing where they are sRGB, or unknown.

    They are of RGB in full range, as decoders give it.
    """
    known = UNSPECIFIED not in (primaries, transfer) and max(primaries, transfer) < 256
    if not known or (primaries, transfer) == PLAIN:
        return {}
    return {b"cICP": bytes([primaries, transfer, 0, 1])}


def transfer_of(color: Mapping[bytes, bytes]) -> int | None:
    """Return the transfer characteristic that a PNG file's chunk cICP names."""
    chunk = color.get(b"cICP", b"")
    return chunk[1] if len(chunk) == 4 else None


def hdr_name(color: Mapping[bytes, bytes]) -> str | None:
    """Return the name of a transfer of high dynamic range, for which no profile stands."""
    return HDR.get(transfer_of(color) or 0)


def profile_of(color: Mapping[bytes, bytes], gamma: float | None, grey: bool) -> bytes | None:
    """Return a profile for colours as PNG's chunks have them; None where they are sRGB.

    Parameters
    ----------
    color : mapping
        Contents of the chunks, by their names; cICP is worth more than sRGB, and that more than
        cHRM.
    gamma : float or None
        What gAMA says: 0.45455 is that of most.
    grey : bool
        The picture is grey.
    """
    chunk = color.get(b"cICP", b"")
    if len(chunk) == 4 and chunk[0] in PRIMARIES and chunk[1] not in HDR:
        if tuple(chunk[:2]) == PLAIN:
            return None
        name = NAMES.get(chunk[0], f"primaries {chunk[0]}")
        return _profile(name, PRIMARIES[chunk[0]], _curve(chunk[1]), grey)
    if b"sRGB" in color:
        return None
    points = PRIMARIES[1]
    chromaticities = color.get(b"cHRM", b"")
    if len(chromaticities) == 32:
        numbers = [number / 100000 for number in struct.unpack(">8I", chromaticities)]
        white, red, green, blue = zip(numbers[::2], numbers[1::2], strict=True)
        points = (red, green, blue, white)
    usual = np.allclose(points, PRIMARIES[1], atol=1e-3) or grey
    if gamma is None or abs(gamma - SRGB_GAMMA) < 1e-3:
        return None if usual else _profile("cHRM", points, _curve(SRGB), grey)
    return _profile("cHRM and gAMA" if not usual else "gAMA", points, _power(1 / gamma), grey)


def _curve(transfer: int) -> np.ndarray:
    """Return the curve from stored values to light, sampled over 0..1."""
    if transfer in GAMMAS:
        return _power(GAMMAS[transfer])
    x = np.linspace(0, 1, CURVE_SAMPLES)
    if transfer in BT709:
        return np.where(x < 0.081, x / 4.5, ((x + 0.099) / 1.099) ** (1 / 0.45))
    return np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4)


def _power(exponent: float) -> np.ndarray:
    return np.linspace(0, 1, CURVE_SAMPLES) ** exponent


def _profile(name: str, points: Chromaticities, curve: np.ndarray, grey: bool) -> bytes | None:
    """Return a profile; None of points that span no triangle."""
    samples = np.rint(curve * 65535).astype(">u2").tobytes()
    shape = b"curv" + bytes(4) + struct.pack(">I", len(curve)) + samples
    text = name.encode() + b"\0"
    tags = [
        (b"desc", b"desc" + bytes(4) + struct.pack(">I", len(text)) + text + bytes(78)),
        (b"cprt", b"text" + bytes(4) + b"No copyright, use freely\0"),
        (b"wtpt", _xyz(D50)),
    ]
    if grey:
        tags.append((b"kTRC", shape))
    else:
        try:
            matrix = _adapted(points)
        except (np.linalg.LinAlgError, ZeroDivisionError):
            return None
        tags += [(key, _xyz(matrix[:, i])) for i, key in enumerate((b"rXYZ", b"gXYZ", b"bXYZ"))]
        tags += [(key, shape) for key in (b"rTRC", b"gTRC", b"bTRC")]
    table, body, start = struct.pack(">I", len(tags)), b"", 128 + 4 + 12 * len(tags)
    for key, data in tags:
        table += key + struct.pack(">II", start + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    space = b"GRAY" if grey else b"RGB "
    head = struct.pack(">I4xI", start + len(body), 0x02400000) + b"mntr" + space + b"XYZ "
    head += struct.pack(">6H", 2024, 1, 1, 0, 0, 0) + b"acsp" + bytes(28) + _fixed(D50)
    return head.ljust(128, b"\0") + table + body


def _adapted(points: Chromaticities) -> np.ndarray:
    """Return the matrix from light of three primaries to XYZ, its white turned to D50."""
    columns = np.array([[x / y, 1, (1 - x - y) / y] for x, y in points]).T
    primaries, white = columns[:, :3], columns[:, 3]
    matrix = primaries * np.linalg.solve(primaries, white)
    cones = (BRADFORD @ np.array(D50)) / (BRADFORD @ white)
    adapted: np.ndarray = np.linalg.solve(BRADFORD, cones[:, None] * (BRADFORD @ matrix))
    return adapted


def _fixed(values: tuple[float, ...] | np.ndarray) -> bytes:
    """Return numbers as ICC stores them, s15Fixed16."""
    return struct.pack(f">{len(values)}i", *(round(float(value) * 65536) for value in values))


def _xyz(values: tuple[float, ...] | np.ndarray) -> bytes:
    return b"XYZ " + bytes(4) + _fixed(values)
