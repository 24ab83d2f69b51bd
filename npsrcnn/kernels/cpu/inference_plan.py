"""Plan fused inference: lay out a network in stages, in pieces of an image, and in memory.

N batch, C channels in, O channels out, H W height and width, K kernel size.

A network becomes stages, one for each layer, but a 1x1 layer after a direct one joins its stage:
it works on BLOCK_COLUMNS columns as soon as they are there, so that the maps between, the most
numbers of all in 9-1-5, never leave the first-level cache. Level l is what stage l reads: level 0
the image, level L what the last of L stages writes. A thread takes a piece of the image, which is
a band of a strip of columns, and runs all stages down it row by row, keeping of every level only
the few rows that the next stage still needs. So the memory does not grow with the image, and stays
in the processor's second-level cache.

The last layer has one or three maps, too few to feed a tile. Its filter rows become maps: a
stage of filters one row high, ``O * K`` of them, whose maps, each shifted to its row, are summed
at the end. That also spares keeping rows of its input.

Where some stage is Winograd's, a row is kept in four phases: its column ``u = 4 t + p`` lies at
``[p, t]``, so that the transforms, which step by four pixels, read vectors along t. Direct stages
find their taps through a table of offsets, in phases or not. All such arithmetic with columns is
done here, once for an image, and left in tables for the kernel.

A 9x9 or 6x6 first layer is cut into groups of 3x3 that run as Winograd's F(4x4, 3x3), all of
them summed before they are transformed back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from npsrcnn.kernels.cpu import winograd
from npsrcnn.kernels.cpu.layout import Tables, record
from npsrcnn.kernels.cpu.tiles import FEW_ROWS, LANES, ROWS, VECTORS, pack, round_up
from npsrcnn.layers import Layers
from npsrcnn.runtime.threads import CACHE_LINE_FLOATS

CACHE_FLOATS, WINOGRAD_CACHE_FLOATS = 100_000, 300_000
"""Floats that the rows of one piece may take, which says how wide strips are. 400 kB fit well in a
second-level cache: 9-1-5 takes 1.06 times as long with 60,000, and the same within 2 % with up to
300,000 (AMD Zen 4, 1 MB, AVX-512 and AVX2). Winograd's stages keep ten rows of every map, not one,
and compute more beyond a strip's sides: with rows a third wider than now, 300,000, up to three
times a second-level cache, made 9-5-5 a third faster than 100,000, and 600,000 were slower again
(AMD Zen 3, 512 kB). With 2 MB and AVX-512 100,000 take 1.24 times as long, and 200,000 to 400,000
the same within 3 %."""
ROW_OVERHEAD = 50_000
"""Fixed cost of a row of a strip, whatever its width, in multiply-adds (1.4 us)."""
BLOCK_COLUMNS = 48
"""Columns that a 1x1 layer takes at once: 64 maps of them are 12 kB, and its weights 8 kB."""
BLOCK_TILES = winograd.GROUP_VECTORS * LANES
"""Winograd tiles, of 4 x 4 pixels, that it takes at once after a stage in groups."""
SIZES_IN_GROUPS = (6, 9)
"""Filter sizes that run as groups of F(4x4, 3x3) in a first stage. Size 3 has too few taps."""
POINTS = winograd.points_of(winograd.GROUP, winograd.STEP)
Intervals = list[tuple[int, int]]
_FAR_COLUMNS = 1 << 10  # a multiple of Winograd's step, and more than any network reaches


@dataclass(frozen=True)
class Stage:
    """A stage of a network; kernels see it as a record of int64."""

    channels: int  # maps it reads
    maps: int  # maps it writes, filled up to whole tiles
    maps_between: (
        int  # maps between its filters and the 1x1 layer that it ends with; 0: no such layer
    )
    height: int  # of its filters
    width: int
    above: int  # rows of the filter above its output
    left: int  # columns of the filter left of its output
    winograd: int  # filter size if it runs as Winograd's in both directions, else 0
    groups: int  # in each direction, of 3 x 3 of its filters, if it runs in groups, else 0
    weights: int  # where they start
    biases: int
    mapping_weights: int = 0  # of the 1x1 layer
    mapping_biases: int = 0

    @property
    def at_once(self) -> int:
        """Return how many rows, and how many columns, it computes at once."""
        return winograd.STEP if self.winograd or self.groups else 1


@dataclass(frozen=True)
class Plan:
    """A network ready to run: its stages, and all weights as the tiles read them."""

    stages: list[Stage]
    weights: np.ndarray  # (floats,) float32: each stage's, then ones to sum the last one's rows
    biases: np.ndarray  # (floats,) float32: zeros, then each stage's, at the end the last layer's
    outputs: int  # maps of the last layer
    last: int  # filter size of the last layer
    phases: int  # of all levels but 0


class Grid(NamedTuple):
    """How the columns of a row lie in memory."""

    phases: int
    width: int  # floats of a phase

    def place(self, u: np.ndarray) -> np.ndarray:
        """Return where columns ``u`` lie."""
        places: np.ndarray = u % self.phases * self.width + u // self.phases
        return places


STAGE = record(*(field.name for field in fields(Stage)))
LEVEL = record(
    "slots",  # rows kept; one more holds zeros
    "slot",  # floats of a row, all channels
    "start",  # where they start
    "taps",  # table: where the taps of the stage that reads it lie, for each phase of its output
)
PIECE = record(
    "image", "y0", "y1",  # what it computes
    "source",  # table: for each phase of level 0 the first t, how many, and the first's column
    "target",  # table: the same of the output
)  # fmt: skip
SPAN = record(  # of one level in one piece
    "next",  # the next row to compute
    "end",  # and where to stop
    "runs",  # table: first t to compute and how many, in whole vectors: of each phase, or of tiles
    "pads",  # table: places beyond the image's edges; then the places of what is to be there
    "padded",  # how many
)
SETUP = record(
    "top", "bottom",  # rows of the image, in its own or a larger one's coordinates
    "zeros",  # 1: zeros beyond the edges, 0: the nearest pixel
    "phases", "width",  # grid of all levels but 0
    "image_phases", "image_width",  # grid of level 0
    "work", "size",  # floats: where the stages' working memory starts; all memory
    "taps", "maps_between",  # of the largest stage
    "outputs", "last",  # maps and filter size of the last layer
)  # fmt: skip


def make_plan(layers: Layers, use_winograd: bool = True) -> Plan:
    """Lay out ``layers`` [(w (O, C, K, K), b (O,)), ...]; ``use_winograd=False``: only direct."""
    stages: list[Stage] = []
    weights: list[np.ndarray] = []
    biases = [np.zeros(_most_maps(layers), np.float32)]  # for sums that have none, or not yet
    for depth, (w, b) in enumerate(layers):
        o, c, k, _ = w.shape
        filters = w
        if depth > 0 and stages[-1].maps > c:  # maps filled up before it
            filters = np.zeros((o, stages[-1].maps, k, k), np.float32)
            filters[:, :c] = w
        channels, before = filters.shape[1], (k - 1) // 2
        start, bias = sum(map(len, weights)), sum(map(len, biases))
        if depth == len(layers) - 1:
            by_row = filters.transpose(2, 0, 1, 3).reshape(k * o, -1)  # (row, map), (C, column)
            maps = round_up(k * o, FEW_ROWS)
            stages.append(Stage(channels, maps, 0, 1, k, 0, before, 0, 0, start, biases=0))
            weights += [pack(by_row, FEW_ROWS), np.ones(k, np.float32)]
            biases.append(np.asarray(b, np.float32))
            break
        maps = round_up(o, ROWS)
        groups = k // winograd.GROUP if use_winograd and depth == 0 and k in SIZES_IN_GROUPS else 0
        pays = k if use_winograd and winograd.winograd_pays(w.shape) else 0
        if k == 1 and depth > 0 and _takes_mapping(stages[-1], layers):
            stages[-1] = replace(stages[-1], maps=maps, maps_between=stages[-1].maps,
                                 mapping_weights=start, mapping_biases=bias)  # fmt: skip
        else:
            stages.append(Stage(channels, maps, 0, k, k, before, before, pays, groups, start, bias))
        biases.append(np.zeros(maps, np.float32))
        biases[-1][:o] = b
        if pays:
            weights.append(winograd.transform_filters(filters, winograd.STEP))
        elif groups:
            weights.append(winograd.transform_filter_groups(filters, winograd.STEP))
        else:
            weights.append(pack(filters.reshape(o, -1), ROWS))
    return Plan(
        stages, np.concatenate(weights), np.concatenate(biases),
        outputs=layers[-1][0].shape[0], last=layers[-1][0].shape[2],
        phases=winograd.STEP if any(stage.winograd for stage in stages) else 1,
    )  # fmt: skip


def _takes_mapping(stage: Stage, layers: Layers) -> bool:
    """Return whether a 1x1 layer joins ``stage``, the one before it.

    It must have none yet, and not be Winograd's of many channels; and if it runs in groups, there
    must be no phases, so that what it writes are rows.
    """
    others = any(winograd.winograd_pays(w.shape) for w, _ in layers[:-1])
    return not stage.winograd and not stage.maps_between and not (stage.groups and others)


def _most_maps(layers: Layers) -> int:
    """Return the most maps of any stage, whole tiles of either kind."""
    most = max(w.shape[0] for w, _ in layers)
    return round_up(max(most, layers[-1][0].shape[0] * layers[-1][0].shape[2]), FEW_ROWS * ROWS)


@dataclass(frozen=True)
class Job:
    """A plan applied to images of one shape, for one call of the kernel for each piece."""

    pieces: np.ndarray  # (pieces,) of PIECE
    spans: np.ndarray  # (pieces, L+1) of SPAN, which the kernel changes
    levels: np.ndarray  # (L+1,) of LEVEL
    stages: np.ndarray  # (L,) of STAGE
    setup: np.ndarray  # (1,) of SETUP
    tables: np.ndarray  # int64; the records say where each starts


def make_job(
    plan: Plan, shape: tuple[int, ...], padding: str, origin: tuple[int, int], threads: int
) -> Job:
    """Lay out images of ``shape`` (N, C, H, W) that lie at ``origin`` of a larger one.

    Results do not depend on how many pieces there are, so they may depend on ``threads``.
    """
    count, _, height, width = shape
    top, left = (start % winograd.STEP for start in origin)
    bands, edges = cut(plan, shape, threads)
    strips = [_strip(plan, left, left + width, x0 + left, x1 + left) for x0, x1 in edges]
    grids = _grids(plan, strips)
    tables = Tables()
    levels = _levels(plan, grids, tables)
    rows = [_rows(plan, top, top + height, y0 + top, y1 + top) for y0, y1 in bands]
    columns = [_columns(plan, grids, strip, left, left + width, tables) for strip in strips]
    pieces, spans = [], []
    for n in range(count):
        for (y0, y1), band in zip(bands, rows, strict=True):
            for source, target, strip in columns:
                pieces.append((n, y0 + top, y1 + top, source, target))
                spans += [(*r, *c) for r, c in zip(band, strip, strict=True)]
    slots, slot, start, _ = levels[-1]
    work = start + (slots + 1) * slot + _lead(plan)
    setup = (
        top, top + height, padding == "zeros", *grids[1], *grids[0], work,
        work + _working_floats(plan, grids) + _lead(plan) + VECTORS * LANES,
        max(stage.channels * stage.height * stage.width for stage in plan.stages),
        max(stage.maps_between for stage in plan.stages),
        plan.outputs, plan.last,
    )  # fmt: skip
    return Job(
        _records(pieces, PIECE), _records(spans, SPAN).reshape(len(pieces), -1),
        _records(levels, LEVEL),
        _records([tuple(vars(stage).values()) for stage in plan.stages], STAGE),
        _records([setup], SETUP), tables.joined(),
    )  # fmt: skip


def _records(rows: Sequence[tuple[int, ...]], kind: np.dtype[np.void]) -> np.ndarray:
    """Return an array (len(rows),) of records of ``kind``."""
    return np.array(rows, np.int64).view(kind).ravel()


def _slots(plan: Plan, grids: tuple[Grid, Grid]) -> list[tuple[int, int]]:
    """Return how many rows are kept of each level, and the floats of a row.

    A line more than they need, here and in what Winograd's stages work in: they read and write at
    eight places at once, which at distances of powers of two would share a few sets of the
    first-level cache. That cost 5 % (9-5-5, AVX-512).
    """
    image, grid = grids
    first = plan.stages[0]
    at_once, floats = 1, first.channels * image.width * image.phases
    slots = []
    for stage in plan.stages:
        slots.append((stage.height + stage.at_once - 1 + at_once - 1, floats))
        at_once, floats = stage.at_once, stage.maps * grid.phases * grid.width
        floats += CACHE_LINE_FLOATS
    return [*slots, (plan.last + at_once - 1, floats)]


def _levels(
    plan: Plan, grids: tuple[Grid, Grid], tables: Tables
) -> list[tuple[int, int, int, int]]:
    """Return where the rows of each level lie, and the taps on them, as LEVEL says."""
    levels, start = [], _lead(plan)
    stages = [*plan.stages, None]
    for depth, ((slots, slot), stage) in enumerate(zip(_slots(plan, grids), stages, strict=True)):
        taps = tables.add(_tap_places(plan, stage, grids[min(depth, 1)])) if stage else 0
        levels.append((slots, slot, start, taps))
        start += (slots + 1) * slot
    return levels


def _working_floats(plan: Plan, grids: tuple[Grid, Grid]) -> int:
    """Return the floats of memory that one stage at a time needs for itself."""
    (image_phases, image_width), (phases, width) = grids
    most = phases * width  # of the sum of the last layer's rows
    for stage in plan.stages:
        block = BLOCK_COLUMNS
        if stage.groups:
            block = winograd.STEP**2 * BLOCK_TILES + CACHE_LINE_FLOATS
        floats = stage.maps_between * block
        if stage.groups:
            lines, taps = stage.groups * POINTS, stage.channels * stage.groups**2
            margin = image_phases * (CACHE_LINE_FLOATS + LANES)
            floats += lines * (stage.channels * image_phases * image_width + margin)
            floats += POINTS**2 * (taps * image_width + CACHE_LINE_FLOATS) + LANES
        most = max(most, floats)
        if stage.winograd:
            points, step = stage.winograd + winograd.STEP - 1, winograd.STEP
            floats = points * ((step + 1) * stage.channels + (1 + step) * stage.maps)
            most = max(most, floats * width + 4 * points * CACHE_LINE_FLOATS)
    return most


def _lead(plan: Plan) -> int:
    """Return the floats before the first row of a level, where its columns left of place 0 lie."""
    return round_up(max(stage.width for stage in plan.stages), LANES)


def _tap_places(plan: Plan, stage: Stage, grid: Grid) -> np.ndarray:
    """Return where the taps of a stage lie, less the start of their row, for t = 0.

    (phases, channels, height, width); for a Winograd stage (points,), of one channel, and in
    groups (groups, points).
    """
    if stage.groups:
        firsts = winograd.GROUP * np.arange(stage.groups)[:, None]
        return grid.place(firsts + np.arange(POINTS) - stage.left)
    if stage.winograd:
        points = np.arange(stage.winograd + winograd.STEP - 1)
        return grid.place(points - stage.left)
    u = np.arange(plan.phases)[:, None] + np.arange(stage.width) - stage.left
    channels = np.arange(stage.channels)[:, None, None] * grid.phases * grid.width
    places = grid.place(u)[:, None, None, :] + channels
    return np.repeat(places, stage.height, axis=2)


class _Strip(NamedTuple):
    """The columns of a strip, of levels 0 to L, and how they lie in a row."""

    needed: list[tuple[int, int]]  # what the next stage reads
    computed: list[tuple[int, int]]  # those inside the image, in whole steps
    origin: int  # the column at place 0

    def run(self, phases: int, phase: int, lo: int, hi: int) -> tuple[int, int]:
        """Return the first t of columns [lo, hi) in a phase, and how many."""
        t0, t1 = (-((self.origin + phase - x) // phases) for x in (lo, hi))
        return t0, t1 - t0


def _strip(plan: Plan, left: int, right: int, x0: int, x1: int) -> _Strip:
    """Return what columns [x0, x1) of the result need of an image that has [left, right).

    Level 1, most of the work, begins at place 0, which is aligned (9 % faster in 9-1-5).
    """
    needed, computed = [], []
    lo, hi = x0, x1
    for stage in [*plan.stages[::-1], None]:
        needed.append((lo, hi))
        step = stage.at_once if stage else 1
        lo, hi = max(lo, left) // step * step, round_up(min(hi, right), step)
        computed.append((lo, hi))
        if stage:
            lo, hi = lo - stage.left, hi + stage.width - 1 - stage.left
    origin = computed[-2][0] // winograd.STEP * winograd.STEP
    return _Strip(needed[::-1], computed[::-1], origin)


def _phases(plan: Plan, depth: int) -> int:
    """Return in how many phases the columns of a level lie."""
    return winograd.STEP if depth == 0 and plan.stages[0].groups else plan.phases


def _runs(plan: Plan, strip: _Strip, depth: int) -> list[tuple[int, int]]:
    """Return what is computed of a level, in whole vectors: of each phase the first t and how many.

    Of level 1 after a stage in groups, tiles of four columns; then all phases are alike.
    """
    tiles = depth == 1 and plan.stages[0].groups
    phases = winograd.STEP if tiles else _phases(plan, depth)
    runs = [strip.run(phases, p, *strip.computed[depth]) for p in range(phases)]
    return [(t0, round_up(n, LANES)) for t0, n in runs]


def _columns(
    plan: Plan, grids: tuple[Grid, Grid], strip: _Strip, left: int, right: int, tables: Tables
) -> tuple[int, int, list[tuple[int, int, int]]]:
    """Make the tables source and target of a strip, and for each level runs, pads and padded."""

    def columns(depth: int, lo: int, hi: int) -> int:
        """Make a table: for each phase first t, how many, and the first's column in the image."""
        phases = _phases(plan, depth)
        runs = [strip.run(phases, p, lo, hi) for p in range(phases)]
        firsts = [strip.origin + p + phases * t0 - left for p, (t0, _) in enumerate(runs)]
        return tables.add(np.array([(*run, x) for run, x in zip(runs, firsts, strict=True)]))

    levels = []
    for depth, (lo, hi) in enumerate(strip.needed):
        outside = [*range(lo, left), *range(right, hi)]
        pads = [*outside, *(left if x < left else right - 1 for x in outside)]
        levels.append((
            tables.add(np.array(_runs(plan, strip, depth))),
            tables.add(grids[min(depth, 1)].place(np.array(pads, np.int64) - strip.origin)),
            len(outside),
        ))  # fmt: skip
    return columns(0, *strip.computed[0]), columns(1, *strip.needed[-1]), levels


