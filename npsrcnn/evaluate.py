"""`python -m npsrcnn.evaluate`: how much better than bicubic, in the paper's own protocol.

Each image is cropped so that it divides by the scale, made smaller by bicubic interpolation,
enlarged again to its size by bicubic interpolation and by the method, and both are compared with
the original: PSNR and SSIM of Y, rounded to 8 bits, as many pixels as the scale shaved from every
side. With the authors' weights this gives the figures of their papers.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import math
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from npsrcnn import commands, images, model_files
from npsrcnn.color import rgb2ycbcr
from npsrcnn.ensemble import ensemble
from npsrcnn.errors import UsageError, UserError
from npsrcnn.kernels import DEVICES, PADDINGS
from npsrcnn.network import SRCNN
from npsrcnn.protocol import PEAK, Prepared, prepare, protocol
from npsrcnn.sparse_coding import methods
from npsrcnn.upscale import choose_models, enlarge, steps_of

KEYS = ("psnr_bicubic", "psnr", "ssim_bicubic", "ssim")
COLOR_KEYS = ("cb", "cr", "ycbcr", "rgb")


# A method enlarges: from what a Prepared offers (low, bicubic, scale) to Y, (H, W), or to Y, Cb
# and Cr, (H, W, 3), floats in 0..1. It must not look at picture or truth.
Method = Callable[[Prepared], np.ndarray]


def by_network(net: SRCNN) -> Method:
    """The method that a network is, for any colours that it works in."""

    def restore(image: Prepared) -> np.ndarray:
        if net.color == "y":
            return net.forward(image.bicubic)
        blurred = image.bicubic_rgb if net.color == "rgb" else image.bicubic_ycbcr
        restored = net.forward(blurred.transpose(2, 0, 1)[None])[0].transpose(1, 2, 0)
        if net.color == "ycbcr":
            return restored
        if image.picture.ndim == 2:
            return restored.mean(axis=2)
        return rgb2ycbcr(restored.clip(0, 1))

    return restore


def by_steps(nets: Sequence[SRCNN]) -> Method:
    """Several networks in turn, from the small image on; see :func:`npsrcnn.upscale.steps_of`."""

    def restore(image: Prepared) -> np.ndarray:
        return enlarge(image.low.astype(np.float32), None, nets, image.scale)[0]

    return restore


def mean_psnr(net: SRCNN, prepared: Sequence[Prepared]) -> tuple[float, float]:
    """Mean PSNR in dB of Y over images: by the network, and by bicubic interpolation."""
    method = by_network(net)
    restored = [image.psnr(_luma_of(method(image))) for image in prepared]
    return float(np.mean(restored)), float(np.mean([image.psnr_bicubic for image in prepared]))


def score(image: Prepared, restored: np.ndarray, color: bool = False) -> dict[str, Any]:
    """One image's row: its name, then PSNR and SSIM of Y, bicubic and restored.

    With ``color``, also PSNR of Cb, Cr, YCbCr and RGB (see :meth:`Prepared.psnr_color`), unless
    the image is grey. Of a method that restores Y alone, Cb and Cr are bicubic.
    """
    y = _luma_of(restored)
    row = {
        "name": image.name,
        "psnr_bicubic": image.psnr_bicubic,
        "psnr": image.psnr(y),
        "ssim_bicubic": image.ssim_bicubic,
        "ssim": image.ssim(y),
    }
    if color and image.picture.ndim == 3:
        for suffix, ycbcr in (("_bicubic", image.bicubic_ycbcr), ("", in_color(image, restored))):
            scores = image.psnr_color(ycbcr)
            row |= {f"psnr_{key}{suffix}": value for key, value in scores.items()}
    return row


def in_color(image: Prepared, restored: np.ndarray) -> np.ndarray:
    """(H, W, 3): Y, Cb and Cr as restored; Cb and Cr bicubic where only Y was."""
    if restored.ndim == 3:
        return restored
    return np.concatenate([restored[..., None], image.bicubic_ycbcr[..., 1:]], axis=2)


def summary(scale: int, edge: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The whole result: scale, protocol, all rows, and their mean."""
    keys = list(dict.fromkeys(key for row in rows for key in row if key != "name"))
    mean = {key: float(np.mean([row[key] for row in rows if key in row])) for key in keys}
    return {"scale": scale, "protocol": protocol(scale, edge), "images": rows, "mean": mean}


