"""How a network is laid out for fused inference: which stages, in which pieces, in what memory.

A network of L layers becomes L stages. Level l is what stage l reads: level 0 the image, level L
what the last stage writes. A thread takes a piece of the image, which is a band of a strip of
columns, and runs all stages down it row by row, keeping of every level only the few rows that
the next stage still needs. So the memory does not grow with the image, and stays in the
processor's second-level cache.

The last layer has one or three maps, too few to feed a tile. Its filter rows become maps: a
stage of filters one row high, ``O * K`` of them, whose maps, each shifted to its row, are summed
at the end. That also spares keeping rows of its input.

Where some stage is Winograd's, a row is kept in four phases: its column ``u = 4 t + p`` lies at
``[p, t]``, so that the transforms, which step by four pixels, read vectors along t. Stages of the
direct kind do not mind: they learn from a table of offsets where each tap lies. All such
arithmetic with columns is done here, once for an image, and left in tables for the kernel.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from npsrcnn.kernels import winograd
from npsrcnn.kernels.tiles import FEW_ROWS, LANES, LINEAR, RELU, ROWS, VECTORS, pack, round_up

CACHE = 100_000
"""Floats that the rows of one piece may take: strips are as wide as a second-level cache allows."""


def _record(*names: str) -> np.dtype:
    return np.dtype([(name, np.int64) for name in names])


STAGE = _record(
    "channels",  # maps it reads
    "maps",  # maps it writes, filled up to whole tiles
    "height",  # of its filters
    "width",
    "above",  # rows of the filter above its output
    "left",  # columns of the filter left of its output
    "winograd",  # filter size if it runs as Winograd's, else 0
    "rows",  # maps of a tile
    "act",
    "weights",  # where they start
    "biases",
)
LEVEL = _record(
    "slots",  # rows kept; one more holds zeros
    "slot",  # floats of a row, all channels
    "start",  # where they start
    "taps",  # table: where the taps of the stage that reads it lie, for each phase of its output
)
PIECE = _record(
    "image", "y0", "y1", "x0", "x1",  # what it computes
    "source",  # table: for each place of a row of level 0, its column of the image; zero: -1
    "target",  # table: for each column it computes, its place in a row
)  # fmt: skip
SPAN = _record(  # of one level in one piece
    "next",  # the next row to compute
    "end",  # and where to stop
    "runs",  # table: for each phase first t to compute and how many, filled up to whole vectors
    "pads",  # table: places beyond the image's edges; then the places of what is to be there
    "padded",  # how many
)
SETUP = _record(
    "top", "bottom",  # rows of the image, in its own or a larger one's coordinates
    "zeros",  # 1: zeros beyond the edges, 0: the nearest pixel
    "phases", "width",  # floats of a phase
    "work", "size",  # floats: where the stages' working memory starts; all memory
    "taps",  # of the largest stage
    "outputs", "last",  # maps and filter size of the last layer
)  # fmt: skip

Layers = list[tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Plan:
    """A network ready to run: its stages, and all weights as the tiles read them."""

    stages: np.ndarray  # (L,) of STAGE
    weights: np.ndarray  # (floats,) float32
    biases: np.ndarray  # (floats,) float32: zeros, then each stage's, at the end the last layer's
    outputs: int  # maps of the last layer
    last: int  # filter size of the last layer
    phases: int

    def levels(self, width: int) -> np.ndarray:
        """Where the rows of each level lie, (L+1,) of LEVEL, ``width`` floats a phase."""
        levels = np.zeros(len(self.stages) + 1, LEVEL)
        start, burst, channels = 0, 1, int(self.stages[0]["channels"])
        for level, stage in zip(levels, [*self.stages, None], strict=True):
            window = self.last if stage is None else int(stage["height"])
            if stage is not None and stage["winograd"]:
                window += winograd.STEP - 1
            level["slots"] = window + burst - 1
            level["slot"] = channels * self.phases * width
            level["start"] = start
            start += (level["slots"] + 1) * level["slot"]
            if stage is not None:
                channels = int(stage["maps"])
                burst = winograd.STEP if stage["winograd"] else 1
        return levels

    def working_floats(self, width: int) -> int:
        """Memory that one stage at a time needs for itself."""
        most = self.phases * width
        for stage in self.stages[self.stages["winograd"] > 0]:
            points, step = int(stage["winograd"]) + winograd.STEP - 1, winograd.STEP
            c, o = int(stage["channels"]), int(stage["maps"])
            rows_in = max(points * c * step, step * step * o)
            most = max(most, (rows_in + points * (c + o + step * o)) * width)
        return most + VECTORS * LANES


def make_plan(layers: Layers, use_winograd: bool = True) -> Plan:
    """Lay out ``layers`` [(w (O, C, K, K), b (O,)), ...]; ``use_winograd=False``: only direct."""
    stages = np.zeros(len(layers), STAGE)
    weights: list[np.ndarray] = []
    biases = [np.zeros(_most_maps(layers))]  # for sums that have none, or not yet
    for depth, (stage, (w, b)) in enumerate(zip(stages, layers, strict=True)):
        o, c, k, _ = w.shape
        last = depth == len(layers) - 1
        stage["channels"] = c if depth == 0 else stages[depth - 1]["maps"]
        stage["height"], stage["width"] = 1 if last else k, k
        stage["above"], stage["left"] = 0 if last else (k - 1) // 2, (k - 1) // 2
        stage["act"] = LINEAR if last else RELU
        stage["rows"] = FEW_ROWS if last else ROWS
        stage["weights"] = sum(map(len, weights))
        stage["biases"] = 0 if last else sum(map(len, biases))
        filled = np.zeros((o, stage["channels"], k, k), np.float32)  # maps filled up before it
        filled[:, :c] = w
        if last:
            filters = filled.transpose(2, 0, 1, 3).reshape(k * o, -1)  # (row, map), (C, column)
            stage["maps"] = round_up(k * o, FEW_ROWS)
            weights.append(pack(filters, FEW_ROWS))
            biases.append(np.asarray(b))
            continue
        stage["maps"] = round_up(o, ROWS)
        biases.append(np.pad(b, (0, int(stage["maps"]) - o)))
        if use_winograd and k in winograd.SIZES and min(o, c) >= 2 * ROWS:
            stage["winograd"] = k
            weights.append(winograd.transform_filters(filled))
        else:
            weights.append(pack(filled.reshape(o, -1), ROWS))
    return Plan(
        stages,
        np.concatenate(weights),
        np.concatenate(biases).astype(np.float32),
        outputs=layers[-1][0].shape[0],
        last=layers[-1][0].shape[2],
        phases=winograd.STEP if stages["winograd"].any() else 1,
    )


def _most_maps(layers: Layers) -> int:
    most = max(w.shape[0] for w, _ in layers)
    return round_up(max(most, layers[-1][0].shape[0] * layers[-1][0].shape[2]), FEW_ROWS * ROWS)


@dataclass(frozen=True)
class Job:
    """A plan applied to an image's shape: its pieces, and tables of where everything lies."""

    pieces: np.ndarray  # (pieces,) of PIECE
    spans: np.ndarray  # (pieces, L+1) of SPAN
    levels: np.ndarray  # (L+1,) of LEVEL
    setup: np.ndarray  # (1,) of SETUP
    tables: np.ndarray  # int64; the records say where each starts


