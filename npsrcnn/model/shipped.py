"""List the weights that ship with npsrcnn, and choose among them by what their files say."""

from __future__ import annotations

import itertools
import math
import re
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from npsrcnn.errors import UserError
from npsrcnn.model_files import Facts, npz, shape_of

FOLDER = Path(__file__).resolve().parents[1] / "weights"
MOST_STEPS = 3  # of a chain: x4 three times is x64
HOW_TO_TRAIN = "`npsrcnn train` trains one in minutes (see --help)"


@dataclass(frozen=True)
class Model:
    """A file of weights, and the facts in it."""

    path: Path
    facts: Facts
    network: str
    weights: int

    @cached_property
    def name(self) -> str:
        """The name that :func:`npsrcnn.load` knows it by."""
        return self.path.stem

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
        """Mean PSNR in dB on "Set5" and "Set14", as measured when it was made."""
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
            ("name", "network", "scale", "color", "weights", "Set5", "Set14", "data", "licence")
        ]
        rows += [
            (
                m.name,
                m.network,
                f"x{m.scale}",
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
                cell.rjust(width) if 4 <= i <= 6 else cell.ljust(width)
                for i, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in rows
        )


def models() -> Models:
    """List the weights that ship: name, network, scale, colour, size, PSNR, data and licence.

    Returns a list of :class:`Model` that shows itself as a table; all is read from the files.
    """
    found = Models()
    for path in sorted(FOLDER.glob("*.npz"), key=lambda path: _natural(path.stem)):
        try:
            layers, facts = npz.read(path)
        except UserError as error:
            raise UserError(f"{path}: {error}") from error
        network = shape_of(layers)["network"]
        found.append(Model(path, facts, network, sum(w.size + b.size for w, b in layers)))
    return found


def path_of(name: str) -> Path:
    """Return the file of the shipped weights of that name.

    Raises
    ------
    UserError
        There are none; says which there are.
    """
    path = FOLDER / f"{name}.npz"
    if path.parent == FOLDER and path.exists():
        return path
    names = [model.name for model in models()]
    there_are = f"the models that ship are {', '.join(names)}" if names else "none ship"
    raise UserError(f"no file and no model {name!r}: {there_are}; {HOW_TO_TRAIN}")


def best_for(scale: float, color: str | None = None) -> str:
    """Return the name of the weights for a scale that did best on their validation images.

    Raises
    ------
    UserError
        None ship for that scale; says for which, and how to train one.
    """
    there = models()
    fitting = [m for m in there if m.scale == scale and color in (None, m.color)]
    if not fitting:
        scales = ", ".join(f"x{s}" for s in sorted({m.scale for m in there}))
        only = f" (only for {scales})" if scales else ""
        raise UserError(
            f"no weights for x{scale:g} ship{only}: give --model FILE; "
            "`npsrcnn train` makes one in minutes (see --help)"
        )
    return max(fitting, key=lambda m: m.psnr_validation).name


def chain_for(scale: float) -> list[str]:
    """Return names of weights to enlarge with one after the other, for any scale above 1.

    The best for the scale, if there are; else those whose scales multiply to the scale, or to
    the least above it, in as few steps as can be, the smallest first: what is left is for
    bicubic interpolation. (With the authors' weights x8 as x2 and x4 is 0.1 dB better on Set5
    than as x4 and x2, and 1.1 dB better than bicubic interpolation.)

    Raises
    ------
    UserError
        No weights ship, or ``scale`` is not above 1.
    """
    if not 1 < scale < math.inf:
        raise UserError(f"scale {scale:g}: to enlarge, it is a number above 1")
    scales = sorted({m.scale for m in models() if m.color == "y"})
    if scale in scales or not scales:
        return [best_for(scale)]
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
    return [best_for(step, color="y") for step in chain]


def _natural(name: str) -> list[int | str]:
    """Return a key that sorts x2 before x10."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]