def evaluate(
    method: SRCNN | Method, folder: str | Path, scale: int, edge: str = "clamp",
    color: bool | None = None,
) -> dict[str, Any]:  # fmt: skip
    """PSNR and SSIM of a network, or another method, on the images of a folder.

    Parameters
    ----------
    method
        A network, or a function from a :class:`Prepared` to Y or YCbCr.
    folder
        A folder of images, or one image.
    scale
        2 or more.
    edge
        "clamp" (the paper) or "mirror" (newer MATLAB): bicubic interpolation at the edge.
    color
        Measure Cb, Cr and RGB as well. Default: for networks of three channels.

    Returns
    -------
    dict
        {"scale", "protocol", "images": [{"name", "psnr_bicubic", "psnr", "ssim_bicubic",
        "ssim"}, ...], "mean": {the same keys}}; PSNR in dB.

    Raises
    ------
    UserError
        No such folder, no images, one that cannot be read or is too small; a network that was
        trained for another scale.
    """
    if isinstance(method, SRCNN):
        choose_models(method, scale)  # refuses a network for another scale
        color = method.channels == 3 if color is None else color
        method = by_network(method)
    prepared = (read(path, scale, edge) for path in paths_of(folder))
    return summary(scale, edge, [score(p, method(p), bool(color)) for p in prepared])


def paths_of(data: str | Path) -> list[Path]:
    """The images of a folder, a pattern (folder/a*.png), a set by name (set5, t91), or a file."""
    path = Path(data)
    if path.is_file():
        return [path]
    if "*" in path.name and (found := sorted(path.parent.glob(path.name))):
        return found
    if not path.exists():
        from npsrcnn import datasets

        path = datasets.find(str(data))
    return images.list_images(path)


def read(path: Path, scale: int, edge: str = "clamp") -> Prepared:
    """Read an image file and prepare it."""
    return prepare(images.read_array(path), scale, edge, path.name)


def _luma_of(restored: np.ndarray) -> np.ndarray:
    return restored if restored.ndim == 2 else restored[..., 0]


# The command


def _network(options: argparse.Namespace) -> tuple[Method, int, str, bool]:
    """--method srcnn: the method, its scale, its title, and whether it restores colour."""
    if options.model is None and options.scale is None:
        raise UsageError("give --scale, or --model, or both")
    names = [options.model] if options.model else model_files.chain_for(options.scale)
    device = commands.device_of(options)
    nets = [model_files.load(name, device, options.padding) for name in names]
    scale = options.scale
    if options.model:
        nets, scale = choose_models(nets[0], scale)
    if scale != int(scale):
        raise UsageError(f"{names[0]} is for x{scale:g}: the protocol is for whole scales")
    steps = steps_of(nets, scale)
    words = []
    for name, net, step in zip(names, nets, steps, strict=False):
        edges = "replicated" if net.padding == "replicate" else "zero"
        which = f"x{step:g} by " if len(steps) > 1 else ""
        words.append(f"{which}SRCNN {net.name} ({name}, edges {edges})")
    if len(steps) > len(nets):
        words.append(f"x{steps[-1]:.4g} by bicubic interpolation")
    if options.ensemble:
        nets = [ensemble(net) for net in nets]
        words.append("mean over 8 orientations")
    method = by_network(nets[0]) if len(steps) == 1 else by_steps(nets)
    return method, int(scale), ", ".join(words), len(steps) == 1 and nets[0].channels == 3