def _rows(plan: Plan, top: int, bottom: int, y0: int, y1: int) -> list[tuple[int, int]]:
    """Return what a band computes of the rows of levels 0 to L: [next, end) of each."""
    levels = []
    lo, hi = y0 - (plan.last - 1) // 2, y1 + plan.last // 2
    for stage in [*plan.stages[::-1], None]:
        step = stage.at_once if stage else 1
        lo, hi = max(lo, top) // step * step, min(hi, bottom)
        levels.append((lo, hi))
        if stage:
            lo, hi = lo - stage.above, round_up(hi, step) + stage.height - 1 - stage.above
    return levels[::-1]


def _grids(plan: Plan, strips: list[_Strip]) -> tuple[Grid, Grid]:
    """Return the grids of level 0, and of the others, for the widest of ``strips``, in vectors.

    What a row has left of place 0 lies at the end of the row before, so that nothing is wasted on
    a margin: of 16 tiles, with AVX-512, it made 9-5-5 half as slow again.

    Where there are no phases, an odd number of cache lines: a 1x1 layer reads the same column of
    all channels together, and that spreads them over all sets of the first-level cache. At 2048
    bytes they would share two sets, which cost 10 %.
    """
    image, *others = (
        max(_width(plan, strip, depth) for strip in strips) for depth in range(len(plan.stages) + 1)
    )
    width, tiles = max(others), plan.stages[0].groups
    if plan.phases > 1:
        return (Grid(plan.phases, max(image, width)),) * 2
    if not tiles:
        width = max(image, width)
    grid = Grid(1, round_up(width + CACHE_LINE_FLOATS, 2 * CACHE_LINE_FLOATS) - CACHE_LINE_FLOATS)
    return (Grid(winograd.STEP, image) if tiles else grid), grid


