"""JPEG files of several pictures: stereo pairs, gain maps, and videos behind pictures."""

from __future__ import annotations

import io
import re
import struct

import numpy as np
import pytest
from PIL import Image
from random_inputs import random_net, smooth_samples

from npsrcnn import images
from npsrcnn.images import mpf, xmp
from npsrcnn.upscaling.choice import Chosen
from npsrcnn.upscaling.files import EnlargeOptions, Job, enlarge_file
from npsrcnn.upscaling.jobs import plan_jobs

HEAD = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/x-ns#">'
TAIL = b"</rdf:RDF></x:xmpmeta>"
ITEMS = b"".join(
    b'<rdf:li><Container:Item Item:Semantic="%s" Item:Mime="x"%s/></rdf:li>' % pair
    for pair in (
        (b"Primary", b""),
        (b"GainMap", b' Item:Length="999"'),
        (b"MotionPhoto", b' Item:Length="500"'),
    )
)
DIRECTORY = b"<Container:Directory><rdf:Seq>" + ITEMS + b"</rdf:Seq></Container:Directory>"
GAIN = HEAD + b'<rdf:Description hdrgm:Version="1.0">' + DIRECTORY + b"</rdf:Description>" + TAIL
MAP = HEAD + b'<rdf:Description hdrgm:Version="1.0" hdrgm:GainMapMax="3.5"/>' + TAIL
MOTION = HEAD + (
    b'<rdf:Description GCamera:MotionPhoto="1" GCamera:MicroVideoOffset="500" dc:title="x"/>'
) + TAIL  # fmt: skip
ISO = b"urn:iso:std:iso:ts:21496:-1\0\0\0\0\0"
PHOTO = smooth_samples((48, 96, 3))
SMALL = smooth_samples((12, 24, 1))[..., 0]


def jpeg(samples, **options):
    file = io.BytesIO()
    Image.fromarray(samples).save(file, "JPEG", quality=95, **options)
    return file.getvalue()


def segment(body):
    return b"\xff\xe2" + struct.pack(">H", len(body) + 2) + body


def ultra_hdr(path, exif=b"", iso=False):
    second = jpeg(SMALL, **({"extra": segment(ISO)} if iso else {"xmp": MAP}))
    first = jpeg(PHOTO, exif=exif, xmp=b"<x/>" if iso else GAIN,
                 extra=mpf.placeholder(2) + (segment(ISO) if iso else b""))  # fmt: skip
    path.write_bytes(mpf.joined(first, mpf.BASELINE, [mpf.Part(0, second)]))


def enlarged(path, suffix=".jpg"):
    target = path.with_name("large" + suffix)
    options = EnlargeOptions(Chosen([random_net("3-1-3")]), 2)
    return target, enlarge_file(Job(path, target, fixed_format=True), options)


def streams(path):
    """The pictures of a file, where its segment says that they are."""
    data = path.read_bytes()
    _, parts = mpf.parts(data)
    return [Image.open(io.BytesIO(stream)) for stream in (data, *(part.data for part in parts))]


def test_what_pillow_writes_is_found_and_what_is_written_pillow_finds(tmp_path):
    photo = Image.fromarray(PHOTO)
    photo.save(tmp_path / "a.jpg", "MPO", save_all=True, append_images=[photo, photo])
    assert len(mpf.parts((tmp_path / "a.jpg").read_bytes())[1]) == 2
    target, outcome = enlarged(tmp_path / "a.jpg")
    assert outcome.lost == ()
    with Image.open(target) as image:
        assert (image.format, image.n_frames) == ("MPO", 3)
        for frame in range(3):
            image.seek(frame)
            assert image.size == (192, 96)
    (tmp_path / "b.jpg").write_bytes(jpeg(PHOTO))
    alone, _ = enlarged(tmp_path / "b.jpg")
    for found in images.read(target), *(other.picture for other in images.read(target).others):
        difference = found.pixels.astype(int) - images.read(alone).pixels
        assert np.abs(difference).mean() < 3


