"""Files of every kind, enlarged in memory and block by block: the same pixels, the same tags."""

from __future__ import annotations

import os

import numpy as np
import pytest
import tifffile
from PIL import Image
from random_inputs import random_image, random_net, smooth_samples
from tiff_files import HILL, LAYOUT, tiff_file

from npsrcnn import images
from npsrcnn.errors import UserError
from npsrcnn.images import ifd, tiff_writer
from npsrcnn.images.exif import UPRIGHT
from npsrcnn.pixels.resize import imresize
from npsrcnn.upscaling.arrays import upscale
from npsrcnn.upscaling.choice import Chosen
from npsrcnn.upscaling.files import EnlargeOptions, Job, Need, enlarge_file
from npsrcnn.upscaling.streaming import enlarge_scene


@pytest.mark.parametrize(
    ("low", "high", "dtype"),
    [
        (-20, 20, np.float32), (101300, 101400, np.float32), (-20, 20, np.float16),
        (1e-7, 3e-7, np.float64), (-1, 1, np.float32), (0, 255, np.float32),
        (-400, 8800, np.int16), (0, 4294967295, np.uint32), (-(2**31), 2**31 - 1, np.int32),
        (-128, 127, np.int8),
    ],
)  # fmt: skip
@pytest.mark.parametrize("channels", [1, 3])
def test_units_of_the_world(tmp_path, enlarged, low, high, dtype, channels):
    """As the picture in 0..1 is enlarged, with the range put back."""
    share = (HILL - HILL.min()) / (HILL.max() - HILL.min())
    samples = np.dstack([share, share[::-1], 1 - share])[..., :channels]
    stored = (low + (high - low) * samples).astype(dtype)
    kind = "rgb" if channels == 3 else "minisblack"
    tiff_file(tmp_path / "a.tif", stored if channels == 3 else stored[..., 0], photometric=kind)
    (result,), outcome = enlarged(nets=())
    assert outcome.row()["range"] == (float(stored.min()), float(stored.max()))
    assert result.dtype == dtype
    expected = imresize(stored.astype(float), 2)
    allowed = (high - low) * 2e-6
    if np.dtype(dtype).kind == "f":
        allowed += np.spacing(np.abs(stored).max())
    else:
        allowed += 1
        expected = expected.clip(np.iinfo(dtype).min, np.iinfo(dtype).max)
    assert np.abs(np.atleast_3d(result) - expected).max() <= allowed
    if dtype in (np.float32, np.int16):
        (restored,), _ = enlarged()
        assert np.ptp(restored.astype(float)) < 3 * (float(high) - low)


@pytest.mark.parametrize(
    ("dtype", "nodata", "fill"),
    [
        (np.float32, "-9999", -9999), (np.float32, None, np.nan), (np.float64, "nan", np.nan),
        (np.int16, "-32768", -32768), (np.uint8, "0", 0), (np.uint16, "65535", 65535),
        (np.float32, "-3.4028234663852886e+38", -3.4028234663852886e38), (np.float32, None, np.inf),
    ],
)  # fmt: skip
@pytest.mark.parametrize("shape", ["grey", "one band of three"])
def test_no_value_stays_none_and_does_not_spread(tmp_path, enlarged, dtype, nodata, fill, shape):
    samples = (40 + 100 * HILL).astype(dtype)
    hole = np.zeros(samples.shape, bool)
    hole[20:40, 30:], hole[0, 0] = True, True
    if shape != "grey":
        samples, hole = np.dstack([samples] * 3), np.dstack([hole] * 3)
        hole[..., 1:] = False
    samples[hole] = fill
    kind = "minisblack" if shape == "grey" else "rgb"
    tiff_file(tmp_path / "a.tif", samples, nodata, photometric=kind)
    (result,), _ = enlarged(nets=())
    larger = hole.repeat(2, 0).repeat(2, 1)
    np.testing.assert_array_equal(result[larger], np.full(larger.sum(), fill, dtype))
    assert result[~larger].min() > 30 and result[~larger].max() < 150
    with tifffile.TiffFile(tmp_path / "b.tif") as file:
        assert file.pages[0].tags.valueof(42113) == nodata
    (restored,), _ = enlarged(scale=2)
    finite = restored[~larger].astype(float)
    assert np.isfinite(finite).all() and np.abs(finite).max() < 1e3
    np.testing.assert_array_equal(restored[larger], result[larger])


