"""Measure npsrcnn beside other packages, in one run: `python -m benchmarks`.

Medians, taken in turn, on the same threads, after checking that all compute the same. The
peak is what multiply-adds in registers reach in the same turns. Install npsrcnn[bench] for the
others; packages that are missing are left out, and so are those slower than --patience; one that
fails says so.
`python -m benchmarks cuda` measures a GPU, with options of its own.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType

from benchmarks import data_path, inference, memory, mpi, startup, training, whole
from benchmarks.measure import REPEATS, Row, machine
from benchmarks.peers import PEERS
from npsrcnn.commands import frame
from npsrcnn.errors import UserError
from npsrcnn.runtime.files import write_atomically
from npsrcnn.runtime.threads import get_num_threads

SUBJECTS: dict[str, ModuleType] = {
    "inference": inference,
    "training": training,
    "start-up": startup,
    "data-path": data_path,
    "whole": whole,
    "memory": memory,
    "mpi": mpi,
}
COLUMNS: dict[str, Callable[[Row], str]] = {
    "case": lambda row: row.case,
    "threads": lambda row: str(row.threads),
    "by": lambda row: row.by,
    "ms": lambda row: "" if row.ms is None else f"{row.ms:,.1f}",
    "GFLOP/s": lambda row: "" if row.gflops is None else f"{row.gflops:,.0f}",
    "of peak": lambda row: "" if row.share is None else f"{row.share:.0%}",
    "npsrcnn is faster": lambda row: "" if row.speedup is None else f"{row.speedup:.1f} times",
    "": lambda row: row.value or "",
}


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the command's options."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "subjects", nargs="*", metavar="SUBJECT", help=f"of {', '.join(SUBJECTS)}; default: all"
    )
    parser.add_argument("--networks", nargs="+", help="such as 9-1-5; default: all")
    parser.add_argument("--sizes", nargs="+", choices=list(inference.SIZES))
    parser.add_argument("--threads", type=frame.positive_int, help="default: 1, and all cores")
    parser.add_argument(
        "--beside",
        nargs="+",
        choices=PEERS,
        default=list(PEERS),
        metavar="PEER",
        help=f"of {', '.join(PEERS)} (default: all)",
    )
    parser.add_argument("--repeats", type=frame.positive_int, default=REPEATS)
    parser.add_argument("--patience", type=float, default=10.0, metavar="SECONDS")
    parser.add_argument("--json", metavar="FILE", help="all rows, for --rows and for programs")
    parser.add_argument("--rows", nargs="+", metavar="FILE", help="show these, measure nothing")
    parser.add_argument("--plot", metavar="FILE", help="draw inference and training")
    parser.add_argument("--debug", action="store_true")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; see ``--help``. The GPU has a command of its own."""
    argv = sys.argv[1:] if argv is None else list(argv)
    if argv[:1] == ["cuda"]:
        from benchmarks import cuda

        return cuda.main(argv[1:])
    return frame.run(make_parser, run, argv)


def run(options: argparse.Namespace) -> None:
    """Measure, or read, and show."""
    unknown = [subject for subject in options.subjects if subject not in SUBJECTS]
    if unknown:
        raise UserError(f"no subject {unknown[0]!r}; there are {', '.join(SUBJECTS)}")
    cores = get_num_threads()
    options.threads_list = [options.threads] if options.threads else sorted({1, cores})
    if options.rows:
        facts, rows = _read(options.rows)
    else:
        facts, rows = machine(), []
        for row in _measured(options):
            rows.append(row)
            print(", ".join(text for make in COLUMNS.values() if (text := make(row))), flush=True)
    print("\n" + report(facts, rows))
    if options.json:
        with write_atomically(options.json) as path:
            document = {"machine": facts, "rows": [row.as_dict() for row in rows]}
            path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    if options.plot:
        from benchmarks.plot import draw

        draw(rows, facts, Path(options.plot))


def _measured(options: argparse.Namespace) -> Iterator[Row]:
    for subject in options.subjects or SUBJECTS:
        yield from SUBJECTS[subject].rows(options)


def _read(files: list[str]) -> tuple[dict[str, str], list[Row]]:
    facts: dict[str, str] = {}
    rows = []
    for file in files:
        document = json.loads(Path(file).read_text(encoding="utf-8"))
        facts |= document["machine"]
        rows += [Row(**row) for row in document["rows"]]
    return facts, rows


def report(facts: dict[str, str], rows: list[Row]) -> str:
    """Return Markdown: the machine, and a table for each subject."""
    text = ["; ".join(f"{name} {value}" for name, value in facts.items()) + "."]
    for subject in dict.fromkeys(row.subject for row in rows):
        mine = [row for row in rows if row.subject == subject]
        columns = {name: make for name, make in COLUMNS.items() if any(map(make, mine))}
        text += ["", f"## {subject.capitalize()}", ""]
        text += [f"| {' | '.join(columns)} |", f"|{' --- |' * len(columns)}"]
        text += [f"| {' | '.join(make(row) for make in columns.values())} |" for row in mine]
    return "\n".join(text)


if __name__ == "__main__":
    sys.exit(main())
