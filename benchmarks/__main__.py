"""Measure everything and print one table: ``python -m benchmarks [--json]``."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from benchmarks import bench_feed


def main() -> None:
    """Parse the flags, measure, print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument(
        "--rounds", type=int, default=3, help="how often each variant runs; the median counts (default 3)"
    )
    parser.add_argument("--rows", type=int, default=bench_feed.ROWS, help="candles (default a year of minutes)")
    asked = parser.parse_args()

    def progress(done: float, total: float, text: str) -> None:
        sys.stderr.write(f"{done + 1:.0f}/{total:.0f} {text}\n")

    result = bench_feed.measure(asked.rows, asked.rounds, progress)
    sys.stdout.write((json.dumps(result, indent=2) if asked.json else table(result)) + "\n")


def table(result: dict[str, Any]) -> str:
    """The figures as text, one line an engine."""
    heads = ("engine", "seconds", "bars/s", "peak MB", "times as long")
    rows = [
        (
            one["engine"],
            f"{one['seconds']:.2f}",
            f"{one['bars_per_second']:,}",
            f"{one['peak_mb']:,}",
            f"{one['times_as_long']:.1f}",
        )
        for one in result["rows"]
    ]
    widths = [max(len(row[at]) for row in (heads, *rows)) for at in range(len(heads))]

    def line(row: tuple[str, ...]) -> str:
        first, *rest = (
            text.ljust(width) if not at else text.rjust(width)
            for at, (text, width) in enumerate(zip(row, widths, strict=True))
        )
        return "  ".join((first, *rest))

    title = f"{result['what']}; median of {result['rounds']} rounds, each in a process of its own"
    return "\n".join([title, "", line(heads), "  ".join("-" * width for width in widths), *map(line, rows)])


if __name__ == "__main__":
    main()
