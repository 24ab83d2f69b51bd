"""How a network is laid out for fused inference: which stages, in which tiles, in what memory.

A network of L layers becomes L stages. Level l is what stage l reads: level 0 the image, level L
what the last stage writes. Each thread takes a piece of the image and runs all stages down it
row by row, keeping of every level only the few rows that the next stage still needs. So the
memory does not grow with the image, and stays in the processor's second-level cache.

The last layer has one or three maps, too few to feed a tile. Its filter rows become maps: a
stage of filters one row high, ``O * K`` of them, whose maps, each shifted to its row, are summed
at the end. That also spares keeping rows of its input.

Where some stage is Winograd's, pixels are kept in four phases: column ``4 t + p`` of a row at
``[p, t]``, so that the transforms, which step by four pixels, read vectors along t. A stage of
the direct kind does not mind: it learns from its table of offsets where each tap lies.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from npsrcnn.kernels import winograd
from npsrcnn.kernels.tiles import FEW_ROWS, LANES, ROWS, VECTORS, pack, round_up

STAGE = np.dtype(
    [
        (name, np.int64)
        for name in (
            "channels",  # maps it reads
            "maps",  # maps it writes, filled up to whole tiles
            "height",  # of its filters
            "width",
            "above",  # rows of the filter above its output
            "left",  # columns of the filter left of its output
            "winograd",  # filter size if it runs as Winograd's, else 0
            "rows",  # maps of a tile
            "relu",
            "weights",  # where they start
            "biases",
        )
    ]
)
"""What the kernel knows of a stage."""
LEVEL = np.dtype([(name, np.int64) for name in ("slots", "slot", "start")])
"""Rows that a level keeps (one more holds zeros), floats of a row, where they start."""
PIECE = np.dtype([(name, np.int64) for name in ("image", "y0", "y1", "x0", "x1")])

CACHE = 100_000  # floats: a piece's width is chosen so that its rows fit a second-level cache


@dataclass(frozen=True)
class Plan:
    """A network ready to run: its stages, and all weights as the tiles read them."""

    stages: np.ndarray  # (L,) of STAGE
    weights: np.ndarray  # (floats,) float32
    biases: np.ndarray  # (floats,) float32; the network's own last biases at the end
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
        most = width
        for stage in self.stages[self.stages["winograd"] > 0]:
            points, step = int(stage["winograd"]) + winograd.STEP - 1, winograd.STEP
            c, o = int(stage["channels"]), int(stage["maps"])
            rows_in = max(points * c * step, step * step * o)
            most = max(most, (rows_in + points * (c + o + step * o)) * width)
        return most + VECTORS * LANES


def make_plan(layers: list[tuple[np.ndarray, np.ndarray]], use_winograd: bool = True) -> Plan:
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
        stage["relu"] = not last
        stage["weights"] = sum(map(len, weights))
        stage["biases"] = 0 if last else sum(map(len, biases))
        filled = np.zeros((o, stage["channels"], k, k), np.float32)  # maps filled up before it
        filled[:, :c] = w
        if last:
            rows = FEW_ROWS
            filters = filled.transpose(2, 0, 1, 3).reshape(k * o, -1)  # (row, map), (C, column)
            maps = round_up(k * o, rows)
            biases.append(np.asarray(b))
            weights.append(pack(filters, rows))
        else:
            rows, maps = ROWS, round_up(o, ROWS)
            biases.append(np.pad(b, (0, maps - o)))
            if use_winograd and k in winograd.SIZES and min(o, c) >= 2 * ROWS:
                stage["winograd"] = k
                weights.append(winograd.transform_filters(filled))
            else:
                weights.append(pack(filled.reshape(o, -1), rows))
        stage["rows"], stage["maps"] = rows, maps
    return Plan(
        stages,
        np.concatenate(weights),
        np.concatenate(biases).astype(np.float32),
        outputs=layers[-1][0].shape[0],
        last=layers[-1][0].shape[2],
        phases=winograd.STEP if stages["winograd"].any() else 1,
    )


def _most_maps(layers: list[tuple[np.ndarray, np.ndarray]]) -> int:
    most = max(w.shape[0] for w, _ in layers)
    return round_up(max(most, layers[-1][0].shape[0] * layers[-1][0].shape[2]), FEW_ROWS * ROWS)


def margin(plan: Plan) -> int:
    """Columns more than its own that a piece may need of any level, left and right together."""
    return int(sum(stage["width"] - 1 + (8 if stage["winograd"] else 0) for stage in plan.stages))


def phase_width(plan: Plan, columns: int) -> int:
    """Floats a phase needs for pieces ``columns`` wide, with room for whole vectors."""
    return round_up(-(-(columns + margin(plan)) // plan.phases) + 2, LANES) + LANES


def cut(plan: Plan, shape: tuple[int, int, int], threads: int) -> np.ndarray:
    """Pieces, (number,) of PIECE, that cover ``shape`` = (images, height, width).

    Columns as wide as the cache allows, and of them the width that wastes least of the tiles'
    lanes; then as many bands as keep all threads busy. Results do not depend on any of it.
    """
    images, height, width = shape
    halo = int(sum(stage["width"] - 1 for stage in plan.stages[1:]))
    tile = VECTORS * LANES * plan.phases

    def waste(columns: int) -> float:
        each = -(-width // columns)
        return columns * -(-(each + (halo if columns > 1 else 0)) // tile) * tile + 1e-3 * columns

    least = next(c for c in range(1, width + 1) if _fits(plan, -(-width // c)) or c == width)
    columns = min(range(least, min(width, 2 * least + 1) + 1), key=waste)
    bands = max(1, min(-(-4 * threads // (columns * images)), height // 64))
    if columns * images < threads:
        bands = max(bands, min(-(-threads // (columns * images)), height // 8, height))
    edges_y, edges_x = _edges(height, max(1, bands)), _edges(width, columns)
    return np.array(
        [
            (n, y0, y1, x0, x1)
            for n in range(images)
            for y0, y1 in edges_y
            for x0, x1 in edges_x
        ],
        PIECE,
    )


def _fits(plan: Plan, columns: int) -> bool:
    levels = plan.levels(phase_width(plan, columns))
    return int(np.sum(levels["slots"] * levels["slot"])) <= CACHE


def _edges(length: int, parts: int) -> list[tuple[int, int]]:
    cuts = [length * part // parts // winograd.STEP * winograd.STEP for part in range(parts)]
    cuts.append(length)
    return [(a, b) for a, b in zip(cuts[:-1], cuts[1:], strict=True) if b > a]
