"""Measure the app beside the command: one picture to 1920 x 1080, in turns.

The app's time is from sending the picture to the download's being there, and to the view of before
and after; the command's is that of its process. Both on a machine with nothing else to do:
`python -m benchmarks.app`. The medians' ratio is to be at most 1.2.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from npsrcnn.commands import frame
from npsrcnn.errors import UserError
from npsrcnn.report.photograph import photograph

SCALE = 2
TICKS = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the command's options."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.app", description=__doc__)
    parser.add_argument("--size", type=frame.positive_ints, default=[1920, 1080], metavar="W,H")
    parser.add_argument("--repeats", type=frame.positive_int, default=7)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; see ``--help``."""
    run(make_parser().parse_args(argv))
    return 0


def run(options: argparse.Namespace) -> None:
    """Measure in turns, and print medians and their ratios."""
    width, height = options.size
    with tempfile.TemporaryDirectory() as folder, _app() as (address, number):
        source = Path(folder) / "source.png"
        small = Image.fromarray(photograph(SCALE, None).picture)
        small.resize((width // SCALE, height // SCALE), Image.Resampling.BICUBIC).save(source)
        command, download, view = _Times("the command"), _Times("download"), _Times("view")
        for turn in range(options.repeats + 1):
            took = _command(source, Path(folder) / "command.png")
            times = _by_app(address, number, source)
            if turn:  # the first compiles, and loads weights
                command.add(*took)
                download.add(*times[0])
                view.add(*times[1])
    print(f"{width // SCALE} x {height // SCALE} to {width} x {height}, {options.repeats} turns")
    print(f"{'':12} {'seconds':>8} {'ratio':>6} {'CPU s':>8} {'ratio':>6}")
    for times in (command, download, view):
        print(times.row(command))


class _Times:
    def __init__(self, name: str) -> None:
        self.name = name
        self._walls: list[float] = []
        self._cpus: list[float] = []

    def add(self, wall: float, cpu: float) -> None:
        self._walls.append(wall)
        self._cpus.append(cpu)

    def medians(self) -> tuple[float, float]:
        return statistics.median(self._walls), statistics.median(self._cpus)

    def row(self, beside: _Times) -> str:
        (wall, cpu), (other_wall, other_cpu) = self.medians(), beside.medians()
        return (
            f"{self.name:12} {wall:8.3f} {wall / other_wall:6.2f} {cpu:8.3f} {cpu / other_cpu:6.2f}"
        )


def _command(source: Path, target: Path) -> tuple[float, float]:
    """Return wall and CPU seconds of ``npsrcnn upscale``."""
    command = [sys.executable, "-m", "npsrcnn", "upscale", str(source), "-o", str(target)]
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([*command, "--scale", str(SCALE)], check=True, capture_output=True)
    wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@contextlib.contextmanager
def _app() -> Iterator[tuple[str, int]]:
    """Start the app; provide its address and its process's number."""
    command = [sys.executable, "-u", "-m", "npsrcnn", "app", "--no-browser"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            if " is at " not in line:
                raise UserError("the app does not start: look at npsrcnn app --no-browser")
            yield line.split(" is at ")[1].split()[0].rstrip("/"), process.pid
        finally:
            process.terminate()


def _by_app(address: str, number: int, source: Path) -> list[tuple[float, float]]:
    """Do what the page does; return wall and CPU seconds to the download, and to the view."""
    config = json.loads(_fetched(f"{address}/config"))
    parts = {one["id"]: one["props"] for one in config["components"]}
    by_name = {props.get("elem_id"): one for one, props in parts.items()}
    click = next(
        one for one in config["dependencies"] if [by_name["enlarge"], "click"] in one["targets"]
    )
    cpu, started = _cpu_seconds(number), time.perf_counter()
    (path,) = json.loads(_sent(f"{address}/gradio_api/upload", source))
    upload = {"path": path, "orig_name": source.name, "meta": {"_type": "gradio.FileData"}}
    values = {by_name["pictures"]: [upload]}
    data = [values.get(one, parts[one].get("value")) for one in click["inputs"]]
    session = uuid.uuid4().hex
    job = {"data": data, "fn_index": click["id"], "session_hash": session}
    _fetched(f"{address}/gradio_api/queue/join", json.dumps(job).encode(), "application/json")
    times: list[tuple[float, float]] = []
    stream = f"{address}/gradio_api/queue/data?session_hash={session}"
    with urllib.request.urlopen(stream) as answer:
        for line in answer:
            text = line.decode()
            ready = not times and f"Download {source.stem}_x{SCALE}.png" in text
            ended = '"process_completed"' in text
            if ready or ended:
                times.append((time.perf_counter() - started, _cpu_seconds(number) - cpu))
            if ended:
                if len(times) < 2 or '"success":true' not in text.replace(" ", ""):
                    raise UserError(f"the app did not enlarge it: {text[:300]}")
                return times
    raise UserError("the app ended early")


def _fetched(address: str, body: bytes | None = None, kind: str = "") -> bytes:
    request = urllib.request.Request(address, body, {"Content-Type": kind} if kind else {})
    with urllib.request.urlopen(request) as answer:
        found: bytes = answer.read()
        return found


def _sent(address: str, file: Path) -> bytes:
    """Send a file as a form does."""
    edge = uuid.uuid4().hex
    head = f'--{edge}\r\nContent-Disposition: form-data; name="files"; filename="{file.name}"\r\n'
    body = f"{head}Content-Type: image/png\r\n\r\n".encode() + file.read_bytes()
    return _fetched(
        address, body + f"\r\n--{edge}--\r\n".encode(), f"multipart/form-data; boundary={edge}"
    )


def _cpu_seconds(number: int) -> float:
    """Return what a process has used, as Linux says; not a number elsewhere."""
    try:
        fields: list[Any] = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return float("nan")
    return (int(fields[11]) + int(fields[12])) / TICKS


if __name__ == "__main__":
    sys.exit(main())