@pytest.mark.parametrize("iso", [False, True])
@pytest.mark.parametrize("orientation", [1, 6])
def test_a_gain_map_is_enlarged_and_turned_with_its_picture(tmp_path, iso, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    ultra_hdr(tmp_path / "a.jpg", exif.tobytes(), iso)
    target, outcome = enlarged(tmp_path / "a.jpg")
    first, second = streams(target)
    assert outcome.lost == ()
    assert first.size == ((192, 96) if orientation == 1 else (96, 192))
    assert second.size == ((48, 24) if orientation == 1 else (24, 48)) and second.mode == "L"
    turned = np.asarray(second) if orientation == 1 else np.rot90(np.asarray(second))
    before = np.asarray(Image.fromarray(SMALL).resize((48, 24), Image.BICUBIC))
    assert np.abs(turned.astype(int) - before).mean() < 6
    if iso:
        for image in (first, second):
            assert ISO in [body for name, body in image.applist if name == "APP2"]
        return
    assert b'hdrgm:GainMapMax="3.5"' in second.info["xmp"]
    told = first.info["xmp"]
    assert b'hdrgm:Version="1.0"' in told and b"MotionPhoto" not in told
    length = len(mpf.parts(target.read_bytes())[1][0].data)
    assert re.search(rb'"GainMap" Item:Mime="x" Item:Length="(\d+)"', told)[1] == b"%d" % length
    assert target.read_bytes().endswith(mpf.parts(target.read_bytes())[1][0].data)


@pytest.mark.parametrize("suffix", [".png", ".webp", ".tif"])
def test_another_format_does_not_claim_a_gain_map(tmp_path, suffix):
    ultra_hdr(tmp_path / "a.jpg")
    target, outcome = enlarged(tmp_path / "a.jpg", suffix)
    assert outcome.lost == ("gain map",) and outcome.row()["lost"] == ("gain map",)
    told = images.read(target).metadata.xmp
    assert b"hdrgm" not in told and b"GainMap" not in told and b"rdf:Description" in told


def test_a_gain_map_that_is_not_there_is_not_claimed(tmp_path):
    (tmp_path / "a.jpg").write_bytes(jpeg(PHOTO, xmp=GAIN))
    target, outcome = enlarged(tmp_path / "a.jpg")
    assert outcome.lost == ("gain map",)
    assert b"hdrgm" not in images.read(target).metadata.xmp


def test_a_video_behind_a_picture_is_named_and_not_claimed(tmp_path):
    (tmp_path / "a.jpg").write_bytes(jpeg(PHOTO, xmp=MOTION) + b"\0\0\0\x18ftypmp42" + bytes(488))
    target, outcome = enlarged(tmp_path / "a.jpg")
    assert outcome.lost == ("video",)
    told = images.read(target).metadata.xmp
    assert b"GCamera" not in told and b'dc:title="x"' in told
    assert b"ftyp" not in target.read_bytes()


def test_more_xmp_is_named_and_not_claimed(tmp_path):
    more = b"<rdf:Description xmpNote:HasExtendedXMP='0123' dc:title='x'/>"
    (tmp_path / "a.jpg").write_bytes(jpeg(PHOTO, xmp=HEAD + more + TAIL))
    target, outcome = enlarged(tmp_path / "a.jpg")
    assert outcome.lost == ("extended XMP",)
    assert images.read(target).metadata.xmp == HEAD + b"<rdf:Description dc:title='x'/>" + TAIL


def test_a_stereo_pair_keeps_its_suffix_and_both_pictures(tmp_path):
    photo = Image.fromarray(PHOTO)
    photo.save(tmp_path / "a.mpo", save_all=True, append_images=[photo])
    (job,), _ = plan_jobs([tmp_path], suffix="_x2")
    assert job.target.name == "a_x2.mpo"
    enlarge_file(job, EnlargeOptions(Chosen([random_net("3-1-3")]), 2))
    with Image.open(job.target) as image:
        assert (image.format, image.n_frames, image.size) == ("MPO", 2, (192, 96))


def test_claims_as_elements():
    told = HEAD + b"<GCamera:MotionPhoto>1</GCamera:MotionPhoto><a>2</a>" + TAIL
    assert xmp.claims_motion(told)
    assert xmp.without_motion(told) == HEAD + b"<a>2</a>" + TAIL


def test_another_picture_that_is_damaged_costs_only_itself(tmp_path):
    photo = Image.fromarray(PHOTO)
    photo.save(tmp_path / "a.jpg", "MPO", save_all=True, append_images=[photo])
    data = bytearray((tmp_path / "a.jpg").read_bytes())
    second = len(data) - len(mpf.parts(bytes(data))[1][0].data)
    del data[-300:]  # of which a decoder says nothing as long as there is a last marker
    data[second + 2 : second + 500] = bytes(498)
    data += bytes(300)
    (tmp_path / "a.jpg").write_bytes(data)
    picture = images.read(tmp_path / "a.jpg")
    assert picture.others == [] and picture.lost == ("other picture, which is damaged",)


def test_damage_costs_no_picture(tmp_path, rng):
    ultra_hdr(tmp_path / "a.jpg")
    good = (tmp_path / "a.jpg").read_bytes()
    start = good.index(mpf.NAME)
    for _ in range(40):
        bad = bytearray(good)
        for place in rng.integers(start, start + 84, 4):
            bad[place] = rng.integers(256)
        (tmp_path / "b.jpg").write_bytes(bad)
        assert images.read(tmp_path / "b.jpg").pixels.shape == PHOTO.shape
