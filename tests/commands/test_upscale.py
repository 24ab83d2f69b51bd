"""`npsrcnn upscale`: files and folders, and what is wrong with them."""

from __future__ import annotations

import errno
import io
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from compressed import clean_picture, save_families
from PIL import Image
from random_inputs import random_net

from npsrcnn import images
from npsrcnn.commands.upscale import main
from npsrcnn.images import Picture, formats, read, write
from npsrcnn.images.metadata import Metadata
from npsrcnn.model import shipped
from npsrcnn.pixels.jpeg import compress
from npsrcnn.pixels.resize import imresize
from npsrcnn.upscaling import files
from npsrcnn.upscaling.arrays import upscale
from npsrcnn.upscaling.strips import enlarge


@pytest.fixture
def model(tmp_path):
    """A file of weights for scale 2."""
    path = tmp_path / "model" / "model.npz"
    path.parent.mkdir()
    random_net(scale=2).save(path)
    return str(path)


@pytest.fixture
def photo(tmp_path, rng):
    path = tmp_path / "in" / "photo.png"
    path.parent.mkdir()
    write(
        path, Picture(rng.integers(0, 256, (20, 30, 3), np.uint8), None, Metadata(dpi=(300, 300)))
    )
    return path


def test_a_picture_goes_beside_its_source(photo, model, capsys):
    assert main([str(photo), "--model", model]) == 0
    target = photo.with_name("photo_x2.png")
    out = capsys.readouterr().out
    *compiled, line = out.splitlines()  # the first line is there where nothing was compiled yet
    assert line.startswith(f"{target}  30 x 20 -> 60 x 40  ")
    assert [text.startswith("kernels compiled ") for text in compiled] in ([], [True])
    picture = read(target)
    np.testing.assert_array_equal(picture.pixels, upscale(images.read_array(photo), 2, model))
    assert picture.metadata.dpi == pytest.approx((300, 300), abs=0.05)


def test_a_picture_alone_is_made_twice_as_large(photo):
    assert main([str(photo)]) == 0
    enlarged = upscale(images.read_array(photo), 2)
    np.testing.assert_array_equal(read(photo.with_name("photo_x2.png")).pixels, enlarged)


def test_a_file_a_folder_a_suffix_a_format(photo, model, tmp_path):
    folder = tmp_path / "new" / "deep"
    options = ["--model", model, "--scale", "2"]
    assert main([str(photo), *options, "-o", str(photo.parent / "result.tiff")]) == 0
    assert main([str(photo), *options, "-o", str(folder)]) == 0
    assert main([str(photo), *options, "--suffix=-large", "--format", "WebP"]) == 0
    assert main([str(photo), *options, "-o", str(folder), "--suffix", "", "--format", "jpg"]) == 0
    names = {path.name for path in photo.parent.iterdir()}
    assert names == {"photo.png", "result.tiff", "photo_png-large.webp"}
    assert {path.name for path in folder.iterdir()} == {"photo_x2.png", "photo_png.jpg"}
    with Image.open(photo.parent / "result.tiff") as image:
        assert image.format == "TIFF" and image.size == (60, 40)


def test_a_folder_goes_into_a_new_one_and_a_bad_file_stops_no_other(photo, model, capsys):
    (photo.parent / "bad.jpg").write_text("this is no picture")
    write(photo.parent / "zebra.bmp", np.zeros((5, 6), np.uint8))
    (photo.parent / "notes.txt").write_text("no image by its name")
    assert main([str(photo.parent), "--model", model]) == 1
    captured = capsys.readouterr()
    folder = photo.parent.with_name("in_x2")
    assert {p.name for p in folder.iterdir()} == {"photo_x2.png", "zebra_x2.bmp"}
    assert captured.out.endswith("2 enlarged, 0 skipped, 1 failed\n")
    assert captured.err == (
        f"npsrcnn upscale: {photo.parent / 'bad.jpg'}: not an image, or of an unknown format\n"
    )