@pytest.mark.parametrize("dtype", [np.uint8, np.int16])
def test_no_value_where_white_is_zero(tmp_path, enlarged, dtype):
    samples = (40 + 50 * HILL).astype(dtype)
    samples[:9] = 7
    tiff_file(tmp_path / "a.tif", samples, "7", photometric="miniswhite")
    (result,), _ = enlarged(nets=())
    turned = int(np.bitwise_not(dtype(7)))
    assert (result[:18] == turned).all() and not (result[18:] == turned).any()
    with tifffile.TiffFile(tmp_path / "b.tif") as file:
        assert file.pages[0].tags[42113].value == str(turned)
    assert np.abs(result[18:40].astype(int) - np.bitwise_not(samples[9:20]).repeat(2, 0).repeat(
        2, 1)).max() < 20  # fmt: skip


def test_what_lies_far_from_a_hole_does_not_know_of_it(tmp_path, enlarged):
    samples = (100 * HILL).astype(np.float32) - 50
    tiff_file(tmp_path / "a.tif", samples)
    (whole,), _ = enlarged()
    samples[:12, :12] = np.nan
    tiff_file(tmp_path / "a.tif", samples)
    (result,), _ = enlarged()
    np.testing.assert_array_equal(result[40:], whole[40:])
    assert np.abs(result[24:, 24:] - whole[24:, 24:]).max() < 100


def test_values_under_alpha_0_do_not_set_the_range(tmp_path, enlarged):
    samples = np.dstack([100 * HILL, np.ones_like(HILL)]).astype(np.float32)
    samples[10:20, 10:20] = -9999, 0
    tiff_file(tmp_path / "a.tif", samples, photometric="minisblack", extrasamples=["unassalpha"])
    (result,), outcome = enlarged()
    assert outcome.row()["range"][0] >= 0
    seen = result[..., 1] == 1
    assert np.abs(result[seen][:, 0]).max() < 1e3


@pytest.mark.parametrize("extra", ["unassalpha", "assocalpha"])
def test_alpha_beyond_opaque_is_refused(tmp_path, enlarged, extra):
    samples = np.dstack([HILL, np.where(HILL > 0.5, 255, 0)]).astype(np.float32)
    tiff_file(tmp_path / "a.tif", samples, photometric="minisblack", extrasamples=[extra])
    with pytest.raises(UserError, match=r"a\.tif: alpha of 255, and of floats .* opaque"):
        enlarged()
    with pytest.raises(UserError, match=r"a\.tif: alpha of 255, and of floats .* opaque"):
        enlarge_scene(tmp_path / "a.tif", tmp_path / "b.tif", [random_net()], 2, memory=10**9)
    with pytest.raises(UserError, match=r"a\.tif: alpha of 255, and of floats .* opaque"):
        images.read_array(tmp_path / "a.tif")


