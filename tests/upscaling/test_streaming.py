"""Scenes that no memory holds: the same to the last bit."""

from __future__ import annotations

import errno
import json
import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import tifffile
from random_inputs import random_image, random_net

from npsrcnn import images, upscale
from npsrcnn.commands.upscale import main
from npsrcnn.errors import UserError, describe
from npsrcnn.images import Picture
from npsrcnn.images.scenes import TILE, TiledFile
from npsrcnn.pixels.resize import imresize
from npsrcnn.upscaling import streaming
from npsrcnn.upscaling.streaming import enlarge_scene
from npsrcnn.upscaling.strips import enlarge


def scene_file(path, rng, shape=(230, 310, 3), dtype=np.uint8, hidden=True, **options):
    samples = random_image(rng, shape, dtype)
    if shape[2:] in ((2,), (4,)):
        samples[40:150, 60:200, -1] = 0
        options["extrasamples"] = ["unassalpha"]
    options.setdefault("photometric", "rgb" if shape[2:] in ((3,), (4,)) else "minisblack")
    tifffile.imwrite(path, samples, metadata=None, **options)
    return samples


def in_memory(samples, nets, scale=2):
    picture = Picture.from_samples(samples)
    return Picture(*enlarge(picture.pixels, picture.alpha, nets, scale)).samples()


@pytest.fixture
def small_blocks(monkeypatch):
    """Blocks of one tile, so that a small scene has many."""
    monkeypatch.setattr(streaming, "LARGEST", TILE)


LAYOUTS = [
    {}, {"rowsperstrip": 7}, {"rowsperstrip": 50, "compression": "zlib", "predictor": True},
    {"tile": (32, 64)}, {"tile": (64, 32), "compression": "zlib"}, {"byteorder": ">"},
    {"bigtiff": True, "byteorder": ">", "tile": (64, 64), "compression": "zlib"},
]  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
@pytest.mark.parametrize("shape", [(230, 310), (230, 310, 3)])
def test_a_scene_is_as_in_memory(tmp_path, rng, small_blocks, layout, shape):
    samples = scene_file(tmp_path / "a.tif", rng, shape, np.uint16, **layout)
    nets = [random_net("3-1-3")]
    scene = enlarge_scene(tmp_path / "a.tif", tmp_path / "b.tif", nets, 2, memory=10**9)
    result = tifffile.imread(tmp_path / "b.tif")
    assert scene.size == (230, 310) and scene.enlarged == result.shape[:2] == (460, 620)
    np.testing.assert_array_equal(np.atleast_3d(result), in_memory(samples, nets))
    assert {path.name for path in tmp_path.iterdir()} == {"a.tif", "b.tif"}


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [
        ((230, 310, 4), np.uint16),
        ((230, 310, 2), np.uint8),
        ((230, 310, 3), np.float32),
        ((3, 1000), np.uint8),
    ],
)
@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_kinds_of_pixels(tmp_path, rng, small_blocks, shape, dtype, planar):
    options = {"rowsperstrip": 40, "compression": "zlib"} if planar == "contig" else {}
    samples = scene_file(tmp_path / "a.tif", rng, shape, dtype, **options)
    if planar == "separate" and len(shape) > 2:
        with tifffile.TiffFile(tmp_path / "a.tif") as file:
            extra = {"extrasamples": ["unassalpha"]} if shape[2] in (2, 4) else {}
            kind = file.pages[0].photometric
        planes = np.moveaxis(samples, 2, 0)
        tifffile.imwrite(tmp_path / "a.tif", planes, photometric=kind, planarconfig="separate",
                         rowsperstrip=30, metadata=None, **extra)  # fmt: skip
    nets = [random_net("3-1-3")]
    enlarge_scene(tmp_path / "a.tif", tmp_path / "b.tif", nets, 2, memory=10**9)
    result = np.atleast_3d(tifffile.imread(tmp_path / "b.tif"))
    assert result.dtype == dtype
    np.testing.assert_array_equal(result, in_memory(samples, nets))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_white_may_be_zero(tmp_path, rng, small_blocks, dtype):
    samples = scene_file(tmp_path / "a.tif", rng, (60, 50), dtype, photometric="miniswhite")
    white = 1 if dtype == np.float32 else np.iinfo(dtype).max
    np.testing.assert_array_equal(images.read(tmp_path / "a.tif").pixels, white - samples)
    nets = [random_net("3-1-3")]
    enlarge_scene(tmp_path / "a.tif", tmp_path / "b.tif", nets, 2, memory=10**9)
    expected = in_memory(white - samples, nets)[..., 0]
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "b.tif"), expected)