def test_what_is_there_is_skipped(photo, model, capsys):
    target = photo.with_name("photo_x2.png")
    target.write_bytes(b"precious")
    assert main([str(photo), "--model", model, "--skip-existing"]) == 0
    assert "is there, skipped" in capsys.readouterr().out
    assert target.read_bytes() == b"precious"
    assert main([str(photo), "--model", model]) == 0
    assert target.read_bytes() != b"precious"


def test_bicubic_beside_it(photo, model):
    assert main([str(photo), "--model", model, "--also-bicubic"]) == 0
    result = images.read_array(photo.with_name("photo_x2_bicubic.png"))
    np.testing.assert_array_equal(result, imresize(images.read_array(photo), 2))


def test_what_is_skipped_has_its_bicubic_beside_it(photo, model, capsys):
    bicubic = photo.with_name("photo_x2_bicubic.png")
    for options in ([], ["--also-bicubic"]):
        assert main([str(photo), "--model", model, "--skip-existing", *options]) == 0
        assert "is there, skipped" not in capsys.readouterr().out
        assert bicubic.exists() == bool(options)
    assert main([str(photo), "--model", model, "--skip-existing", "--also-bicubic"]) == 0
    assert "is there, skipped" in capsys.readouterr().out


def test_json(photo, model, capsys, tmp_path):
    missing = photo.with_name("missing.png")
    assert main([str(photo), str(missing), "--model", model, "--json", "-"]) == 1
    captured = capsys.readouterr()
    result = json.loads(captured.out)  # nothing else goes there
    assert result["scale"] == 2 and result["failed"] == 1
    first, second = result["pictures"]
    assert first["target"] == str(photo.with_name("photo_x2.png"))
    assert first["size"] == [30, 20] and first["enlarged"] == [60, 40] and first["seconds"] > 0
    assert second["source"] == str(missing) and "No such file" in second["error"]
    assert main([str(photo), "--model", model, "--json", str(tmp_path / "a.json")]) == 0
    assert json.loads((tmp_path / "a.json").read_text())["failed"] == 0


def test_a_format_that_cannot_hold_the_result(tmp_path, model, rng, capsys):
    grey = Image.fromarray(rng.integers(0, 256, (6, 7), np.uint8))
    grey.save(tmp_path / "a.gif")
    wide = Image.fromarray(rng.integers(0, 65536, (6, 7), np.uint16))
    wide.save(tmp_path / "b.pgm")
    argv = [str(tmp_path / "a.gif"), str(tmp_path / "b.pgm"), "--model", model]
    assert main(argv) == 0
    assert read(tmp_path / "a_gif_x2.png").pixels.dtype == np.uint8
    assert read(tmp_path / "b_pgm_x2.png").pixels.dtype == np.uint16
    assert not list(tmp_path.glob("*_x2.pgm"))
    assert main([*argv, "--skip-existing"]) == 0
    assert "2 skipped" in capsys.readouterr().out
    (tmp_path / "b_pgm_x2.png").unlink()
    sources = [str(tmp_path / name) for name in ("b.pgm", "b.png", "b_pgm.png")]
    wide.save(sources[1])
    assert main([*sources[:2], "--model", model]) == 0
    assert read(tmp_path / "b_pgm_x2.png").pixels.dtype == np.uint16
    wide.save(sources[2])  # whose result b_pgm_x2.png is
    assert main([*sources, "--model", model]) == 1
    assert "no room for" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("names", "options", "made"),
    [
        (["pal.gif", "pal.png", "pal.jpg"], [], ["pal_gif_x2.png", "pal_x2.jpg", "pal_x2.png"]),
        (["x.jpg", "x.png"], ["--format", "png"], ["x_jpg_x2.png", "x_x2.png"]),
        (["x.gif", "x.pbm", "y.gif"], [], ["x_gif_x2.png", "x_pbm_x2.png", "y_gif_x2.png"]),
        (["x.JPG", "y.jpeg"], ["--format", "jpg"], ["x_x2.jpg", "y_jpeg_x2.jpg"]),
    ],
)
def test_results_of_another_format_keep_the_old_suffix_in_their_names(
    tmp_path, model, names, options, made
):
    for name in names:
        (tmp_path / "in").mkdir(exist_ok=True)
        Image.new("1" if name.endswith("pbm") else "L", (5, 4)).save(tmp_path / "in" / name)
    assert main([str(tmp_path / "in"), "--model", model, *options]) == 0
    assert sorted(path.name for path in (tmp_path / "in_x2").iterdir()) == made


