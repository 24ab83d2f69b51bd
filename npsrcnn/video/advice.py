"""Commands of other programs that make clips fit to be enlarged, as they are typed in a shell."""

from __future__ import annotations

from pathlib import Path

from npsrcnn.runtime.files import quoted

RAW = {"h264", "hevc", "mpegvideo", "m4v", "obu", "vvc", "avs2", "avs3"}
"""FFmpeg's names of streams without a container, and so without times."""
REORDERED_BY_MKVMERGE = {"h264", "hevc", "mpegvideo"}
COPIED_BY_FFMPEG = {"m4v", "obu"}
PICTURE_AND_SOUND = '-map 0:V:0 -map "0:a?"'  # no cover, all sound


def contained(path: Path, container: str) -> str:
    """Return a command that puts a raw stream of 25 frames a second into a container.

    ffmpeg 5 copies none that has B-frames: it does not know when they are shown.
    """
    target = _beside(path, "")
    if container in REORDERED_BY_MKVMERGE:
        return f"mkvmerge -o {target} --default-duration 0:25fps {quoted(path.name)}"
    how = "copy" if container in COPIED_BY_FFMPEG else "ffv1"
    return f"ffmpeg -r 25 -i {quoted(path.name)} -c:v {how} {target}"


def copied(path: Path, container: str) -> str:
    """Return a command that copies a clip, with a clock that goes on without jumps."""
    if container == "mpegts":  # in milliseconds, as Matroska has them, two times may be one
        how = "-map 0 -ignore_unknown -c copy"
        return f"ffmpeg -i {quoted(path.name)} {how} {_beside(path, '_times', '.ts')}"
    return _converted(path, "-c copy", "_times")


def cut_off(path: Path, seconds: float) -> str:
    """Return a command that copies the first so many seconds of a clip."""
    return _converted(path, f"-c copy -t {seconds:.2f}", "_1")


def with_even_times(path: Path, container: str) -> str:
    """Return a command that gives frames new times, one after the other; nothing of them is lost.

    mkvmerge reads what H.264 in AVI says of its order, and copies.
    """
    if container == "avi":
        return f"mkvmerge -o {_beside(path, '_times')} {quoted(path.name)}"
    return _converted(path, "-fps_mode cfr -c:v ffv1 -c:a copy", "_times")


def as_ycbcr(path: Path, pixel_format: str) -> str:
    """Return a command that converts RGB, losslessly but for rounding."""
    how = f"-vf scale=out_color_matrix=bt709 -pix_fmt {pixel_format} -colorspace bt709"
    return _converted(path, f"{how} -c:v ffv1 -c:a copy", "_yuv")


def _converted(path: Path, how: str, ending: str) -> str:
    return f"ffmpeg -i {quoted(path.name)} {PICTURE_AND_SOUND} {how} {_beside(path, ending)}"


def _beside(path: Path, ending: str, suffix: str = ".mkv") -> str:
    return quoted(f"{path.stem}{ending}{suffix}")