class _Tables:
    """Tables one after the other in one array."""

    def __init__(self) -> None:
        self.parts: list[np.ndarray] = []
        self.length = 0

    def add(self, table: np.ndarray) -> int:
        """Append ``table``; -> where it starts."""
        start = self.length
        self.parts.append(table.ravel())
        self.length += table.size
        return start


def make_job(
    plan: Plan, shape: tuple[int, ...], padding: str, origin: tuple[int, int], threads: int
) -> Job:
    """Lay out images of ``shape`` (N, C, H, W) that lie at ``origin`` of a larger one.

    Results do not depend on how many pieces there are, so they may depend on ``threads``.
    """
    count, _, height, width = shape
    top, left = (start % winograd.STEP for start in origin)
    frame = (top, top + height, left, left + width)
    bands, strips = cut(plan, shape, threads)
    room = _phase_width(plan, max(x1 - x0 for x0, x1 in strips))
    levels, tables = plan.levels(room), _Tables()
    for level, stage in zip(levels, plan.stages, strict=False):
        level["taps"] = tables.add(_tap_places(plan, stage, room))
    pieces = np.zeros((count, len(bands), len(strips)), PIECE)
    spans = np.zeros((*pieces.shape, len(levels)), SPAN)
    pieces["image"] = np.arange(count)[:, None, None]
    for strip, (x0, x1) in enumerate(strips):
        _fill_columns(plan, frame, padding, room, x0 + left, x1 + left, tables,
                      pieces[:, :, strip], spans[:, :, strip])  # fmt: skip
    for band, (y0, y1) in enumerate(bands):
        _fill_rows(plan, frame, y0 + top, y1 + top, pieces[:, band], spans[:, band])
    work = int(levels[-1]["start"] + (levels[-1]["slots"] + 1) * levels[-1]["slot"])
    most_taps = int(np.max(plan.stages["channels"] * plan.stages["height"] * plan.stages["width"]))
    setup = (*frame[:2], padding == "zeros", plan.phases, room, work,
             work + plan.working_floats(room), most_taps, plan.outputs, plan.last)  # fmt: skip
    return Job(
        pieces.ravel(), spans.reshape(-1, len(levels)), levels, np.array([setup], SETUP),
        np.concatenate(tables.parts),
    )  # fmt: skip


def _place(plan: Plan, room: int, u: np.ndarray) -> np.ndarray:
    """Where column ``u`` of a row lies."""
    return u % plan.phases * room + u // plan.phases


def _tap_places(plan: Plan, stage: np.ndarray, room: int) -> np.ndarray:
    """Where the taps of a stage lie, less the start of their row, for t = 0.

    (phases, channels * height * width); for a Winograd stage (points,), of one channel.
    """
    if stage["winograd"]:
        points = np.arange(stage["winograd"] + winograd.STEP - 1)
        return _place(plan, room, points - stage["left"])
    u = np.arange(plan.phases)[:, None] + np.arange(stage["width"]) - stage["left"]
    channels = np.arange(stage["channels"])[:, None, None] * plan.phases * room
    places = _place(plan, room, u)[:, None, None, :] + channels
    return np.repeat(places, stage["height"], axis=2)