def test_sixteen_bits_orientation_and_profile_survive(tmp_path, model, rng):
    pixels = rng.integers(0, 65536, (8, 10, 3), np.uint16)
    exif = Image.Exif()
    exif[0x0112] = 6
    metadata = Metadata(b"profile", exif.tobytes().removeprefix(b"Exif\0\0"))
    write(tmp_path / "a.png", Picture(pixels, None, metadata))
    assert main([str(tmp_path / "a.png"), "--model", model]) == 0
    result = read(tmp_path / "a_x2.png")
    assert result.pixels.dtype == np.uint16 and result.metadata.icc_profile == b"profile"
    np.testing.assert_array_equal(result.pixels, upscale(np.rot90(pixels, -1), 2, model))


def test_how_results_are_written(tmp_path, model, rng):
    samples = rng.integers(0, 256, (20, 30, 4), np.uint8)
    exif = Image.Exif()
    exif[0x010F] = "maker"
    profile = b"profile"
    Image.fromarray(samples).save(tmp_path / "a.png", exif=exif, icc_profile=profile)
    Image.fromarray(samples[..., :3]).save(tmp_path / "b.jpg", exif=exif)
    Image.fromarray(samples).save(tmp_path / "c.webp", lossless=True, exact=True)
    a, b, c = (str(tmp_path / name) for name in ("a.png", "b.jpg", "c.webp"))
    with_model = ["--model", model]
    as_jpeg = ["--background", "#fff", "--quality", "60", "--strip"]
    assert main([a, *with_model, *as_jpeg, "-o", str(tmp_path / "a.jpg")]) == 0
    with Image.open(tmp_path / "a.jpg") as image:
        assert not image.getexif() and image.info["icc_profile"] == profile
        assert image.size == (60, 40) and np.asarray(image).mean() > 160  # half of it is white
        image.save(tmp_path / "again.jpg", quality=60)
        with Image.open(tmp_path / "again.jpg") as again:
            assert again.quantization == image.quantization
    assert main([b, c, *with_model, "--lossless"]) == 0
    expected = upscale(images.read_array(b), 2, model)
    np.testing.assert_array_equal(images.read_array(tmp_path / "b_jpg_x2.png"), expected)
    for options in ([], ["--suffix", "_y"]):
        assert main([c, *with_model, *options]) == 0
    for name in ("c_x2.webp", "c_y.webp"):
        result = images.read(tmp_path / name)
        np.testing.assert_array_equal(result.samples(), upscale(samples, 2, model))


