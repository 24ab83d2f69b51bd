"""`npsrcnn upscale clip.mp4`: files, messages, and what is refused."""

from __future__ import annotations

import json
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from compressed import clean_picture
from moving import INTERLACED, frames_of, make_clip, packets_of, times_of
from PIL import Image
from random_inputs import random_net

from npsrcnn.commands.upscale import main
from npsrcnn.runtime.files import quoted


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Be in a folder with weights and a clip."""
    random_net(scale=2).save(tmp_path / "model.npz")
    make_clip(tmp_path / "a.mp4", 20)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def command(*words):
    return main([*words, "--model", "model.npz"])


def test_a_clip_goes_beside_its_source(folder, capsys):
    assert command("a.mp4") == 0
    out = capsys.readouterr().out.splitlines()[-1]
    assert out.startswith("a_x2.mp4  48 x 32 -> 96 x 64  20 frames, ")
    assert times_of(folder / "a_x2.mp4") == times_of(folder / "a.mp4")
    assert sorted(path.name for path in folder.iterdir()) == ["a.mp4", "a_x2.mp4", "model.npz"]


@pytest.mark.skipif(sys.platform == "win32", reason="has no such names")
def test_what_a_file_names_breaks_no_line(folder, capsys):
    """Newlines and escape codes, in the name of a file and in the language of a stream."""
    path = make_clip(folder / "plain.mkv", 1, sound=1)
    odd = path.rename("a\n\x1b[2J.mkv")
    odd.write_bytes(odd.read_bytes().replace(b"eng", b"\x1b\ng"))
    assert command(str(odd), "none\n\x1b.mkv") == 1
    out, err = capsys.readouterr()
    assert err == "npsrcnn upscale: none\\n\\x1b.mkv: No such file or directory\n"
    line = out.splitlines()[-1]
    assert line.startswith(r"a\n\x1b[2J_x2.mkv  48 x 32 -> 96 x 64  1 frame, ")
    assert (folder / "a\n\x1b[2J_x2.mkv").is_file()
    assert command(str(odd), "-o", "b.webm") == 1
    err = capsys.readouterr().err
    assert r"a\n\x1b[2J.mkv: stream 1 (audio, aac, \x1b\ng)" in err and err.count("\n") == 1


def test_it_says_what_could_not_be_decoded(folder, capsys):
    path = make_clip(folder / "b.mkv", 4, codec="mjpeg", pixel_format="yuvj420p",
                     options={"strict": "-1"})  # fmt: skip
    _, broken = packets_of(path, 0)[2]
    path.write_bytes(path.read_bytes().replace(broken, bytes(len(broken))))
    assert command("b.mkv") == 0
    lines = capsys.readouterr().out.splitlines()
    assert "b.mkv: the frames of 1 damaged packet are left out" in lines
    assert "  3 frames, " in lines[-1]


def test_it_says_what_restores_a_clip_and_why(folder, capsys):
    make_clip(folder / "b.mkv", 3, codec="libx265", options={"crf": "33"}, size=(80, 72))
    arguments = ["b.mkv", "--scale", "2", "--fast", "--json", "r.json"]
    assert main(arguments) == 0
    row = json.loads((folder / "r.json").read_text())["clips"][0]
    assert row["weights"] == ["fast-x2-clips"] and 19 < row["quantizer"] < 33
    said = f"compressed as H.264 at quantizer {row['quantizer']:.0f}: restored with fast-x2-clips"
    assert f"b.mkv: {said}" in capsys.readouterr().out
    assert main([*arguments, "--source-quality", "40", "-o", "other.mkv"]) == 0
    assert "weights" not in json.loads((folder / "r.json").read_text())["clips"][0]


def test_many_clips_into_a_folder_and_one_that_fails(folder, capsys):
    make_clip(folder / "b.avi", 3, codec="mpeg4", time_base=Fraction(1, 25), pts=[0, 1, 2],
              last_duration=1)  # fmt: skip
    (folder / "none.mkv").write_text("no clip")
    assert command("a.mp4", "none.mkv", "b.avi", "-o", "out", "--json", "report.json") == 1
    errors = capsys.readouterr().err
    assert "npsrcnn upscale: none.mkv: not a clip, or of an unknown format\n" in errors
    assert sorted(path.name for path in (folder / "out").iterdir()) == [
        "a_x2.mp4", "b_avi_x2.mkv"
    ]  # fmt: skip
    report = json.loads((folder / "report.json").read_text())
    assert report["failed"] == 1
    assert [clip.get("frames") for clip in report["clips"]] == [20, None, 3]
    assert command("a.mp4", "-o", "out", "--skip-existing") == 0
    assert "a_x2.mp4 is there, skipped" in capsys.readouterr().out


def test_clips_in_a_folder_are_named_with_what_to_do(folder, capsys):
    alike = Path("it's", "*.MOV")
    (folder / "it's").mkdir()
    for name in ("b.mp4", "a.MOV", "notes.txt"):
        (folder / "it's" / name).write_bytes((folder / "a.mp4").read_bytes())
    Image.new("L", (6, 5)).save("it's/c.png")
    assert command("it's", "--json", "r.json") == 0
    *lines, _ = capsys.readouterr().out.splitlines()
    assert lines[:2] == [
        "2 left out, clips, which are named by themselves "
        f"(npsrcnn upscale {quoted(alike)}): a.MOV, b.mp4",
        "1 left out by their suffix: notes.txt",
    ]
    left_out = [Path(path).name for path in json.loads((folder / "r.json").read_text())["left_out"]]
    assert left_out == ["a.MOV", "b.mp4", "notes.txt"]
    assert command(str(alike)) == 0  # as a shell gives it that does not expand what is quoted
    assert (folder / "it's" / "a_x2.MOV").is_file()


def test_an_animated_picture(folder, capsys):
    frames = [Image.fromarray(np.full((6, 8, 3), 60 * i, np.uint8)) for i in range(3)]
    frames[0].save("a.gif", save_all=True, append_images=frames[1:], duration=40)
    assert command("a.gif") == 0
    assert "GIF has 256 colours a frame" in capsys.readouterr().out
    assert command("a.gif", "--format", "webp") == 0
    with Image.open("a_gif_x2.webp") as image:
        assert (image.n_frames, image.size) == (3, (16, 12))
    assert command("a.gif", "--crf", "20") == 2
    assert "--crf is for clips, and a.gif is an animated picture" in capsys.readouterr().err


def test_it_says_what_restores_an_animated_picture_and_why(folder, capsys):
    first, other = (Image.fromarray(pixels) for pixels in (clean_picture(), clean_picture()[::-1]))
    first.save("a.webp", save_all=True, append_images=[other], quality=30)
    assert main(["a.webp", "--scale", "2", "--fast", "--json", "r.json"]) == 0
    row = json.loads((folder / "r.json").read_text())["clips"][0]
    quality = row["source_quality"]
    assert row["decided_by"] == "its header" and row["weights"] == [f"fast-x2-q{quality}"]
    said = f"a.webp: WebP, about as JPEG of quality {quality}: restored with fast-x2-q{quality}"
    assert said in capsys.readouterr().out.splitlines()
    assert main(["a.webp", "--fast", "--source-quality", "clean", "--json", "r.json"]) == 0
    assert "weights" not in json.loads((folder / "r.json").read_text())["clips"][0]
    assert "restored" not in capsys.readouterr().out


def test_animated_pictures_in_a_folder_are_named_as_clips_are(folder, capsys):
    frames = [Image.fromarray(np.full((6, 8, 3), 60 * i, np.uint8)) for i in range(3)]
    (folder / "in" / "deep").mkdir(parents=True)
    for name in ("a.gif", "b.png", "c.apng", "deep/d.webp"):
        kind = None if name.endswith(("gif", "webp")) else "PNG"
        frames[0].save(f"in/{name}", kind, save_all=True, append_images=frames[1:], duration=40)
    frames[0].save("in/still.png")
    how = "clips, which are named by themselves (npsrcnn upscale"
    for stills, named in ((), Path("in", "*.gif")), (("in/still.gif",), Path("in", "a.gif")):
        for path in stills:
            frames[1].save(path)
        for again in ([], ["--skip-existing"]):
            assert command("in", "-r", "-o", "out", "--json", "r.json", *again) == 0
            line = capsys.readouterr().out.splitlines()[0]
            assert line == f"4 left out, {how} {quoted(named)}): a.gif, b.png, c.apng, d.webp"
            report = json.loads((folder / "r.json").read_text())
            assert len(report["left_out"]) == 4 and report["failed"] == 0
            assert len(report["pictures"]) == 1 + len(stills)
        assert command(str(named), "-o", "animated") == 0
        with Image.open("animated/a_x2.gif") as image:
            assert image.n_frames == 3
        capsys.readouterr()


def test_a_preview_and_a_comparison(folder):
    assert command("a.mp4", "--preview", "0.2s", "--compare", "side") == 0
    frames = frames_of(folder / "a_x2_preview_side.mp4")
    assert len(frames) == 5 and (frames[0].width, frames[0].height) == (192, 64)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["a.mp4", "x.png"], "a.mp4 is a clip, and x.png is not"),
        (["a.mp4", "--also-bicubic"], "give --compare side, or split"),
        (["a.mp4", "-o", "a.mp4"], "a.mp4 would be overwritten"),
        (["a.mp4", "-o", "b.gif"], "cannot write b.gif: use .mp4"),
        (["a.mp4", "a.mp4", "-o", "b.mp4"], "-o b.mp4 names one file"),
        (["a.mp4", "--format", "jpg"], "cannot write a_mp4_x2.jpg"),
        (["a.mp4", "--drop", "cats"], "--drop cats: give some of audio, subtitles"),
        (["a.mp4", "--frames", "7"], "'7' is not A:B"),
        (["a.mp4", "--frames", "9:3"], "has 20 frames"),
        (["a.mp4", "--preview", "no"], "'no' is not a number above 0"),
        (["a.mp4", "--codec", "theora"], "no codec 'theora'"),
        (["a.mp4", "--codec", "ffv1", "--crf", "3", "-o", "b.mkv"], "--crf: ffv1 has none"),
        (["a.mp4", "--page", "2"], "--page is for pictures, and a.mp4 is none"),
        (["x.png", "--crf", "20"], "--crf is for clips, and x.png is none"),
    ],
)
def test_a_command_that_is_wrong_says_so_in_one_line(folder, capsys, words, line):
    assert command(*words) == 2
    error = capsys.readouterr().err
    assert error.startswith("npsrcnn upscale: ") and line in error and error.count("\n") == 1
    assert sorted(path.name for path in folder.iterdir()) == ["a.mp4", "model.npz"]


@pytest.mark.parametrize(
    ("clip", "name", "words", "ways"),
    [
        ({"subtitles": True}, "b.mkv", "-o b.mp4", ["-o b_x2.mkv", "--drop subtitles"]),
        ({"subtitles": True}, "b.mkv", "-o out/c.mp4", [f"-o {Path('out/c.mkv')}"]),
        ({"options": INTERLACED}, "b.mp4", "", ["--deinterlace"]),
        ({"pixel_format": "yuv444p"}, "b.mp4", "--codec av1", ["--codec ffv1 -o b_x2.mkv"]),
        ({}, "b.mp4", "--codec prores", ["-o b_x2.mkv", "--codec h264"]),
        ({"pixel_format": "yuv420p10le", "size": (20, 16)}, "b.mp4", "", ["--codec h264"]),
        ({"codec": "libvpx-vp9", "pixel_format": "yuva420p", "options": {"auto-alt-ref": "0"}},
         "b.webm", "", ["--drop alpha"]),
    ],
)  # fmt: skip
def test_each_way_out_that_is_printed_is_one(folder, capsys, clip, name, words, ways):
    (folder / "out").mkdir()
    make_clip(folder / name, 2, **clip)
    for way in ways:
        assert command(name, *words.split()) == 1
        printed = capsys.readouterr().err
        assert way in printed
        assert command(name, *words.split(), *way.split()) == 0


def test_of_clips_at_their_size_the_quality_is_said(folder, capsys):
    make_clip(folder / "b.mkv", 2, codec="ffv1")
    assert main(["b.mkv", "--scale", "1"]) == 1
    assert "give --source-quality" in capsys.readouterr().err


def test_without_pyav_the_extra_is_named(folder, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "av", None)
    assert command("away.mp4") == 1
    said = capsys.readouterr().err
    assert "away.mp4" in said and "PyAV" not in said and said.count("\n") == 1
    assert command("a.mp4") == 1
    assert 'pip install "npsrcnn[video]"' in capsys.readouterr().err


def test_an_interrupted_run_says_how_to_go_on(folder, monkeypatch, capsys):
    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("npsrcnn.video.making.make_clip", interrupted)
    assert command("a.mp4") == 130
    assert "a_x2.mp4.parts keeps the segments that are done: go on with --resume" in (
        capsys.readouterr().err
    )


def test_a_run_goes_on_with_resume(folder, capsys):
    (folder / "a_x2.mp4.parts").mkdir()
    (folder / "a_x2.mp4.parts" / "00000.json").write_text("{}")
    assert command("a.mp4") == 1
    assert "holds 1 of 1 segment of a run that was interrupted" in capsys.readouterr().err
    (folder / "a_x2.mp4.parts" / "00000.json").unlink()
    assert command("a.mp4", "--resume") == 0
