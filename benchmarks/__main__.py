"""Measure freqlstm beside what it is compared with, and print one table: what make bench does."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from importlib import import_module
from pathlib import Path
from typing import Any

from benchmarks.ground import Ground
from benchmarks.measure import INSTALL
from benchmarks.row import Row
from benchmarks.table import table

SUBJECTS = (
    "reference", "portfolio", "sweep", "inference", "learning", "startup", "importing", "lstm_rsi", "page", "growth", "latency",
)  # fmt: skip


def main() -> None:
    """Parse the flags, measure, print; exit code 1 if a row failed, 130 after Ctrl-C."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__,
        epilog=f"All rows take an hour and a quarter on two slow cores and up to 10 GB of memory. "
        f"What freqlstm is compared with is installed by `{INSTALL}`.",
    )  # fmt: skip
    parser.add_argument("rows", nargs="*", metavar="ROW", help="only these; --list names them")
    parser.add_argument("--list", action="store_true", help="print the names of the rows and what they measure")
    parser.add_argument("--rounds", type=int, help="how often each variant runs; the median counts (default 5)")
    parser.add_argument("--quick", action="store_true", help="small sizes, one round: whether it runs, not how fast")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("--chart", type=Path, metavar="FILE", help="draw them too: .html, .svg or .png")
    asked = parser.parse_args()
    rounds = asked.rounds if asked.rounds is not None else 1 if asked.quick else 5
    if rounds < 1:
        parser.error(f"--rounds is {rounds}. It must be at least 1.")
    with tempfile.TemporaryDirectory() as folder:
        known = {row.key: row for subject in SUBJECTS for row in _rows(subject, Ground(Path(folder), asked.quick))}
        unknown = [name for name in asked.rows if name not in known]
        if unknown:
            parser.error(f"There is no row {unknown[0]!r}. Rows are {', '.join(known)}.")
        if asked.list:
            sys.stdout.writelines(f"{key:<14} {row.what}\n" for key, row in known.items())
            return
        result = measure([row for key, row in known.items() if key in (asked.rows or known)], rounds, not asked.quick)
    sys.stdout.write((json.dumps(result, indent=2) if asked.json else table(result)) + "\n")
    if asked.chart is not None:
        from benchmarks.chart import draw

        draw(result, asked.chart)
    if result["interrupted"]:
        sys.exit(130)
    sys.exit(any(row["verdict"] == "failed" for row in result["rows"]))


def _rows(subject: str, ground: Ground) -> list[Row]:
    found: list[Row] = import_module(f"benchmarks.rows.{subject}").rows(ground)
    return found


def measure(rows: list[Row], rounds: int, judge: bool) -> dict[str, Any]:
    """All figures, with progress on stderr; after Ctrl-C those of the rows that had ended."""
    total = sum(min(one.rounds or rounds, rounds) for row in rows for one in row.turns)
    start, done = time.perf_counter(), 0

    def tell(text: str) -> None:
        nonlocal done
        done += 1
        sys.stderr.write(f"{done}/{total}  {time.perf_counter() - start:4.0f} s  {row.key}: {text}\n")

    found: list[dict[str, Any]] = []
    interrupted = False
    try:
        for row in rows:
            found.append(row.measure(rounds, tell, judge))
    except KeyboardInterrupt:
        interrupted = True
        sys.stderr.write(f"Interrupted in the row {row.key}: of {len(rows)} rows, {len(found)} are measured.\n")
    return {"machine": machine(), "rounds": rounds, "judged": judge, "interrupted": interrupted, "rows": found}


def machine() -> str:
    """Cores, processor and Python, as short as a person would say it."""
    cpuinfo = Path("/proc/cpuinfo")
    model = platform.processor() or platform.machine()
    if cpuinfo.is_file():
        names = [
            line.partition(":")[2].strip() for line in cpuinfo.read_text().splitlines() if line.startswith("model name")
        ]
        model = names[0] if names else model
    return f"{os.cpu_count()} cores of {model}, Python {platform.python_version()}"


if __name__ == "__main__":
    main()