def test_sizes_in_pixels(photo, model, capsys, tmp_path):
    write(photo.with_name("tall.png"), np.zeros((60, 8), np.uint8))
    page, options = tmp_path / "page.html", ["--model", model, "--json", "-"]
    assert main([str(photo.parent), *options, "--longest", "50", "--report", str(page)]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["size"] == {"width": None, "height": None, "longest": 50}
    folder = photo.parent.with_name("in_50")
    assert images.read_size(folder / "photo_50.png") == (33, 50)
    assert images.read_size(folder / "tall_50.png") == (50, 7)
    assert [row["model"] for row in report["pictures"]] == [[model], []]
    assert "Enlarged to a size" in page.read_text()
    assert main([str(photo), *options, "--width", "90"]) == 1
    assert "trained for scale 2, and the size needs 3" in capsys.readouterr().err
    assert main([str(photo), "--model", model, "--width", "45"]) == 0
    assert "photo_w45.png  30 x 20 -> 45 x 30" in capsys.readouterr().out


def piped_in(monkeypatch, data, *, terminal=False):
    """Put bytes into standard input."""
    stdin = io.TextIOWrapper(io.BytesIO(data))
    monkeypatch.setattr(stdin, "isatty", lambda: terminal, raising=False)
    monkeypatch.setattr(sys, "stdin", stdin)


@pytest.mark.parametrize(
    ("name", "output"), [("a.png", "PNG"), ("a.jpg", "JPEG"), ("a.tif", "TIFF"), ("a.gif", "PNG")]
)
def test_a_picture_through_pipes(tmp_path, model, rng, capsysbinary, monkeypatch, name, output):
    Image.fromarray(rng.integers(0, 256, (9, 12, 3), np.uint8)).save(tmp_path / name)
    piped_in(monkeypatch, (tmp_path / name).read_bytes())
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    assert main(["-", "--model", model]) == 0
    captured = capsysbinary.readouterr()
    assert b"standard output  12 x 9 -> 24 x 18" in captured.err
    with Image.open(io.BytesIO(captured.out)) as image:
        assert image.format == output
        result = np.asarray(image)
    assert main([str(tmp_path / name), "--model", model, "-o", str(tmp_path / "out")]) == 0
    (made,) = (tmp_path / "out").iterdir()
    np.testing.assert_array_equal(result, images.read_array(made))
    assert list((tmp_path / "temporary").iterdir()) == []


def test_one_end_is_a_pipe(photo, model, capsysbinary, monkeypatch, tmp_path):
    expected = upscale(images.read_array(photo), 2, model)
    piped_in(monkeypatch, photo.read_bytes())
    assert main(["-", "--model", model, "-o", str(tmp_path / "a.bmp"), "--json", "-"]) == 0
    assert json.loads(capsysbinary.readouterr().out)["failed"] == 0
    np.testing.assert_array_equal(images.read_array(tmp_path / "a.bmp"), expected)
    assert main([str(photo), "--model", model, "-o", "-", "--format", "tif"]) == 0
    (tmp_path / "b.tif").write_bytes(capsysbinary.readouterr().out)
    np.testing.assert_array_equal(images.read_array(tmp_path / "b.tif"), expected)
    assert [path.name for path in photo.parent.iterdir()] == ["photo.png"]


def test_what_pipes_cannot_do(photo, model, capsys, monkeypatch):
    with_model, twin = ["--model", model], photo.with_name("b.png")
    twin.write_bytes(photo.read_bytes())
    wrong = {
        "and IN is several": ["-", str(photo)],
        "- stands for one picture": [str(photo.parent / "*.png"), "-o", "-"],
        "--also-bicubic is for files": ["-", "--also-bicubic"],
        "cannot both go to the output": ["-", "--json", "-"],
    }
    piped_in(monkeypatch, b"")
    for message, argv in wrong.items():
        assert message in usage([*argv, *with_model], capsys)
    piped_in(monkeypatch, b"", terminal=True)
    assert "nothing is piped into it" in usage(["-", *with_model], capsys)
    frames = io.BytesIO()
    Image.new("L", (4, 4)).save(
        frames, "GIF", save_all=True, append_images=[Image.new("L", (4, 4), 9)]
    )
    piped_in(monkeypatch, frames.getvalue())
    assert "is given as a file" in usage(["-", *with_model], capsys)
    for data, message in (
        (b"", "nothing came"),
        (b"x", "standard input: not an image, or of an unknown format"),
        (b"II\xbc\x01", "standard input: JPEG XR, which is not read"),
        (photo.read_bytes()[:500], "stdin.png: damaged or truncated"),
    ):
        piped_in(monkeypatch, data)
        assert main(["-", *with_model]) == 1
        captured = capsys.readouterr()
        assert message in captured.err.splitlines()[-1] and not captured.out


def usage(argv, capsys):
    """The one line of a command called wrongly."""
    assert main(argv) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "Traceback" not in error
    return error


def test_wrong_calls(photo, model, capsys, tmp_path):
    twin = photo.with_suffix(".jpg")
    write(twin, np.zeros((4, 4), np.uint8))
    one, both = [str(photo), "--model", model], [str(photo), str(twin), "--model", model]
    (tmp_path / "file").write_text("x")
    namesake = tmp_path / "other" / photo.name
    wrong = {
        "the following arguments are required: IN": [],
        "unrecognized arguments: --sharpen": [*one, "--sharpen"],
        "'0' is not a number above 0": [*one, "--scale", "0"],
        "'big' is not a number above 0": [*one, "--scale", "big"],
        "'0' is not a whole number of at least 1": [*one, "--threads", "0"],
        "cannot write .gif: use .png": [*one, "--format", "gif"],
        "cannot write .gif": [*one, "-o", str(tmp_path / "a.gif")],
        "choose one": [*one, "-o", str(tmp_path / "a.png"), "--format", "jpg"],
        "names one file, but IN is several": [*both, "-o", str(tmp_path / "a.png")],
        "would both become": [str(namesake), *one, "-o", str(tmp_path / "new")],
        "would be overwritten": [*one, "--suffix", ""],
        "no part of a file's name": [*one, "--suffix", "/../x"],
        "neither a folder nor": [*one, "-o", str(tmp_path / "file")],
        "'101' is more than 100": [*one, "--quality", "101"],
        "'0' is not a whole number": [*one, "--quality", "0"],
        "--lossless nothing: choose one": [*one, "--quality", "90", "--lossless"],
        "--quality: PNG has none": [*one, "--quality", "90", "--format", "png"],
        "--lossless: AVIF loses something": [*one, "--lossless", "--format", "avif"],
        "'greem' is no colour": [*one, "--background", "greem"],
        "'#ffffff80' is transparent itself": [*one, "--background", "#ffffff80"],
        "--background: WEBP keeps transparency": [*one, "--background", "red", "-o", "a.webp"],
        "--scale and --width both say": [*one, "--scale", "2", "--width", "80"],
        "--longest and --height both say": [*one, "--longest", "80", "--height", "80"],
        "'-3' is not a whole number": [*one, "--width=-3"],
        "--longest is for pictures": [str(tmp_path / "clip.mp4"), "--longest", "9"],
        "--strip is for pictures": [str(tmp_path / "clip.mp4"), "--strip"],
    }
    for message, argv in wrong.items():
        assert message in usage(argv, capsys)
    assert {path.name for path in photo.parent.iterdir()} == {"photo.png", "photo.jpg"}
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("other", "argv"),
    [
        ("photo_x2.png", ["photo.png", "photo_x2.png"]),
        ("photo_x2.png", ["photo_x2.png", "../in/photo.png"]),
        ("photo_x2.png", [".", "-o", "."]),
        ("photo_x2_bicubic.png", ["photo.png", "photo_x2_bicubic.png", "--also-bicubic"]),
        ("b_pgm_x2_bicubic.png", ["b.pgm", "b_pgm_x2_bicubic.png", "--also-bicubic"]),
        ("b_bicubic.png", ["b_bicubic.png", "-o", "b.png", "--also-bicubic"]),
    ],
)
def test_no_source_is_overwritten_by_the_result_of_another(
    other, argv, photo, model, capsys, monkeypatch
):
    monkeypatch.chdir(photo.parent)
    write(photo.with_name(other), np.full((4, 4), 7, np.uint8))
    write(photo.with_name("b.pgm"), np.zeros((4, 4), np.uint8))
    before = {path: path.read_bytes() for path in photo.parent.iterdir()}
    line = usage([*argv, "--model", model], capsys)
    assert f"{other} would be overwritten by the result of" in line and "give another -o" in line
    assert {path: path.read_bytes() for path in photo.parent.iterdir()} == before


