"""`npsrcnn upscale`: files and folders."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from npsrcnn import images
from npsrcnn.commands.upscale import main
from npsrcnn.images import Picture, read, write
from npsrcnn.images.metadata import Metadata
from npsrcnn.pixels.resize import imresize
from npsrcnn.upscaling.arrays import upscale


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


def test_patterns_are_expanded_where_no_shell_does(photo, model, capsys):
    folder = photo.parent
    write(folder / "second.png", np.zeros((9, 8), np.uint8))
    assert main([str(folder / "*.png"), "--model", model]) == 0
    assert (folder / "photo_x2.png").exists() and (folder / "second_x2.png").exists()
    assert main([str(folder / "*.gif"), "--model", model]) == 1
    assert "*.gif: No such file" in capsys.readouterr().err


def test_as_a_program(photo, model):
    """No warning about an import, no traceback, the exit code."""
    command = [sys.executable, "-W", "error", "-m", "npsrcnn", "upscale"]
    done = subprocess.run([*command, str(photo), "--model", model], capture_output=True, text=True,
                          check=False)  # fmt: skip
    assert done.returncode == 0 and done.stderr == "" and "60 x 40" in done.stdout
    done = subprocess.run([*command, "--unknown"], capture_output=True, text=True, check=False)
    assert done.returncode == 2 and done.stderr.count("\n") == 1
