"""List the weights that ship with npsrcnn, and choose among them by what their files say."""

from __future__ import annotations

import difflib
import itertools
import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

from npsrcnn.errors import UserError
from npsrcnn.model_files import Facts, npz
from npsrcnn.pixels.jpeg import strength_of_quality

FOLDER = Path(__file__).resolve().parents[1] / "weights"
NAME_WITH_QUALITY = re.compile(r"(.+)-q(\d{1,3})")
CLEAN_SHARE = 0.45
"""Of the strength of the weakest compression that weights are for: up to which pictures are taken
as never compressed. At x2 weights for quality 91 and clean ones are equal between 95 and 96, on
Set5, Set14 and BSDS500; at x1 those for 83 gain 0.3 dB at 92, and lose 0.1 at 93, on LIVE1."""
FAST = "fast-"  # begins the names of weights with few maps
CHROMA = "chroma"  # the family that restores Cb and Cr, and leaves Y as it is
CLIPS = "-clips"  # ends the names of weights for frames of clips
MOST_STEPS = 3  # of a chain: x4 three times is x64
HOW_TO_TRAIN = "`npsrcnn train` trains one in minutes (see --help)"


@dataclass(frozen=True)
class Model:
    """A file of weights, and the facts in it."""

    path: Path
    facts: Facts

    @cached_property
    def name(self) -> str:
        """The name that :func:`npsrcnn.load` knows it by."""
        return self.path.stem

    @property
    def family(self) -> str:
        """The name without a quality: of 9-5-5-x2-q75 and of 9-5-5-x2 it is 9-5-5-x2."""
        match = NAME_WITH_QUALITY.fullmatch(self.name)
        return match[1] if match else self.name

    @property
    def network(self) -> str:
        """The filter sizes, "9-1-5"."""
        return str(self.facts["network"])

    @property
    def weights(self) -> int:
        """How many weights and biases it has."""
        channels = self.facts["channels"]
        sizes = [int(size) for size in self.network.split("-")]
        widths = [channels, *self.facts["n"], channels]
        return sum(
            outputs * (inputs * size**2 + 1)
            for size, inputs, outputs in zip(sizes, widths[:-1], widths[1:], strict=True)
        )

    @property
    def quality(self) -> int | None:
        """The JPEG quality of the pictures that it was trained for; None: never compressed."""
        return self.facts.get("quality")

    @property
    def crf(self) -> int | None:
        """The CRF of the clips that it was trained for; None: it is for pictures."""
        return self.facts.get("crf")

    @property
    def strength(self) -> float:
        """The strength of that compression: see :mod:`npsrcnn.pixels.jpeg`; 0 of none."""
        return 0.0 if self.quality is None else strength_of_quality(self.quality)

    @property
    def scale(self) -> int:
        """The enlargement that it was trained for."""
        scale: int = self.facts["scale"]
        return scale

    @property
    def color(self) -> str:
        """ "y", "rgb" or "ycbcr"."""
        return str(self.facts.get("color", "y"))

    @property
    def data(self) -> str:
        """The data it was trained on; "10 x T91": each image of it ten times as often."""
        data = self.facts.get("data", "")
        if not isinstance(data, list):
            return str(data)
        return ", ".join(f"{n} x {name}" if n > 1 else name for name, n in Counter(data).items())

    @property
    def licence(self) -> str:
        """The licence of the images that it was trained on."""
        return str(self.facts.get("licence", ""))

    @property
    def psnr(self) -> dict[str, float]:
        """Mean PSNR in dB on "Set5" and "Set14", compressed if it is for that, when it was made."""
        psnr: dict[str, float] = self.facts.get("psnr", {})
        return psnr

    @property
    def psnr_validation(self) -> float:
        """Mean PSNR in dB on the images by which it was chosen, none of them of Set5 or Set14."""
        return float(self.facts.get("psnr_validation", "-inf"))