def test_no_source_is_overwritten_under_another_name(photo, model, capsys):
    other = photo.with_name("Photo.png")  # one file where case makes no difference
    if not other.exists():
        os.link(photo, other)
    before = photo.read_bytes()
    assert "would be overwritten" in usage([str(photo), "--model", model, "-o", str(other)], capsys)
    assert photo.read_bytes() == before


def test_patterns_are_expanded_where_no_shell_does(photo, model, capsys):
    folder = photo.parent
    write(folder / "second.png", np.zeros((9, 8), np.uint8))
    assert main([str(folder / "*.png"), "--model", model]) == 0
    assert (folder / "photo_x2.png").exists() and (folder / "second_x2.png").exists()
    assert main([str(folder / "*.gif"), "--model", model]) == 1
    assert "*.gif: No such file" in capsys.readouterr().err


def test_no_source_is_overwritten_where_a_result_becomes_png(photo, model, capsys):
    deep = photo.with_name("photo.pgm")
    Image.fromarray(np.zeros((4, 4), np.uint16)).save(deep)
    other = photo.rename(photo.with_name("photo_pgm_x2.png"))
    before = other.read_bytes()
    main([str(deep), str(other), "--model", model])
    assert other.read_bytes() == before


def failure(argv, capsys):
    """The one line of a command that could not do it."""
    assert main(argv) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "Traceback" not in error
    return error


