"""Enlarge animated pictures by Pillow: GIF, APNG, and WebP and AVIF sequences.

Each frame is enlarged as it is seen, put together from those before it, and written whole; delays,
number of loops, transparency and colour profile stay.
"""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from npsrcnn.errors import UserError
from npsrcnn.images.formats import DAMAGE
from npsrcnn.model.network import SRCNN
from npsrcnn.runtime.files import write_atomically
from npsrcnn.runtime.memory import physical_bytes
from npsrcnn.upscaling.strips import enlarge
from npsrcnn.video.kinds import ANIMATIONS
from npsrcnn.words import counted

FEW_COLORS = (
    "GIF has 256 colours a frame, which are few for what is enlarged: --format webp, apng or avif "
    "keeps them"
)
HALF_OPAQUE = 128  # of 255: what is less is not seen in a GIF
GIF_COLORS = 255  # and one more, of what is transparent
WRITER_COPIES = 2  # of all frames, that Pillow holds until the last is there
OPTIONS: dict[str, dict[str, object]] = {
    "GIF": {"optimize": False},
    "PNG": {},
    "WEBP": {"quality": 95},
    "AVIF": {"quality": 90, "subsampling": "4:4:4"},
}
TAGS = {
    "GIF": ("loop", "comment"),
    "PNG": ("loop", "icc_profile", "exif", "default_image"),
    "WEBP": ("loop", "icc_profile", "exif", "xmp"),
    "AVIF": ("icc_profile", "exif", "xmp"),
}
"""What is handed on of what Pillow knows of a file, where the format of the result has it."""


@dataclass(frozen=True)
class MadeAnimation:
    """An animated picture that was enlarged: frames, and (width, height) before and after."""

    frames: int
    size: tuple[int, int]
    enlarged: tuple[int, int]


@dataclass(frozen=True)
class _Timing:
    """What must be known before the first frame is written."""

    delays: list[float]  # milliseconds
    transparent: bool
    tags: dict[str, object]

    def first(self, seconds: float) -> _Timing:
        """Return that of the frames that begin within so many seconds."""
        begins = itertools.accumulate(self.delays[:-1], initial=0.0)
        count = sum(begin < 1000 * seconds for begin in begins)
        return replace(self, delays=self.delays[: max(1, count)])


def enlarge_animation(
    source: Path,
    target: Path,
    nets: Sequence[SRCNN],
    scale: float,
    *,
    seconds: float = math.inf,
    report: Callable[[int, int], None] = lambda done, frames: None,
) -> MadeAnimation:
    """Enlarge an animated picture; the suffix of ``target`` names the format.

    Parameters
    ----------
    source, target : Path
    nets : sequence of SRCNN
    scale : float
    seconds : float
        Enlarge the frames that are shown in the first so many seconds alone, one at least.
    report
        Called with the number of frames done, and of all.

    Raises
    ------
    UserError
        Damaged, or larger than this machine's memory.
    OSError
        It cannot be read or written.
    """
    kind = ANIMATIONS[target.suffix.lower()]
    with (
        _naming_damage(f"{source}: damaged, or not to be written as {kind}"),
        Image.open(source) as image,
    ):
        timing = _read_timing(image).first(seconds)
        size = image.size
        _check_memory(source, len(timing.delays), size, scale)
        frames = _enlarged_frames(image, timing, nets, scale, kind, report)
        first = next(frames)
        options = OPTIONS[kind] | {
            key: timing.tags[key] for key in TAGS[kind] if timing.tags.get(key) is not None
        }
        if kind == "GIF" and timing.transparent:
            options |= {"transparency": GIF_COLORS, "disposal": 2}
        with write_atomically(target) as temporary:
            first.save(
                temporary,
                kind,
                save_all=True,
                append_images=list(frames),  # Pillow goes through them twice
                duration=_delays(timing, kind),
                **options,
            )
    return MadeAnimation(len(timing.delays), size, first.size)


def read_first_frame(source: Path) -> np.ndarray:
    """Read the first frame of an animated picture: (H, W, 3) uint8.

    Raises
    ------
    UserError
        Damaged.
    OSError
        It cannot be read.
    """
    with _naming_damage(f"{source}: damaged"), Image.open(source) as image:
        return np.asarray(image.convert("RGB"))


@contextlib.contextmanager
def _naming_damage(text: str) -> Iterator[None]:
    """Raise UserError of that text where Pillow finds damage."""
    try:
        yield
    except DAMAGE as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"{text} ({reason})") from error


def _read_timing(image: Image.Image) -> _Timing:
    delays, transparent = [], False
    tags: dict[str, object] = {}
    for number in range(getattr(image, "n_frames", 1)):
        image.seek(number)
        frame = image.convert("RGBA")  # WebP knows a delay when the frame is decoded
        delays.append(float(image.info.get("duration", 0)))
        low = frame.getchannel("A").getextrema()[0]
        transparent |= isinstance(low, (int, float)) and low < 255
        if number == 0:
            tags = {str(key): value for key, value in image.info.items()}
    if image.format == "AVIF":
        tags["loop"] = 0  # for ever, as all show it; Pillow does not say
    return _Timing(delays, transparent, tags)


def _delays(timing: _Timing, kind: str) -> list[float] | list[int]:
    """Return the delays of the frames that are shown, in milliseconds."""
    shown = timing.delays
    if kind == "PNG" and timing.tags.get("default_image"):
        shown = shown[1:]
    return shown if kind == "PNG" else [round(delay) for delay in shown]


def _check_memory(source: Path, frames: int, size: tuple[int, int], scale: float) -> None:
    needed = WRITER_COPIES * frames * 4 * scale**2 * size[0] * size[1]
    if needed > physical_bytes():
        raise UserError(
            f"{source}: about {needed / 1e9:.1f} GB of memory for {counted(frames, 'frame')}, and "
            "this machine has less: as a clip (MP4, MKV) it goes frame by frame"
        )


def _enlarged_frames(
    image: Image.Image,
    timing: _Timing,
    nets: Sequence[SRCNN],
    scale: float,
    kind: str,
    report: Callable[[int, int], None],
) -> Iterator[Image.Image]:
    for number in range(len(timing.delays)):
        image.seek(number)
        samples = np.asarray(image.convert("RGBA" if timing.transparent else "RGB"))
        alpha = samples[..., 3] if timing.transparent else None
        pixels, alpha = enlarge(samples[..., :3], alpha, nets, scale)
        report(number + 1, len(timing.delays))
        if kind == "GIF":
            yield _with_palette(pixels, alpha)
        else:
            both = pixels if alpha is None else np.dstack([pixels, alpha])
            yield Image.fromarray(both)


def _with_palette(pixels: np.ndarray, alpha: np.ndarray | None) -> Image.Image:
    """Return a frame of a GIF: colours of its own, and one for what is transparent."""
    if alpha is None:
        return Image.fromarray(pixels).quantize(GIF_COLORS + 1)
    hidden = alpha < HALF_OPAQUE
    colors = pixels.copy()
    colors[hidden] = 0
    frame = Image.fromarray(colors).quantize(GIF_COLORS)
    indices = np.array(frame)
    indices[hidden] = GIF_COLORS
    result = Image.fromarray(indices, "P")
    palette = frame.getpalette() or []
    result.putpalette(palette + [0] * (3 * (GIF_COLORS + 1) - len(palette)))
    result.info["transparency"] = GIF_COLORS
    return result