def _width(plan: Plan, strip: _Strip, depth: int) -> int:
    """Return the floats of a phase of a level: from the first written or read to the last."""
    phases, tiles = _phases(plan, depth), plan.stages[0].groups
    (lo, hi), runs = strip.needed[depth], _runs(plan, strip, depth)
    if depth == 0 and tiles:  # it is read where level 1 is to be, in whole vectors
        runs += _runs(plan, strip, 1)
    scale = winograd.STEP // phases if depth == 1 and tiles else 1
    firsts = [(lo - strip.origin) // phases, *(scale * t0 for t0, _ in runs)]
    ends = [-((strip.origin - hi) // phases), *(scale * (t0 + n) for t0, n in runs)]
    return round_up(max(ends) - min(firsts), LANES)


def cut(plan: Plan, shape: tuple[int, ...], threads: int) -> tuple[Intervals, Intervals]:
    """Cut images (N, C, H, W) into bands [(y0, y1), ...] and strips [(x0, x1), ...].

    Strips as wide as the cache allows, and of such widths the one that has least to compute, what
    strips have in common and lanes beyond their sides included; then bands that keep all threads
    busy.
    """
    images, _, height, width = shape

    def typical(columns: int) -> _Strip:
        """Return a strip of so many columns, inside a larger image."""
        return _strip(plan, 0, columns + 2 * _FAR_COLUMNS, _FAR_COLUMNS, columns + _FAR_COLUMNS)

    def equal(strips: int) -> int:
        """Return the columns of each of so many, up to the last, which may have fewer."""
        return round_up(-(-width // strips), winograd.STEP)

    def filled(columns: int) -> int:
        """Return how many columns level 1, most of the work, computes in the same vectors."""
        strip = typical(columns)
        lanes = sum(n for _, n in _runs(plan, strip, 1))
        lo, hi = strip.computed[1]
        return columns + (lanes - (hi - lo)) // winograd.STEP * winograd.STEP

    def work(columns: int) -> float:
        strips, rest = divmod(width, columns)
        total = strips * (_work(plan, typical(columns)) + ROW_OVERHEAD)
        return total + (_work(plan, typical(rest)) + ROW_OVERHEAD if rest else 0)

    fewest = next(n for n in range(1, width + 1) if n == width or _fits(plan, typical(equal(n))))
    widths = [equal(n) for n in range(fewest, min(width, 2 * fewest + 1) + 1)]
    columns = min([*widths, *map(filled, widths)], key=work)
    strips = [(x, min(x + columns, width)) for x in range(0, width, columns)]
    return _bands(height, len(strips) * images, threads), strips


def _work(plan: Plan, strip: _Strip) -> float:
    """Estimate the multiply-adds of a row of a strip, without transforms."""
    total = 0.0
    for depth, stage in enumerate(plan.stages):
        lanes = sum(_in_tiles(n) for _, n in _runs(plan, strip, depth + 1))
        taps: float = stage.channels * stage.height * stage.width
        if stage.groups:
            taps *= (POINTS / winograd.GROUP / winograd.STEP) ** 2
        if stage.winograd:
            taps = stage.channels * ((stage.winograd + winograd.STEP - 1) / winograd.STEP) ** 2
        total += lanes * (
            taps * (stage.maps_between or stage.maps) + stage.maps_between * stage.maps
        )
    return total


def _bands(height: int, beside: int, threads: int) -> Intervals:
    """Cut rows into bands of ``beside`` pieces, tall ones first: all threads end together.

    A band takes a third of what would be each thread's share of the rows that are left, and leaves
    so many that the other threads have work while one is at its last piece; but not less than 64
    rows, because each computes a few rows anew; small images give one to each thread.
    """
    if threads == 1:
        return [(0, height)]
    if height < 64 * -(-threads // beside):
        return _edges(height, max(1, min(-(-threads // beside), height // 8)))
    cuts = [0]
    while (left := height - cuts[-1]) > 0:
        rows = left * beside // max(3 * threads, beside + threads - 1)
        rows = max(64, rows) // winograd.STEP * winograd.STEP
        cuts.append(height if left < rows + 64 else cuts[-1] + rows)
    return list(pairwise(cuts))


def _in_tiles(n: int) -> float:
    """Return ``n`` floats weighted by the time of their tiles.

    A tile of two vectors takes 1.1 times as long for each as one of VECTORS, and a tile of a
    single vector as long as one of two.
    """
    whole, left = divmod(n // LANES, VECTORS)
    if left == 1 and whole:  # as tiles.tile_width has it
        whole, left = whole - 1, VECTORS + 1
    return LANES * (VECTORS * whole + 2.2 * -(-left // 2))


def _fits(plan: Plan, strip: _Strip) -> bool:
    """Return whether the rows of a strip fit in the cache."""
    floats = sum(slots * slot for slots, slot in _slots(plan, _grids(plan, [strip])))
    return floats <= (CACHE_FLOATS if plan.phases == 1 else WINOGRAD_CACHE_FLOATS)


def _edges(length: int, parts: int) -> Intervals:
    """Cut ``length`` into ``parts`` nearly equal parts, at multiples of Winograd's step."""
    cuts = [length * part // parts // winograd.STEP * winograd.STEP for part in range(parts)]
    cuts.append(length)
    return [(a, b) for a, b in pairwise(cuts) if b > a]