def _by_patches(options: argparse.Namespace) -> tuple[Method, int, str, bool]:
    """Any other --method: the super-resolver, trained on --train-data unless it was before."""
    given = [name for name in ("model", "padding", "ensemble") if getattr(options, name)]
    if commands.device_of(options) != "cpu":
        given.append("device")
    if given:
        raise UsageError(f"--{given[0]} is for --method srcnn, not {options.method}")
    if options.scale is None:
        raise UsageError(f"--method {options.method} needs --scale")
    if options.train_data == "dead-leaves":
        from npsrcnn import datasets

        pictures = [prepare(image, options.scale) for image in datasets.dead_leaves()]
    else:
        pictures = [read(path, options.scale) for path in paths_of(options.train_data)]
    sharp = [picture.truth / np.float32(PEAK) for picture in pictures]
    made = methods.super_resolver(
        options.method, sharp, options.scale, cache=methods.default_cache()
    )
    title = f"{methods.TITLES[options.method]}, trained on {options.train_data}"
    return lambda image: made.forward(image.bicubic), options.scale, title, False


# Another method registers here: a name, and a function from the options to what _network returns.
METHODS: dict[str, Callable[[argparse.Namespace], tuple[Method, int, str, bool]]] = {
    "srcnn": _network,
    **dict.fromkeys(methods.TITLES, _by_patches),
}


def make_parser() -> argparse.ArgumentParser:
    """The options of the command."""
    parser = commands.parser(
        "npsrcnn.evaluate", "Measure PSNR and SSIM in the paper's protocol.", __doc__
    )
    parser.add_argument(
        "--data",
        required=True,
        metavar="FOLDER",
        help="images to measure on: a folder, an image, or set5, set14, t91",
    )
    parser.add_argument(
        "--scale", type=_scale, metavar="S", help="enlargement (default: the model's)"
    )
    parser.add_argument(
        "--model",
        metavar="MODEL",
        help="a file, or the name of weights that ship (default: the best for the scale)",
    )
    parser.add_argument(
        "--method",
        choices=tuple(METHODS),
        default="srcnn",
        help="srcnn (default), or a super-resolver by patches, trained when first asked for",
    )
    parser.add_argument(
        "--train-data",
        default="t91",
        metavar="FOLDER",
        help="what the others are trained on: t91 (default), a folder, or dead-leaves",
    )
    parser.add_argument(
        "--edge",
        choices=("clamp", "mirror"),
        default="clamp",
        help="of bicubic interpolation: clamp (the paper) or mirror (newer MATLAB)",
    )
    parser.add_argument(
        "--color",
        action="store_true",
        help="PSNR of Cb, Cr and RGB as well, as in the paper's Table 5",
    )
    parser.add_argument(
        "--padding", choices=PADDINGS, help="of the network's layers (default: as the model says)"
    )
    parser.add_argument(
        "--ensemble",
        action="store_true",
        help="the mean over eight orientations: better, and eight times as slow",
    )
    parser.add_argument("--device", choices=DEVICES, default="cpu")
    parser.add_argument(
        "--cuda",
        action="store_const",
        const="cuda",
        dest="device",
        help="the same as --device cuda",
    )
    commands.add_precision(parser)
    result = parser.add_argument_group("results in files")
    result.add_argument("--json", metavar="FILE", help="all figures as JSON; - is the output")
    result.add_argument("--csv", metavar="FILE", help="the same as CSV; - is the output")
    result.add_argument(
        "--save",
        type=Path,
        metavar="FOLDER",
        help="the enlarged images, and a crop of each beside bicubic and original; of a.jpg and"
        " a.png the first is a_jpg",
    )
    return parser  # fmt: skip