def test_what_a_file_says_is_kept(tmp_path, rng, small_blocks):
    keys = (1, 1, 0, 2, 1024, 0, 1, 1, 1025, 0, 1, 2)  # GTRasterType: a pixel is its centre
    tags = [
        (34675, 7, 7, b"profile", True), (270, 2, None, "a field", True),
        (33550, 12, 3, (10.0, 20.0, 0.0), True),
        (33922, 12, 6, (0.0, 0.0, 0.0, 500.0, 900.0, 0.0), True), (34735, 3, 12, keys, True),
    ]  # fmt: skip
    scene_file(tmp_path / "a.tif", rng, extratags=tags, resolution=(300, 300), resolutionunit=2)
    nets = [random_net("3-1-3")]
    enlarge_scene(tmp_path / "a.tif", tmp_path / "b.tif", nets, 2, memory=10**9)
    with tifffile.TiffFile(tmp_path / "b.tif") as file:
        found = {tag.code: tag.value for tag in file.pages[0].tags}
        assert file.is_bigtiff and file.pages[0].is_tiled
    assert found[34675] == b"profile" and found[270] == "a field" and found[34735] == keys
    assert found[282][0] / found[282][1] == 300
    assert found[33550] == (5.0, 10.0, 0.0)
    # The centre of pixel (0, 0) is now half a pixel right of and below the centre of the first.
    assert found[33922] == (0.5, 0.5, 0.0, 500.0, 900.0, 0.0)


def test_the_size_of_blocks_does_not_show(tmp_path, rng, monkeypatch):
    scene_file(tmp_path / "a.tif", rng, (400, 700, 3))
    nets, results = [random_net("5-1-3"), random_net("5-1-3")], []
    for side in (TILE, 2 * TILE, 8 * TILE):
        monkeypatch.setattr(streaming, "LARGEST", side)
        enlarge_scene(tmp_path / "a.tif", tmp_path / "b.tif", nets, 4, memory=10**9)
        results.append(tifffile.imread(tmp_path / "b.tif"))
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])


# Interrupted, and gone on with


class Died(Exception):
    """As if the process had."""


def dies_after(blocks):
    def compute(job, left):
        for i, block in enumerate(left):
            if i == blocks:
                raise Died
            yield job(block)

    return compute


@pytest.fixture
def begun(tmp_path, rng, small_blocks):
    """A scene of 15 blocks, the file as it should be, and as it is after 6 of them."""
    scene_file(tmp_path / "a.tif", rng, (330, 620, 3))
    nets = [random_net("3-1-3")]

    def run(name, **options):
        enlarge_scene(tmp_path / "a.tif", tmp_path / name, nets, 2, memory=10**9, **options)
        return (tmp_path / name).read_bytes()

    whole = run("whole.tif")
    with pytest.raises(Died):
        run("b.tif", compute=dies_after(6))
    assert not (tmp_path / "b.tif").exists()
    return run, whole


def test_resumed_it_is_the_same_file(begun, tmp_path):
    run, whole = begun
    computed = []

    def compute(job, blocks):
        computed.extend(blocks)
        return streaming.in_threads(job, blocks)

    assert run("b.tif", resume=True, compute=compute) == whole
    assert len(computed) == 15 - 6
    assert {path.name for path in tmp_path.iterdir()} == {"a.tif", "b.tif", "whole.tif"}
    assert run("c.tif", resume=True) == whole  # nothing to resume: from the start


def test_resumed_where_the_name_is_as_long_as_can_be(begun, tmp_path):
    run, whole = begun
    name = f"{'a' * 251}.tif"
    with pytest.raises(Died):
        run(name, compute=dies_after(6))
    assert run(name, resume=True) == whole
    assert {path.suffix for path in tmp_path.iterdir()} == {".tif", ".journal", ".part"}
    assert len(list(tmp_path.glob("a" * 200 + "*"))) == 1  # the others are b.tif's