class Models(list[Model]):
    """A list of models that shows itself as a table."""

    def __repr__(self) -> str:
        if not self:
            return f"no weights are installed; {HOW_TO_TRAIN}"
        rows: list[tuple[str, ...]] = [
            (
                "name",
                "network",
                "scale",
                "for",
                "color",
                "weights",
                "Set5",
                "Set14",
                "data",
                "licence",
            )
        ]
        rows += [
            (
                m.name,
                m.network,
                f"x{m.scale}",
                "clips" if m.crf is not None else "-" if m.quality is None else f"q{m.quality}",
                m.color,
                f"{m.weights:,}",
                *(f"{m.psnr[s]:.2f}" if s in m.psnr else "-" for s in ("Set5", "Set14")),
                m.data,
                m.licence,
            )
            for m in self
        ]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        return "\n".join(
            "  ".join(
                cell.rjust(width) if 5 <= i <= 7 else cell.ljust(width)
                for i, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in rows
        )


def models() -> Models:
    """List the weights that ship: name, network, scale, colour, size, PSNR, data and licence.

    Returns a list of :class:`Model` that shows itself as a table; all is read from the files.
    """
    found = Models()
    for path in sorted(FOLDER.glob("[!.]*.npz"), key=lambda path: _natural(path.stem)):
        try:
            file = path.stat()
            facts = dict(_read_facts(path, file.st_mtime_ns, file.st_size))
            if missing := {"network", "channels", "n", "scale"} - facts.keys():
                raise UserError(f"says nothing of {', '.join(sorted(missing))}")
        except UserError as error:
            raise UserError(f"{path}: {error}") from error
        found.append(Model(path, facts))
    return found


@lru_cache(maxsize=256)
def _read_facts(path: Path, _modified: int, _size: int) -> Facts:
    """Read facts once, until the file changes: of all files that ship they take 12 ms."""
    return npz.read_facts(path)


def anchors(family: str) -> list[Model]:
    """List the weights of a family, by the strength of the compression that they restore.

    The first is for pictures that were never compressed, where there is one. Between two
    neighbours any quality has its network: see :mod:`npsrcnn.model.interpolation`.
    """
    return sorted((m for m in models() if m.family == family), key=lambda m: m.strength)


def path_of(name: str) -> Path:
    """Return the file of the shipped weights of that name.

    Raises
    ------
    UserError
        There are none; says which are named alike.
    """
    path = FOLDER / f"{name}.npz"
    if path.parent == FOLDER and path.exists():
        return path
    alike = difflib.get_close_matches(name, [model.name for model in models()])
    meant = f" ({', '.join(alike)}?)" if alike else ""
    raise UserError(
        f"no file and no model {name!r}{meant}: `npsrcnn models` lists what ships, {HOW_TO_TRAIN}"
    )


def best_for(
    scale: float, color: str | None = None, quality: float | None = None, fast: bool = False
) -> str:
    """Return the name of the weights for a scale that did best on their validation images.

    Parameters
    ----------
    scale
        1 restores compressed pictures at their size.
    color
        "y", "rgb" or "ycbcr"; None: any.
    quality
        JPEG quality of the pictures, 1 to 100; None: never compressed.
    fast
        Weights with few maps.

    Returns
    -------
    str
        A name that :func:`npsrcnn.load` takes; with a quality it ends in one, as 9-5-5-x2-q62.

    Raises
    ------
    UserError
        None ship for that; says for which scales, and how to train one.
    """
    there = [m for m in _restoring_y(fast) if (m.quality is None) == (quality is None)]
    fitting = [m for m in there if m.scale == scale and color in (None, m.color)]
    if not fitting:
        scales = ", ".join(f"x{s}" for s in sorted({m.scale for m in there}))
        only = f" (only for {scales})" if scales else ""
        kind = "fast weights" if fast else "weights"
        sources = "" if quality is None else " and compressed pictures"
        raise UserError(
            f"no {kind} for x{scale:g}{sources} ship{only}: give --model FILE; "
            "`npsrcnn train` makes one in minutes (see --help)"
        )
    best = max(fitting, key=lambda m: m.psnr_validation)
    if quality is None:
        return best.name
    return f"{best.family}-q{min(100, max(1, round(quality)))}"


def chain_for(scale: float, quality: float | None = None, fast: bool = False) -> list[str]:
    """Return names of weights to enlarge with one after the other, for any scale from 1 on.

    The best for the scale, if there are; else those whose scales multiply to the scale, or to
    the least above it, in as few steps as can be, the smallest first: what is left is for
    bicubic interpolation. (With the authors' weights x8 as x2 and x4 is 0.1 dB better on Set5
    than as x4 and x2, and 1.1 dB better than bicubic interpolation.) What the first has restored
    the others take as never compressed. Parameters are those of :func:`best_for`.

    Raises
    ------
    UserError
        No weights ship, or ``scale`` is below 1, or it is 1 and there is nothing to restore.
    """
    if not 1 <= scale < math.inf:
        raise UserError(f"scale {scale:g}: to enlarge, it is at least 1")
    restorers = [m for m in _restoring_y(fast) if m.scale == 1]
    if scale == 1 and (quality is None or not _is_worth_restoring(quality, restorers)):
        was = "not compressed" if quality is None else f"compressed at quality {quality:.0f} only"
        raise UserError(
            f"scale 1 restores compressed pictures, and this was {was}: "
            "give a larger scale, or --source-quality"
        )
    clean = [m for m in _restoring_y(fast) if m.quality is None]
    scales = sorted({m.scale for m in clean if m.color == "y"})
    if scale == 1 or scale in scales or not scales:
        return [best_for(scale, quality=quality, fast=fast)]
    chains = [
        chain
        for steps in range(1, MOST_STEPS + 1)
        for chain in itertools.combinations_with_replacement(scales, steps)
    ]
    enough = [chain for chain in chains if math.prod(chain) >= scale]
    if enough:
        chain = min(enough, key=lambda chain: (math.prod(chain), len(chain)))
    else:
        chain = max(chains, key=math.prod)
    first, *rest = chain
    return [
        best_for(first, "y", quality, fast),
        *(best_for(step, "y", fast=fast) for step in rest),
    ]


def chroma_for(quality: float) -> list[str]:
    """Return the name of the weights that restore Cb and Cr at the picture's own size, if any do.

    They see Y beside them, and leave it to the network for the scale. On Set5, quality 75, x2, RGB
    gains 0.21 dB by them.
    """
    there = anchors(CHROMA)
    if not there or not _is_worth_restoring(quality, there):
        return []
    return [f"{CHROMA}-q{min(100, max(1, round(quality)))}"]


def clips_for(scale: float, fast: bool = False) -> str | None:
    """Return the name of the weights for frames of clips, H.264's and its kin's; None: none ship.

    They are for Y, and for compression as of x264 at CRF 19 to 33; see
    :mod:`npsrcnn.video.restoring`.
    """
    there = [m for m in models() if m.crf is not None and m.name.startswith(FAST) == fast]
    fitting = [m for m in there if m.scale == scale]
    return max(fitting, key=lambda m: m.psnr_validation).name if fitting else None


def _restoring_y(fast: bool) -> list[Model]:
    """List the weights for pictures that enlarge, or restore at scale 1."""
    there = [m for m in models() if m.family != CHROMA and m.crf is None]
    return [m for m in there if m.name.startswith(FAST) == fast]


def _is_worth_restoring(quality: float, there: Sequence[Model]) -> bool:
    """Whether a picture of that quality gains by the weights for compressed ones."""
    weakest = min((m.strength for m in there), default=0.0)
    return strength_of_quality(quality) > CLEAN_SHARE * weakest


def _natural(name: str) -> list[int | str]:
    """Return a key that sorts x2 before x10."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]
