"""The figures as one picture: how many times as fast each row is, and how its cost grows with the bars."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")  # before anything asks for a window

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.measure import duration

OURS, THEIRS, GREY = "#1f6fb2", "#c9ced6", "#555555"


def draw(result: dict[str, Any], file: Path) -> None:
    """Write ``result`` as .svg, .png or .pdf, or as a page of .html that holds the picture."""
    compared = [row for row in result["rows"] if row.get("ratio")]
    growth = [row for row in result["rows"] if row.get("growth")]
    parts = [len(compared) * 0.42 + 1.0] * bool(compared) + [4.0] * bool(growth)
    figure = Figure(figsize=(9.0, sum(parts or [2.0]) + 0.6), layout="constrained")
    axes = iter(figure.subplots(max(1, len(parts)), 1, squeeze=False, height_ratios=parts or None)[:, 0])
    if compared:
        _bars(next(axes), compared)
    if growth:
        _lines(next(axes), growth)
    figure.suptitle(
        f"freqlstm beside others, medians of {result['rounds']}; {result['machine']}", fontsize=9, color=GREY
    )
    if file.suffix.lower() in (".html", ".htm"):
        file.write_text(_page(figure))
    else:
        figure.savefig(file, metadata={"Date": None} if file.suffix.lower() == ".svg" else None)


def _bars(axes: Axes, rows: list[dict[str, Any]]) -> None:
    """The time of the fastest competitor over ours, on a logarithmic axis."""
    for at, row in enumerate(reversed(rows)):
        rival = min(row["competitors"], key=lambda one: one["seconds"])
        axes.barh(at, row["ratio"] - 1.0, left=1.0, color=OURS, height=0.62)
        text = f"{row['ratio']:.3g} times: {duration(row['ours']['seconds'])}, {rival['name']} {duration(rival['seconds'])}"
        axes.annotate(
            text, (max(row["ratio"], 1.0), at), (4, 0), textcoords="offset points", va="center", fontsize=7, color=GREY
        )
    axes.set_yticks(range(len(rows)), [row["key"] for row in reversed(rows)], fontsize=8)
    axes.set_xscale("log")
    axes.set_xlim(0.7 * min(1.0, *(row["ratio"] for row in rows)), max(row["ratio"] for row in rows) * 40)
    axes.axvline(1.0, color=GREY, linewidth=0.8)
    axes.set_xlabel("times as fast as what it is compared with", fontsize=8)
    _plain(axes)


def _lines(axes: Axes, rows: list[dict[str, Any]]) -> None:
    """Seconds by bars, both logarithmic."""
    for row in rows:
        bars, seconds = zip(*((point["bars"], point["seconds"]) for point in row["growth"]), strict=True)
        axes.plot(
            bars,
            seconds,
            marker="o",
            markersize=3,
            linewidth=1.2,
            label=f"{row['what']}: bars to the {row['time_power']:.2f}",
        )
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("bars", fontsize=8)
    axes.set_ylabel("seconds", fontsize=8)
    axes.legend(fontsize=7, frameon=False)
    _plain(axes)


def _plain(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)
    axes.grid(axis="x", color=THEIRS, linewidth=0.5)
    axes.set_axisbelow(True)


def _page(figure: Figure) -> str:
    import io

    drawing = io.StringIO()
    figure.savefig(drawing, format="svg", metadata={"Date": None})
    svg = drawing.getvalue()
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>freqlstm: benchmarks</title>'
        f'<body style="margin:2rem;max-width:60rem">{svg[svg.index("<svg") :]}</body></html>\n'
    )
