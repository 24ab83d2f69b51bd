"""AVIF of 10 and 12 bits, and of colours that are not sRGB."""

from __future__ import annotations

import inspect
import sys

import numpy as np
import pytest
from random_inputs import random_net, smooth_samples

from npsrcnn import images
from npsrcnn.errors import UserError
from npsrcnn.images import avif
from npsrcnn.upscaling.choice import Chosen
from npsrcnn.upscaling.files import EnlargeOptions, Job, enlarge_file

imagecodecs = pytest.importorskip("imagecodecs", reason="writes AVIF of more than 8 bits")
SAMPLES = smooth_samples((40, 48, 3))
PQ = {"primaries": 9, "transfer": 16, "matrix": 9}
P3 = {"primaries": 12, "transfer": 13}


def write(path, bits=8, **options):
    if "primaries" not in inspect.signature(imagecodecs.avif_encode).parameters:
        pytest.skip("this imagecodecs cannot name colours in AVIF")
    samples = SAMPLES if bits == 8 else SAMPLES.astype(np.uint16) << (bits - 8)
    path.write_bytes(imagecodecs.avif_encode(samples, level=95, bitspersample=bits, **options))
    return samples


def enlarged(path):
    options = EnlargeOptions(Chosen([random_net("3-1-3")]), 2)
    fallback = path.with_name("fallback.png")
    return enlarge_file(Job(path, path.with_name("large.avif"), fallback=fallback), options).target


@pytest.mark.parametrize("bits", [10, 12])
def test_more_than_8_bits_are_read_as_16(tmp_path, bits):
    samples = write(tmp_path / "a.avif", bits, **P3)
    assert avif.bits((tmp_path / "a.avif").read_bytes()) == bits
    found = images.read(tmp_path / "a.avif").pixels
    assert found.dtype == np.uint16
    expected = samples / (2**bits - 1) * 65535
    assert np.abs(found - expected).mean() < 65535 / 255
    assert len(np.unique(found)) > 256


def test_hdr_becomes_png_that_says_so(tmp_path):
    write(tmp_path / "a.avif", 10, **PQ)
    target = enlarged(tmp_path / "a.avif")
    assert target.name == "fallback.png"
    picture = images.read(target)
    assert picture.pixels.dtype == np.uint16
    assert picture.metadata.color == {b"cICP": bytes([9, 16, 0, 1])}


def test_hdr_of_8_bits_is_no_srgb(tmp_path):
    write(tmp_path / "a.avif", 8, **PQ)
    assert images.read(enlarged(tmp_path / "a.avif")).metadata.color[b"cICP"][1] == 16


def test_p3_stays_p3(tmp_path):
    write(tmp_path / "a.avif", **P3)
    picture = images.read(tmp_path / "a.avif")
    assert np.abs(picture.pixels.astype(int) - SAMPLES).mean() < 3  # the numbers are as stored
    target = enlarged(tmp_path / "a.avif")
    assert target.name == "large.avif"
    assert b"Display P3" in images.read(target).metadata.icc_profile


def test_srgb_needs_no_name(tmp_path):
    write(tmp_path / "a.avif", primaries=1, transfer=13)
    assert images.read(tmp_path / "a.avif").metadata.color == {}


def test_without_the_package_hdr_is_refused_and_else_8_bits_are_read(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "imagecodecs", None)
    write(tmp_path / "a.avif", 10, **P3)
    assert images.read(tmp_path / "a.avif").pixels.dtype == np.uint8
    write(tmp_path / "b.avif", 10, **PQ)
    message = r"AVIF of 10 bits in HDR \(PQ\), which .* pip install \"npsrcnn\[formats\]\""
    with pytest.raises(UserError, match=message):
        images.read(tmp_path / "b.avif")
