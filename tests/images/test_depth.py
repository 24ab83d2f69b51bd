"""Bits that Pillow does not decode are named as lost."""

from __future__ import annotations

import struct

import numpy as np
import pytest
import tifffile
from random_inputs import smooth_samples

from npsrcnn.images import read

DEEP = smooth_samples((8, 9, 3)).astype(">u2") * 257
TEN_BITS = (DEEP >> 6).astype(">u2")


def sgi(samples):
    height, width, channels = samples.shape
    head = struct.pack(">HBBHHHHii", 474, 0, samples.itemsize, 3, width, height, channels, 0, 65535)
    return head.ljust(512, b"\0") + samples[::-1].transpose(2, 0, 1).tobytes()


def jpeg2000(samples, **options):
    imagecodecs = pytest.importorskip("imagecodecs", reason="writes JPEG 2000 of 16 bits")
    return imagecodecs.jpeg2k_encode(samples.astype(samples.dtype.newbyteorder("=")), **options)


@pytest.mark.parametrize(
    ("suffix", "data", "lost"),
    [
        (".ppm", lambda: b"P6\n# a\n9 8\n65535\n" + DEEP.tobytes(), ("last 8 of 16 bits",)),
        (".ppm", lambda: b"P6 9 8 1023\n" + TEN_BITS.tobytes(), ("last 2 of 10 bits",)),
        (".ppm", lambda: b"P6 9 8 255\n" + (DEEP // 257).astype("u1").tobytes(), ()),
        (".sgi", lambda: sgi(DEEP), ("last 8 of 16 bits",)),
        (".sgi", lambda: sgi((DEEP // 257).astype("u1")), ()),
        (".jp2", lambda: jpeg2000(DEEP, level=0), ("last 8 of 16 bits",)),
        (".jp2", lambda: jpeg2000((DEEP // 257).astype("u1"), level=0), ()),
        (".jp2", lambda: jpeg2000(DEEP[..., 0], level=0), ()),  # grey keeps them
    ],
)  # fmt: skip
def test_what_is_lost_of_deep_colour_is_named(tmp_path, suffix, data, lost):
    (tmp_path / f"a{suffix}").write_bytes(data())
    picture = read(tmp_path / f"a{suffix}")
    assert picture.lost == lost
    unit = 257 if picture.pixels.dtype == np.uint16 else 1
    colors = DEEP if picture.pixels.ndim == 3 else DEEP[..., 0]
    np.testing.assert_allclose(picture.pixels, colors // 257 * unit, atol=1)


def test_cmyk_of_16_bits(tmp_path):
    samples = np.dstack([DEEP, np.zeros_like(DEEP[..., 0])]).astype(np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", samples, photometric="separated")
    assert read(tmp_path / "a.tif").lost == ("last 8 of 16 bits",)