def _fill_columns(plan, frame, padding, room, x0, x1, tables, pieces, spans) -> None:
    """What a strip's pieces need of each level's columns, from the last level to the first."""
    phases, (left, right) = plan.phases, frame[2:]
    depth = len(plan.stages)
    needed = np.zeros((depth + 1, 2), np.int64)  # columns that the next stage reads
    computed = np.zeros((depth + 1, 2), np.int64)
    lo, hi = x0, x1
    for level in range(depth, -1, -1):
        needed[level] = lo, hi
        step = winograd.STEP if level and plan.stages[level - 1]["winograd"] else 1
        lo, hi = max(lo, left) // step * step, round_up(min(hi, right), step)
        computed[level] = lo, hi
        if level:
            stage = plan.stages[level - 1]
            lo, hi = lo - stage["left"], hi + stage["width"] - 1 - stage["left"]
    origin = needed.min() // phases * phases  # the column that lies at place 0
    for level in range(depth + 1):
        lo, hi = computed[level] - origin
        t0, t1 = -((np.arange(phases) - [[lo], [hi]]) // phases)
        runs = np.stack([t0, round_up(t1 - t0, LANES)], axis=1)
        outside = np.r_[needed[level, 0] : left, right : needed[level, 1]]
        pads = np.stack([outside, np.clip(outside, left, right - 1)]) - origin
        spans["runs"][:, :, level] = tables.add(runs)
        spans["pads"][:, :, level] = tables.add(_place(plan, room, pads))
        spans["padded"][:, :, level] = len(outside)
    columns = origin + np.arange(room) * phases + np.arange(phases)[:, None]
    source = np.clip(columns, left, right - 1)
    if padding == "zeros":
        source[source != columns] = left - 1
    pieces["source"] = tables.add(source - left)
    pieces["target"] = tables.add(_place(plan, room, np.arange(x0, x1) - origin))
    pieces["x0"], pieces["x1"] = x0 - left, x1 - left


def _fill_rows(plan, frame, y0, y1, pieces, spans) -> None:
    """What a band's pieces need of each level's rows, from the last level to the first."""
    top, bottom = frame[:2]
    lo, hi = y0 - (plan.last - 1) // 2, y1 + plan.last // 2
    for level in range(len(plan.stages), -1, -1):
        step = winograd.STEP if level and plan.stages[level - 1]["winograd"] else 1
        lo, hi = max(lo, top) // step * step, min(hi, bottom)
        spans["next"][:, :, level], spans["end"][:, :, level] = lo, hi
        if level:
            stage = plan.stages[level - 1]
            lo = lo - stage["above"]
            hi = round_up(hi, step) + stage["height"] - 1 - stage["above"]
    pieces["y0"], pieces["y1"] = y0, y1


def _phase_width(plan: Plan, columns: int) -> int:
    """Floats a phase needs for strips ``columns`` wide, with room for whole vectors."""
    margin = int(np.sum(plan.stages["width"] - 1 + 2 * (plan.stages["winograd"] > 0)
                        * winograd.STEP))  # fmt: skip
    return round_up(-(-(columns + margin) // plan.phases) + 2, LANES) + LANES


def cut(plan: Plan, shape: tuple[int, ...], threads: int) -> tuple[list, list]:
    """Bands [(y0, y1), ...] and strips [(x0, x1), ...] of images of ``shape`` (N, C, H, W).

    Strips as wide as the cache allows, and of such widths the one that wastes least of the
    tiles' lanes; then as many bands as keep all threads busy.
    """
    images, _, height, width = shape
    halo = int(np.sum(plan.stages["width"][1:] - 1))
    tile = VECTORS * LANES * plan.phases

    def waste(strips: int) -> float:
        each = -(-width // strips) + (halo if strips > 1 else 0)
        return strips * (round_up(each, tile) + 1e-3)

    fewest = next(n for n in range(1, width + 1) if n == width or _fits(plan, -(-width // n)))
    strips = min(range(fewest, min(width, 2 * fewest + 1) + 1), key=waste)
    bands = max(1, min(-(-4 * threads // (strips * images)), height // 64))
    if strips * images < threads:
        bands = max(bands, min(-(-threads // (strips * images)), height // 8, height))
    return _edges(height, max(1, bands)), _edges(width, strips)


def _fits(plan: Plan, columns: int) -> bool:
    levels = plan.levels(_phase_width(plan, columns))
    return int(np.sum(levels["slots"] * levels["slot"])) <= CACHE


def _edges(length: int, parts: int) -> list[tuple[int, int]]:
    """``parts`` nearly equal parts of ``length``, cut at multiples of Winograd's step."""
    cuts = [length * part // parts // winograd.STEP * winograd.STEP for part in range(parts)]
    cuts.append(length)
    return [(a, b) for a, b in zip(cuts[:-1], cuts[1:], strict=True) if b > a]