def _scale(text: str) -> int:
    value = commands.positive_int(text)
    if not 2 <= value <= 16:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 2 to 16")
    return value


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; see ``--help``."""
    return commands.run(make_parser, run, argv)


def run(options: argparse.Namespace) -> int:
    """Measure image by image, print as it goes, write what was asked for."""
    if options.json == options.csv == "-":
        raise UsageError("--json - and --csv - cannot both be the output")
    for file in (options.json, options.csv):
        if file and file != "-":
            commands.check_writable(file)
    method, scale, title, color = METHODS[options.method](options)
    color = color or options.color
    paths = paths_of(options.data)
    if options.save:
        from npsrcnn import comparison

        files = comparison.files_of(paths, options.save, options.method)
        options.save.mkdir(parents=True, exist_ok=True)
    text = sys.stderr if "-" in (options.json, options.csv) else sys.stdout
    print(f"{title}\n{protocol(scale, options.edge)}\n", file=text)
    table = Table(max(len(path.name) for path in paths), color, text)
    rows, failed = [], 0
    for path, image in zip(paths, _readable(paths, scale, options.edge), strict=True):
        if image is None:
            failed += 1
            continue
        restored = method(image)
        rows.append(score(image, restored, color))
        table.row(rows[-1])
        if options.save:
            comparison.save(files[path], options.method, image, restored, rows[-1])
    if not rows:
        raise UserError(f"{options.data}: none of its {len(paths)} images can be measured")
    result = summary(scale, options.edge, rows)
    table.row({"name": "mean", **result["mean"]})
    if color:
        print("\nYCbCr: of the three together, which TPAMI Table 5 calls RGB", file=text)
    if options.json:
        _write(options.json, json.dumps(_for_json(result), indent=1) + "\n")
    if options.csv:
        _write(options.csv, _as_csv(result))
    if options.save:
        print(f"\nimages in {options.save.resolve()}", file=text)
    if failed:
        print(f"{failed} of {len(paths)} images could not be measured", file=sys.stderr)
    return 1 if failed else 0


def _readable(paths: Iterable[Path], scale: int, edge: str) -> Iterator[Prepared | None]:
    """Each image prepared, or None and a line for one that cannot be."""
    for path in paths:
        try:
            yield read(path, scale, edge)
        except (UserError, OSError, MemoryError) as error:
            print(f"skipped: {commands.describe(error)}", file=sys.stderr)
            yield None


class Table:
    """Prints rows as they come, under a head that fits them."""

    def __init__(self, width: int, color: bool, file: io.TextIOBase) -> None:
        self.width, self.color, self.file = max(width, 5), color, file
        head = ["bicubic", "PSNR", "gain", "bicubic", "SSIM", "gain"]
        if color:
            head += ["bicubic", "Cb", "bicubic", "Cr", "bicubic", "YCbCr", "bicubic", "RGB"]
        print(f"{'image':{self.width}}  " + " ".join(f"{h:>7}" for h in head), file=file)

    def row(self, row: dict[str, Any]) -> None:
        """One image, or the mean."""
        cells = []
        for kind, digits in (("psnr", 3), ("ssim", 4)):
            before, after = row[f"{kind}_bicubic"], row[kind]
            gain = after - before if math.isfinite(after - before) else 0.0
            cells += [f"{before:7.{digits}f}", f"{after:7.{digits}f}", f"{gain:+7.{digits}f}"]
        for key in COLOR_KEYS if self.color else ():
            for name in (f"psnr_{key}_bicubic", f"psnr_{key}"):
                cells.append(f"{row[name]:7.3f}" if name in row else f"{'-':>7}")
        print(f"{row['name']:{self.width}}  " + " ".join(cells), file=self.file, flush=True)


def _for_json(value: Any) -> Any:
    """The same with None for infinite PSNR, which JSON does not know."""
    if isinstance(value, dict):
        return {key: _for_json(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_for_json(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _as_csv(result: dict[str, Any]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, ["name", *result["mean"]], lineterminator="\n")
    writer.writeheader()
    writer.writerows([*result["images"], {"name": "mean", **result["mean"]}])
    return text.getvalue()


def _write(target: str, text: str) -> None:
    if target == "-":
        sys.stdout.write(text)
        return
    with commands.write_atomically(target) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


if __name__ == "__main__":
    sys.exit(main())