def test_what_a_file_says_is_the_same_both_ways(tmp_path, enlarged):
    proper = {0x9003: ifd.entry(ifd.ASCII, "2024:05:06 07:08:09"),
              0xA002: ifd.entry(ifd.LONG, [90]), 0xA003: ifd.entry(ifd.LONG, [70])}  # fmt: skip
    place = {1: ifd.entry(ifd.ASCII, "N"), 2: ifd.entry(ifd.RATIONAL, [1, 30, 12.5])}
    tags = {
        271: ifd.entry(ifd.ASCII, "a maker ä"), ifd.EXIF: proper, ifd.GPS: place,
        34675: ifd.entry(ifd.UNDEFINED, b"profile"),
        33723: ifd.entry(ifd.UNDEFINED, b"\x1c\2\5\0\5Title"),
        700: ifd.entry(ifd.BYTE, b'<x tiff:ImageWidth="90"/>'),
        282: ifd.entry(ifd.RATIONAL, [300]), 283: ifd.entry(ifd.RATIONAL, [300.5]),
        296: ifd.entry(ifd.SHORT, [2]), 33550: ifd.entry(ifd.DOUBLE, [10, 20, 0]),
        42112: ifd.entry(ifd.ASCII, "<GDALMetadata>ü</GDALMetadata>"),
    }  # fmt: skip
    samples = (100 * HILL).astype(np.uint8)[..., None]
    (tmp_path / "a.tif").write_bytes(tiff_writer.encode(samples, tags))
    enlarged()
    with tifffile.TiffFile(tmp_path / "b.tif") as file:
        found = {tag.code: tag.value for tag in file.pages[0].tags}
    assert found[271] == "a maker ä" and found[700] == b'<x tiff:ImageWidth="180"/>'
    assert found[33723] == b"\x1c\2\5\0\5Title" and found[34675] == b"profile"
    assert found[ifd.EXIF]["DateTimeOriginal"] == "2024:05:06 07:08:09"
    assert (found[ifd.EXIF]["PixelXDimension"], found[ifd.EXIF]["PixelYDimension"]) == (180, 140)
    assert found[ifd.GPS]["GPSLatitude"] == (1, 1, 30, 1, 25, 2)
    assert found[33550] == (5, 10, 0) and found[282] == (300, 1) and found[283] == (601, 2)
    assert found[42112] == "<GDALMetadata>ü</GDALMetadata>"
    assert images.read(tmp_path / "c.tif").metadata == images.read(tmp_path / "b.tif").metadata


def test_what_is_stripped_and_what_is_not(tmp_path, enlarged):
    tags = {
        271: ifd.entry(ifd.ASCII, "a maker"), ifd.GPS: {1: ifd.entry(ifd.ASCII, "N")},
        34675: ifd.entry(ifd.UNDEFINED, b"profile"), 700: ifd.entry(ifd.BYTE, b"<x/>"),
        33723: ifd.entry(ifd.UNDEFINED, b"\x1c\2\5\0\5Title"), 270: ifd.entry(ifd.ASCII, "text"),
        42113: ifd.entry(ifd.ASCII, "7"), 33550: ifd.entry(ifd.DOUBLE, [10, 20, 0]),
    }  # fmt: skip
    samples = (100 * HILL).astype(np.uint8)[..., None]
    (tmp_path / "a.tif").write_bytes(tiff_writer.encode(samples, tags))
    enlarged(strip=True)
    with tifffile.TiffFile(tmp_path / "b.tif") as file:
        found = {tag.code: tag.value for tag in file.pages[0].tags if tag.code not in LAYOUT}
    assert found.pop(34675) == b"profile" and found.pop(42113) == "7"
    assert set(found) <= {277, 282, 283, 296, 305}, found


@pytest.mark.skipif(os.name != "posix", reason="permissions as POSIX has them")
@pytest.mark.parametrize("by_blocks", [False, True])
@pytest.mark.parametrize("keep_times", [True, False])
def test_date_and_permissions_are_the_sources(tmp_path, rng, monkeypatch, by_blocks, keep_times):
    monkeypatch.setattr("npsrcnn.upscaling.files.need_of", lambda *_: Need(10**9, by_blocks))
    source = tmp_path / "a.tif"
    tiff_file(source, random_image(rng, (20, 30), np.uint8))
    source.chmod(0o640)
    long_ago = 1_000_000_000_123_456_789
    os.utime(source, ns=(long_ago, long_ago))
    nets = Chosen([random_net("3-1-3")])
    job = Job(source, tmp_path / "b.tif", also_bicubic=True)
    enlarge_file(job, EnlargeOptions(nets, 2, 10**9, keep_times=keep_times))
    for name in ("b.tif", "b_bicubic.tif"):
        status = (tmp_path / name).stat()
        assert status.st_mode & 0o777 == 0o640
        assert (status.st_mtime_ns == long_ago) == keep_times


