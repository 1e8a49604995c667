"""The figures as text: one line a row, what is worth knowing about each below."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.measure import duration

HEADS = ("row", "freqlstm", "peak MB", "compared with", "takes", "peak MB", "ratio", "target", "")


def lines_of(row: dict[str, Any]) -> list[tuple[str, ...]]:
    """The fastest competitor stands beside ours, the others below it."""
    rivals = sorted(row["competitors"], key=lambda one: one["seconds"])
    ours = row["ours"]
    left = (duration(ours["seconds"]), f"{ours['peak_mb']:,.0f}") if ours else ("", "")
    target = ", ".join(one["text"] for one in row["targets"])
    ratio = "" if row["ratio"] is None else f"{row['ratio']:.1f}"
    first = _rival(rivals[0]) if rivals else ("", "", "")
    lines: list[tuple[str, ...]] = [(row["key"], *left, *first, ratio, target, verdict(row))]
    for rival in [*rivals[1:], *row["beside"]]:
        again = f"{rival['seconds'] / ours['seconds']:.1f}"
        lines.append(("", "", "", *_rival(rival), again, "", ""))
    for one in row["further"]:
        lines.append((f"  {one['name']}", duration(one["seconds"]), f"{one['peak_mb']:,.0f}", "", "", "", "", "", ""))
    return lines


def verdict(row: dict[str, Any]) -> str:
    """What is not as it should be is loud."""
    told: str = row["verdict"]
    return told.upper() if told in ("missed", "failed") else told


def _rival(one: dict[str, Any]) -> tuple[str, str, str]:
    few = {1: " (once)", 2: " (twice)", 3: " (3 rounds)"}.get(one["rounds"], "")
    return f"{one['name']}{few}", duration(one["seconds"]), f"{one['peak_mb']:,.0f}"


def aligned(heads: Sequence[str], rows: Sequence[Sequence[str]], left: Sequence[int]) -> list[str]:
    """Columns as wide as their widest cell; those numbered in ``left`` begin at the left."""
    widths = [max(len(row[at]) for row in (heads, *rows)) for at in range(len(heads))]

    def line(row: Sequence[str]) -> str:
        cells = [
            text.ljust(width) if at in left else text.rjust(width)
            for at, (text, width) in enumerate(zip(row, widths, strict=True))
        ]
        return "  ".join(cells).rstrip()

    return [line(heads), "  ".join("-" * width for width in widths), *map(line, rows)]


def table(result: dict[str, Any]) -> str:
    """Everything, for a terminal of 150 columns."""
    measured = [row for row in result["rows"] if "growth" not in row]
    growth = [row for row in result["rows"] if "growth" in row]
    text = [
        f"{result['machine']}; medians of {result['rounds']} rounds, every variant in a process of its own, taking turns; "
        "peak memory of the whole process",
    ]
    if measured:
        cells = [line for row in measured for line in lines_of(row)]
        text += ["", *aligned(HEADS, cells, left=(0, 3, 7, 8))]
        told = [(row["key"], row["what"] + (f": {row['note']}" if row["note"] else "")) for row in measured]
        width = max(len(key) for key, _ in told)
        text += ["", *(f"{key.ljust(width)}  {said}" for key, said in told)]
    if growth:
        text += ["", *growth_table(growth)]
    return "\n".join(text)


def growth_table(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Time and memory by the number of bars, and the power of the bars that they grow with."""
    bars = sorted({point["bars"] for row in rows for point in row["growth"]})
    heads = ("scaling", *(f"{count:,.0f} bars" for count in bars), "grows with bars to the", "target", "")
    cells = []
    for row in rows:
        points = {point["bars"]: point for point in row["growth"]}
        target = row["targets"][0]["text"]
        for what, power in (("seconds", row["time_power"]), ("peak_mb", row["memory_power"])):
            shown = [
                "" if count not in points
                else duration(points[count][what]) if what == "seconds" else f"{points[count][what]:,.0f} MB"
                for count in bars
            ]  # fmt: skip
            ends = ("", "") if what == "peak_mb" else (target, verdict(row))
            cells.append(
                (
                    row["what"] if what == "seconds" else "  memory",
                    *shown,
                    "" if power is None else f"{power:.2f}",
                    *ends,
                )
            )
        if row["note"]:
            cells.append((f"  {row['note']}", *[""] * (len(heads) - 1)))
    return aligned(heads, cells, left=(0, len(heads) - 2, len(heads) - 1))