def test_resumed_twice_where_a_newline_is_two_bytes(begun, tmp_path, monkeypatch):
    run, whole = begun

    def windows_open(path, mode="r", newline=None, **options):
        text = "b" not in mode and newline is None
        return open(path, mode, newline="\r\n" if text else newline, **options)

    journal = tmp_path / "b.tif.journal"
    journal.write_bytes(journal.read_bytes().replace(b"\n", b"\r\n"))  # as another version wrote it
    monkeypatch.setattr(streaming, "open", windows_open, raising=False)
    for _ in range(2):
        with pytest.raises(Died):
            run("b.tif", resume=True, compute=dies_after(2))
    assert run("b.tif", resume=True) == whole
    with pytest.raises(Died):
        run("c.tif", compute=dies_after(2))
    assert b"\r" not in (tmp_path / "c.tif.journal").read_bytes()


@pytest.mark.parametrize("damage", ["line cut short", "tiles lost", "more than known", "no line"])
def test_what_was_cut_short_is_made_again(begun, tmp_path, damage):
    run, whole = begun
    part, journal = tmp_path / "b.tif.part", tmp_path / "b.tif.journal"
    if damage == "line cut short":
        journal.write_bytes(journal.read_bytes()[:-3])
    elif damage == "tiles lost":
        os.truncate(part, part.stat().st_size - 100)
    elif damage == "more than known":
        part.write_bytes(part.read_bytes() + b"half a tile" * 400_000)  # longer than the rest
    else:
        journal.write_text(journal.read_text().splitlines(keepends=True)[0])
    with pytest.raises(Died):
        run("b.tif", resume=True, compute=dies_after(2))
    assert run("b.tif", resume=True) == whole


def test_what_was_begun_is_not_overwritten(begun, tmp_path):
    run, _ = begun
    with pytest.raises(UserError, match=r"b\.tif was begun and not finished: give --resume"):
        run("b.tif")
    with pytest.raises(UserError, match="begun with another weights"):
        enlarge_scene(tmp_path / "a.tif", tmp_path / "b.tif", [random_net("3-1-3", seed=2)], 2,
                      memory=10**9, resume=True)  # fmt: skip
    os.utime(tmp_path / "a.tif", (1, 1))
    with pytest.raises(UserError, match="begun with another time"):
        run("b.tif", resume=True)
    (tmp_path / "b.tif.journal").write_text("junk")
    with pytest.raises(UserError, match="damaged in its first line; remove it"):
        run("b.tif", resume=True)


def test_a_turned_scene_is_resumed_and_not_after_another_version_began_it(
    tmp_path, rng, small_blocks
):
    scene_file(tmp_path / "a.tif", rng, (330, 420, 3), extratags=[(274, 3, 1, 6, True)],
               rowsperstrip=9, compression="zlib")  # fmt: skip

    def run(name, **options):
        nets = [random_net("3-1-3")]
        enlarge_scene(tmp_path / "a.tif", tmp_path / name, nets, 2, memory=10**9, **options)
        return (tmp_path / name).read_bytes()

    whole = run("whole.tif")
    with pytest.raises(Died):
        run("b.tif", compute=dies_after(5))
    journal = tmp_path / "b.tif.journal"
    facts = journal.read_text()
    assert ',"orientation":[6]' in facts
    journal.write_text(facts.replace(',"orientation":[6]', ""))  # as of a result on its side
    with pytest.raises(UserError, match=r"begun with another orientation \(None, now \[6\]\)"):
        run("b.tif", resume=True)
    journal.write_text(facts)
    assert run("b.tif", resume=True) == whole


def test_a_full_disk_loses_nothing(begun, tmp_path, monkeypatch):
    run, whole = begun
    append, left = TiledFile.append, [3]

    def fill_up(self, tiles):
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        append(self, tiles)

    with monkeypatch.context() as patch, pytest.raises(OSError) as caught:
        patch.setattr(TiledFile, "append", fill_up)
        run("b.tif", resume=True)
    assert caught.value.errno == errno.ENOSPC
    assert describe(caught.value).startswith(f"{tmp_path / 'b.tif'}: No space left on device; free")
    assert run("b.tif", resume=True) == whole


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "model" / "model.npz"
    path.parent.mkdir()
    random_net().save(path)
    return str(path)


LEAST = ["--memory", "285M"]  # less than the scenes here take as a whole: blocks of one tile