def test_what_cannot_be_done(photo, model, capsys, tmp_path, monkeypatch):
    (tmp_path / "empty").mkdir()
    (tmp_path / "junk.npz").write_text("no weights")
    one = [str(photo), "--model", model]
    wrong = {
        "missing.png: No such file or directory": [str(tmp_path / "missing.png"), *one[1:]],
        "no image files in this folder": [str(tmp_path / "empty"), *one[1:]],
        "trained for scale 2, not 3": [*one, "--scale", "3"],
        "junk.npz": [str(photo), "--model", str(tmp_path / "junk.npz"), "--scale", "2"],
        "nothing-like-it": [str(photo), "--model", "nothing-like-it", "--scale", "2"],
        "JPEG holds at most": [*one, "--format", "jpg"],
    }
    monkeypatch.setitem(formats.FORMATS, ".jpg", formats.Format("JPEG", max_side=50))
    for message, argv in wrong.items():
        assert message in failure(argv, capsys)
    monkeypatch.setattr(shipped, "FOLDER", tmp_path / "empty")
    assert "npsrcnn train" in failure([str(photo), "--scale", "3"], capsys)


@pytest.mark.parametrize("option", ["--json", "-o"])
def test_a_file_that_cannot_be_written_is_refused_before_the_work(
    option, photo, model, capsys, tmp_path, monkeypatch
):
    monkeypatch.setattr(images, "read", lambda path: pytest.fail("the work was begun"))
    file = str(tmp_path / "nowhere" / "a.png")
    error = failure([str(photo), "--model", model, option, file], capsys)
    assert f"{file}: No such file or directory" in error
    assert list(photo.parent.iterdir()) == [photo] and not Path(file).parent.exists()


def test_a_read_only_folder(photo, model, capsys, monkeypatch):
    def refuse(*args, **kwargs):  # as it is for everybody but root
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), "somewhere")

    monkeypatch.setattr(tempfile, "mkstemp", refuse)
    error = failure([str(photo), "--model", model], capsys)
    assert f"{photo.with_name('photo_x2.png')}: Permission denied; choose a place" in error