@pytest.mark.parametrize("suffix", [".tif", ".jpg"])
def test_cmyk_is_kept_where_that_is_asked_for(tmp_path, suffix):
    """Each ink is enlarged, none is mixed with another, and the profile stays theirs."""
    inks = smooth_samples((40, 48, 4))
    inks[..., 3] //= 3
    path, profile = tmp_path / f"a{suffix}", b"a profile of CMYK"
    image = Image.frombytes("CMYK", (48, 40), inks.tobytes())
    image.save(path, icc_profile=profile, quality=98)
    options = EnlargeOptions(Chosen([]), 2, keep_cmyk=True)
    target = enlarge_file(Job(path, tmp_path / f"b{suffix}"), options).target
    with Image.open(target) as result:
        assert result.mode == "CMYK" and result.info["icc_profile"] == profile
        found = np.asarray(result).astype(int)
    # three of them go by Y, Cb and Cr, whose rounding is two levels
    expected = np.dstack([imresize(inks[..., i], 2) for i in range(4)])
    np.testing.assert_allclose(found, expected, atol=3 if suffix == ".tif" else 12)
    assert np.abs(found - expected).mean() < 2


def test_a_network_restores_every_ink(tmp_path):
    inks = np.zeros((40, 48, 4), np.uint8)
    inks[..., 3] = smooth_samples((40, 48, 1))[..., 0]
    Image.frombytes("CMYK", (48, 40), inks.tobytes()).save(tmp_path / "a.tif")
    net = random_net("3-1-3")
    options = EnlargeOptions(Chosen([net]), 2, keep_cmyk=True)
    target = enlarge_file(Job(tmp_path / "a.tif", tmp_path / "b.tif"), options).target
    black = tifffile.imread(target)[..., 3]
    grey = images.Picture(255 - inks[..., 3])
    images.write(tmp_path / "grey.tif", grey)
    options = EnlargeOptions(Chosen([net]), 2)
    target = enlarge_file(Job(tmp_path / "grey.tif", tmp_path / "c.tif"), options).target
    np.testing.assert_array_equal(255 - black, tifffile.imread(target))