def test_the_command(tmp_path, rng, model, capsys):
    samples = scene_file(tmp_path / "a.tif", rng, (500, 700, 3))
    assert main([str(tmp_path / "a.tif"), "--model", model, *LEAST, "--also-bicubic"]) == 0
    out = capsys.readouterr().out
    assert re.search(
        r"a_x2\.tif  700 x 500 -> 1400 x 1000  \d+\.\d\d s, peak memory \d+ MB"
        r"(, most of them to compile kernels)?\n$",
        out,
    )
    picture = images.read(tmp_path / "a_x2.tif")  # Pillow reads it too
    np.testing.assert_array_equal(picture.pixels, upscale(samples, 2, model))
    bicubic = images.read_array(tmp_path / "a_x2_bicubic.tif")
    np.testing.assert_array_equal(bicubic, imresize(samples, 2))


def test_a_place_on_earth_is_the_same_in_memory_and_by_blocks(tmp_path, rng, model):
    tags = [
        (33550, 12, 3, (10.0, 20.0, 0.0), True), (34735, 3, 8, (1, 1, 0, 1, 1025, 0, 1, 2), True),
        (33922, 12, 6, (0.0, 0.0, 0.0, 500.0, 900.0, 0.0), True), (42113, 2, None, "-9999", True),
    ]  # fmt: skip
    scene_file(tmp_path / "a.tif", rng, (500, 700, 3), extratags=tags)
    found = []
    for name, options in (("memory", []), ("blocks", LEAST)):
        target = tmp_path / f"{name}.tif"
        assert main([str(tmp_path / "a.tif"), "--model", model, "-o", str(target), *options]) == 0
        with tifffile.TiffFile(target) as file:
            assert file.is_bigtiff == (name == "blocks")
            found.append({code: file.pages[0].tags[code].value for code, *_ in tags})
    assert found[0] == found[1]


@pytest.mark.skipif(os.name != "posix", reason="kills a process")
def test_killed_and_resumed(tmp_path, rng, model, capsys):
    samples = scene_file(tmp_path / "a.tif", rng, (900, 1500, 3))
    journal = tmp_path / "a_x2.tif.journal"
    command = [str(tmp_path / "a.tif"), "--model", model, *LEAST]
    process = subprocess.Popen([sys.executable, "-m", "npsrcnn", "upscale", *command])
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        if journal.exists() and journal.read_text().count("\n") > 4:
            break
        time.sleep(0.002)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert main(command) == 1
    assert "a_x2.tif was begun and not finished: give --resume" in capsys.readouterr().err
    assert main([*command, "--resume"]) == 0
    np.testing.assert_array_equal(
        images.read_array(tmp_path / "a_x2.tif"), upscale(samples, 2, model)
    )
    assert not journal.exists()


@pytest.mark.skipif(sys.platform != "linux", reason="counts memory as Linux does")
def test_memory_stays_below_what_was_set(tmp_path, rng):
    """As a whole this scene would take 700 MB."""
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as writer:
        line = rng.integers(0, 256, (1, 40, 3), np.uint8).repeat(150, 1)  # quick to compress
        rows = (line.repeat(100, 0) for _ in range(15))
        writer.write(rows, shape=(1500, 6000, 3), dtype=np.uint8, rowsperstrip=100,
                     photometric="rgb", metadata=None)  # fmt: skip
    random_net("1-1", n=(4,)).save(tmp_path / "model.npz")
    code = "import sys; from npsrcnn.commands.upscale import main; sys.exit(main(sys.argv[1:]))"
    done = subprocess.run(
        [sys.executable, "-c", code, str(path), "--model", str(tmp_path / "model.npz"),
         "--memory", "400M", "--json", "-"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    row = json.loads(done.stdout)["pictures"][0]
    assert row["enlarged"] == [12000, 3000]
    assert 100e6 < row["peak_memory"] < 400e6


def test_too_little_memory_for_the_smallest_blocks(tmp_path, rng):
    scene_file(tmp_path / "a.tif", rng)
    with pytest.raises(UserError, match=r"needs \d+ MB of memory at least; --memory says 200"):
        enlarge_scene(tmp_path / "a.tif", tmp_path / "b.tif", [random_net()], 2, memory=2 * 10**8)
    assert [path.name for path in tmp_path.iterdir()] == ["a.tif"]