def test_a_full_disk(photo, model, capsys, monkeypatch):
    def fill_up(self, data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", fill_up)
    error = failure([str(photo), "--model", model], capsys)
    assert f"{photo.with_name('photo_x2.png')}: No space left on device; free some space" in error
    assert [path.name for path in photo.parent.iterdir()] == ["photo.png"]


def test_too_little_memory_is_counted_and_the_others_go_on(photo, model, capsys, monkeypatch):
    write(photo.with_name("small.png"), np.zeros((2, 2), np.uint8))

    def enlarge_small(pixels, *rest):
        if pixels.size > 4:
            raise MemoryError("Unable to allocate 7 TiB")
        return enlarge(pixels, *rest)

    monkeypatch.setattr(files, "enlarge", enlarge_small)
    error = failure([str(photo.parent), "--model", model], capsys)
    assert f"{photo}: out of memory (Unable to allocate 7 TiB)" in error
    assert (photo.parent.with_name("in_x2") / "small_x2.png").exists()


def test_debug_shows_the_traceback(tmp_path, model, capsys):
    assert main([str(tmp_path / "missing.png"), "--model", model, "--debug"]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_as_a_program(photo, model):
    """No warning about an import, no traceback, the exit code."""
    command = [sys.executable, "-W", "error", "-m", "npsrcnn", "upscale"]
    done = subprocess.run([*command, str(photo), "--model", model], capture_output=True, text=True,
                          check=False)  # fmt: skip
    assert done.returncode == 0 and done.stderr == "" and "60 x 40" in done.stdout
    done = subprocess.run([*command, "--unknown"], capture_output=True, text=True, check=False)
    assert done.returncode == 2 and done.stderr.count("\n") == 1


# Compressed pictures


@pytest.fixture
def compressed(tmp_path, monkeypatch):
    """A folder: a JPEG file, one of a picture that was compressed more before, two PNG files."""
    monkeypatch.setattr(shipped, "FOLDER", tmp_path / "weights")
    save_families(tmp_path / "weights")
    folder = tmp_path / "photos"
    folder.mkdir()
    clean = clean_picture()
    Image.fromarray(clean).save(folder / "a.jpg", quality=74)
    Image.fromarray(compress(clean, 40)).save(folder / "b.jpg", quality=90, subsampling=0)
    Image.fromarray(compress(clean, 43)).save(folder / "c.png")
    Image.fromarray(clean).save(folder / "d.png")
    return folder


def report_of(argv, capsys):
    """Run the command, and return what it says, and its report's rows by their source."""
    code = main([*map(str, argv), "--json", "-"])
    captured = capsys.readouterr()
    report = json.loads(captured.out)
    return code, captured.err, {Path(row["source"]).name: row for row in report["pictures"]}


def test_each_picture_by_its_own_compression(compressed, capsys):
    code, said, rows = report_of([compressed, "--scale", 2], capsys)
    assert code == 0
    found = {name: (row["source_quality"], row["decided_by"]) for name, row in rows.items()}
    assert found["a.jpg"] == (74, "its table")
    assert found["d.png"] == (None, "its pixels, which show no compression")
    for name, quality, decided_by in (
        ("b.jpg", 40, "its pixels, which show an earlier, stronger compression"),
        ("c.png", 43, "its pixels"),
    ):
        assert abs(found[name][0] - quality) <= 4 and found[name][1] == decided_by
    for name, (quality, _) in found.items():
        network = "y-x2" if quality is None else f"y-x2-q{quality}"
        assert rows[name]["model"] == [network]
        target = Path(rows[name]["target"])
        picture = images.read_array(compressed / name)
        expected = upscale(picture, 2, network)
        if target.suffix == ".png":
            np.testing.assert_array_equal(images.read_array(target), expected)
        line = next(line for line in said.splitlines() if line.startswith(str(target)))
        if quality is None:
            assert line.endswith(" s")
        elif name == "a.jpg":
            assert line.endswith(" s  JPEG of quality 74: restored with y-x2-q74")
        else:
            words = f"compressed before, as JPEG of quality {quality} by its pixels"
            assert line.endswith(f" s  {words}: restored with {network}")


def test_webp_is_decided_by_its_header(compressed, capsys):
    Image.fromarray(clean_picture()).save(compressed / "e.webp", quality=40)
    Image.fromarray(clean_picture()).save(compressed / "f.webp", lossless=True)
    sources = [compressed / "e.webp", compressed / "f.webp"]
    code, said, rows = report_of([*sources, "--scale", 2], capsys)
    quality = rows["e.webp"]["source_quality"]
    assert code == 0 and 20 < quality < 75 and rows["e.webp"]["decided_by"] == "its header"
    words = f"WebP, about as JPEG of quality {quality}: restored with y-x2-q{quality}"
    assert f" s  {words}\n" in said
    assert rows["f.webp"]["source_quality"] is None


def test_a_quality_as_told(compressed, capsys):
    one = [compressed / "d.png", "--scale", 2, "--source-quality"]
    for quality, number, network in (("30", 30, "y-x2-q30"), ("clean", None, "y-x2")):
        code, said, rows = report_of([*one, quality], capsys)
        row = rows["d.png"]
        assert code == 0 and row["model"] == [network]
        assert row["source_quality"] == number and row["decided_by"] == "as told"
        assert ("JPEG of quality 30, as told: restored with y-x2-q30" in said) == (number == 30)


def test_a_named_model_is_taken_as_it_is(compressed, capsys):
    code, said, rows = report_of([compressed / "a.jpg", "--model", "y-x2"], capsys)
    assert code == 0 and "quality" not in said
    assert rows["a.jpg"]["source_quality"] is None and rows["a.jpg"]["model"] == ["y-x2"]
    assert rows["a.jpg"]["decided_by"] == "the model that was named"
    argv = [compressed / "a.jpg", "--model", "y-x2", "--source-quality", 60]
    code, _, rows = report_of(argv, capsys)
    assert code == 0 and rows["a.jpg"]["model"] == ["y-x2-q60"]
    assert rows["a.jpg"]["source_quality"] == 60


def test_where_no_weights_ship_for_compressed_pictures(compressed, capsys):
    code, said, rows = report_of([compressed / "a.jpg", "--scale", 3], capsys)
    assert code == 0 and rows["a.jpg"]["model"] == ["y-x3"]
    assert rows["a.jpg"]["source_quality"] == 74
    assert said.endswith("  JPEG of quality 74; no weights for that at x3\n")
    code, said, rows = report_of([compressed / "a.jpg", "--scale", 2, "--fast"], capsys)
    assert code == 0 and rows["a.jpg"]["model"] == ["fast-x2"]
    assert said.endswith("  JPEG of quality 74; no fast weights for that at x2\n")


def test_scale_1_restores_what_was_compressed_and_names_what_was_not(compressed, capsys):
    assert main([str(compressed), "--scale", "1"]) == 1
    captured = capsys.readouterr()
    folder = compressed.with_name("photos_x1")
    assert {path.name for path in folder.iterdir()} == {"a_x1.jpg", "b_x1.jpg", "c_x1.png"}
    assert "216 x 200 -> 216 x 200" in captured.out and "restored with y-x1-q74" in captured.out
    assert captured.out.endswith("3 enlarged, 0 skipped, 1 failed\n")
    assert captured.err.count("\n") == 1 and f"{compressed / 'd.png'}: " in captured.err
    assert "was not compressed" in captured.err


def test_large_files_are_decided_by_their_middle(compressed, capsys, monkeypatch):
    pixels = images.read_array(compressed / "c.png")
    write(compressed / "e.tif", pixels)
    monkeypatch.setattr(files, "need_of", lambda job, options: files.Need(0, True))
    code, _, rows = report_of([compressed / "e.tif", "--scale", 2], capsys)
    row = rows["e.tif"]
    assert code == 0 and row["decided_by"] == "its pixels" and 39 <= row["source_quality"] <= 47
    expected = upscale(pixels, 2, row["model"][0])
    np.testing.assert_array_equal(images.read_array(row["target"]), expected)


def test_a_damaged_table_is_one_line_and_stops_no_other(compressed, capsys):
    path = compressed / "a.jpg"
    data = bytearray(path.read_bytes())
    data[data.index(b"\xff\xdb\x00\x43\x00") + 20] = 0
    path.write_bytes(data)
    assert main([str(compressed), "--scale", "2"]) == 1
    captured = capsys.readouterr()
    assert f"{path}: its quantization table is damaged" in captured.err
    assert captured.err.count("\n") == 1 and "3 enlarged" in captured.out


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--scale", "2", "--source-quality", "0"], "auto, clean, or 1 to 100"),
        (["--scale", "2", "--source-quality", "101"], "auto, clean, or 1 to 100"),
        (["--scale", "2", "--source-quality", "good"], "auto, clean, or 1 to 100"),
        (["--model", "y-x3", "--source-quality", "50"], "y-x3 has no weights for other qualities"),
        (["--model", "y-x2", "--fast"], "--fast"),
    ],
)
def test_qualities_that_cannot_be_are_one_line(compressed, capsys, argv, message):
    assert main([str(compressed / "a.jpg"), *argv]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
