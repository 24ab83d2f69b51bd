"""Profiles for colours that files name by numbers, judged by LittleCMS."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from PIL import Image, ImageCms
from random_inputs import smooth_samples

from npsrcnn.images import Picture, icc, png, read, write
from npsrcnn.images.metadata import Metadata

P3 = {b"cICP": bytes([12, 13, 0, 1])}
ADOBE = {b"cHRM": struct.pack(">8I", 31270, 32900, 64000, 33000, 21000, 71000, 15000, 6000)}


def in_srgb(profile, color):
    image = Image.fromarray(np.array([[color]], np.uint8))
    space = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    return ImageCms.profileToProfile(image, space, ImageCms.createProfile("sRGB")).getpixel((0, 0))


@pytest.mark.parametrize(
    ("color", "gamma", "stored", "expected"),
    [
        (P3, None, (255, 255, 255), (255, 255, 255)),
        (P3, None, (128, 128, 128), (128, 128, 128)),
        (P3, None, (234, 51, 35), (255, 0, 0)),  # sRGB's red as Display P3 has it
        (ADOBE, 1 / 2.2, (219, 0, 0), (255, 0, 0)),  # and as Adobe RGB (1998) has it
        ({}, 1.0, (55, 55, 55), (128, 128, 128)),  # linear light
    ],
)
def test_colours_are_what_the_file_says(color, gamma, stored, expected):
    found = in_srgb(icc.profile_of(color, gamma, grey=False), stored)
    assert np.abs(np.subtract(found, expected)).max() <= 3


@pytest.mark.parametrize(
    ("color", "gamma"),
    [({}, None), ({}, 0.45455), ({b"sRGB": b"\0"}, 0.45455),
     ({b"cICP": bytes([1, 13, 0, 1])}, None), ({b"cICP": bytes([9, 16, 0, 1])}, None),
     ({b"cHRM": bytes(32)}, 0.5)],
)  # fmt: skip
def test_srgb_and_what_no_profile_can_say_get_none(color, gamma):
    assert icc.profile_of(color, gamma, grey=False) is None


def test_grey(tmp_path):
    profile = icc.profile_of({}, 1.0, grey=True)
    assert ImageCms.ImageCmsProfile(io.BytesIO(profile)).profile.xcolor_space == "GRAY"
    write(tmp_path / "a.jpg", Picture(smooth_samples((9, 9, 1))[..., 0], None, Metadata(gamma=1.0)))
    assert read(tmp_path / "a.jpg").metadata.icc_profile == profile


def test_a_png_file_keeps_its_chunks_and_others_get_a_profile(tmp_path):
    samples = smooth_samples((20, 30, 3))
    chunks = P3 | ADOBE | {b"sRGB": b"\0", b"mDCV": bytes(24), b"cLLI": bytes(8)}
    (tmp_path / "a.png").write_bytes(png.encode(samples, list(chunks.items())))
    picture = read(tmp_path / "a.png")
    picture.metadata = picture.metadata.enlarged(2, (40, 60))
    write(tmp_path / "b.png", picture)
    assert read(tmp_path / "b.png").metadata.color == chunks
    for suffix in (".jpg", ".tif", ".webp"):
        write(tmp_path / f"b{suffix}", picture)
        profile = read(tmp_path / f"b{suffix}").metadata.icc_profile
        assert b"Display P3" in profile


def test_hdr_goes_into_png_alone(tmp_path):
    metadata = Metadata(color={b"cICP": bytes([9, 16, 0, 1])})
    picture = Picture(smooth_samples((9, 9, 3)), None, metadata)
    write(tmp_path / "a.png", picture)
    assert read(tmp_path / "a.png").metadata.color == metadata.color
    with pytest.raises(ValueError, match=r"JPEG cannot say that colours are HDR \(PQ\): write PNG"):
        write(tmp_path / "a.jpg", picture)