def test_cmyk_is_kept_by_tiff_and_jpeg_alone(tmp_path):
    Image.new("CMYK", (16, 16)).save(tmp_path / "a.tif")
    options = EnlargeOptions(Chosen([]), 2, keep_cmyk=True)
    with pytest.raises(UserError, match="PNG holds no CMYK: write TIFF or JPEG"):
        enlarge_file(Job(tmp_path / "a.tif", tmp_path / "b.png", fixed_format=True), options)
    wide = np.full((16, 16, 4), 40000, np.uint16)
    tifffile.imwrite(tmp_path / "c.tif", wide, photometric="separated")
    done = enlarge_file(Job(tmp_path / "c.tif", tmp_path / "d.tif", fixed_format=True), options)
    assert done.lost == ("last 8 of 16 bits",)
    assert np.abs(tifffile.imread(done.target).astype(int) - 40000 // 257).max() <= 1


LAYOUTS = [{}, {"rowsperstrip": 9, "compression": "zlib"}, {"tile": (32, 64)}]


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_picture_is_upright(tmp_path, rng, enlarged, layout, orientation):
    samples = rng.integers(0, 256, (150, 210, 4), np.uint8)
    tags = [
        (274, 3, 1, orientation, True), (33550, 12, 3, (10.0, 20.0, 0.0), True),
        (700, 1, None, b"<x tiff:Orientation='%d'/>" % orientation, True),
    ]  # fmt: skip
    tifffile.imwrite(tmp_path / "a.tif", samples, photometric="rgb", extrasamples=["unassalpha"],
                     extratags=tags, metadata=None, resolution=(100, 200), resolutionunit=2,
                     **layout)  # fmt: skip
    net = random_net("3-1-3")
    (result,), outcome = enlarged(nets=[net])
    with tifffile.TiffFile(tmp_path / "c.tif") as file:
        found = file.pages[0].tags
        assert found.valueof(274, 1) == 1
        assert found.valueof(700) == b"<x tiff:Orientation='1'/>"
        assert (found.valueof(33550) is None) == (orientation > 1)  # of rows and columns as stored
        assert (found.valueof(282) < found.valueof(283)) == (orientation < 5)
    upright = UPRIGHT[orientation](samples) if orientation > 1 else samples
    assert outcome.size == upright.shape[1::-1] and outcome.enlarged == result.shape[1::-1]
    expected = upscale(np.ascontiguousarray(upright), 2, net)
    np.testing.assert_array_equal(result, expected)


def test_pixels_that_lie_beyond_what_a_file_can_hold(tmp_path):
    path, nets = tmp_path / "a.tif", [random_net("3-1-3")]
    tifffile.imwrite(path, np.zeros((8, 10), np.uint8), bigtiff=True, metadata=None)
    with tifffile.TiffFile(path, mode="r+") as file:
        file.pages[0].tags[273].overwrite(2**63 + 8, dtype="Q")
    with pytest.raises(UserError, match=r"a\.tif: (truncated|damaged)"):
        enlarge_file(Job(path, tmp_path / "b.tif"), EnlargeOptions(Chosen(nets), 2))
    for dtype in (np.uint8, np.float32):  # of floats, the range is looked for before
        tifffile.imwrite(path, np.zeros((8, 10), dtype), bigtiff=True, metadata=None)
        with tifffile.TiffFile(path, mode="r+") as file:
            file.pages[0].tags[273].overwrite(2**63 + 8, dtype="Q")
        with pytest.raises(UserError) as caught:
            enlarge_scene(path, tmp_path / "b.tif", nets, 2, memory=900 * 10**6)
        assert str(caught.value) == f"{path}: truncated: pixels are missing"


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_a_side_that_memory_does_not_hold_is_refused_before_anything_is_read(tmp_path, compression):
    """As a damaged file says it has; its tables alone took gigabytes."""
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.zeros((8, 10), np.uint8), compression=compression, metadata=None)
    with tifffile.TiffFile(path, mode="r+") as file:
        file.pages[0].tags[256].overwrite(3_000_000, dtype="I")
    nets = [random_net("3-1-3")]
    says = r"a\.tif: needs \d{4} MB of memory at least; --memory says 900"
    with pytest.raises(UserError, match=says):
        enlarge_file(Job(path, tmp_path / "b.tif"), EnlargeOptions(Chosen(nets), 2))
    with pytest.raises(UserError, match=says):
        enlarge_scene(path, tmp_path / "b.tif", nets, 2, memory=900 * 10**6)


def test_a_turned_single_strip_that_memory_does_not_hold_is_refused(tmp_path):
    samples = np.zeros((8000, 10_000), np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", samples, extratags=[(274, 3, 1, 6, True)], metadata=None,
                     compression="zlib", rowsperstrip=8000)  # fmt: skip
    options = EnlargeOptions(Chosen([random_net("3-1-3")]), 2, memory=320 * 10**6)
    with pytest.raises(
        UserError, match=r"a\.tif: needs \d+ MB of memory at least; --memory says 320"
    ):
        enlarge_file(Job(tmp_path / "a.tif", tmp_path / "b.tif"), options)
