"""Short runs of the train command, and what they leave."""

from __future__ import annotations

import csv
import json

import numpy as np

from npsrcnn.commands import train
from npsrcnn.model import load
from npsrcnn.training.optimizers import parameters

FILES = ("best.npz", "last.npz", "log.csv", "checkpoint.npz", "report.html")


def arguments(folder, out, *more):
    return [
        "--data", str(folder), "--eval", str(folder / "0.png"), "--out", str(out),
        "--network", "5-3", "--batch", "16", *map(str, more),
    ]  # fmt: skip


def run(folder, out, *more):
    return train.main(arguments(folder, out, *more))


def weights(out, name="last.npz"):
    return parameters(load(out / name).layers)


def same(a, b):
    return all(np.array_equal(p, q) for p, q in zip(a, b, strict=True))


def log(out):
    with open(out / "log.csv", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def checkpoint(out):
    with open(out / "checkpoint.npz", "rb") as file, np.load(file) as arrays:
        return json.loads(str(arrays["facts"]))
