"""Lines of a plugin file that often look ahead: where to search when a check fails, never a verdict."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

WHOLE = ("max", "min", "mean", "median", "quantile", "rank", "std", "sum", "var")  # of a whole column
WINDOWS = ("rolling", "ewm", "expanding", "resample", "groupby")


def hints(path: Path) -> list[str]:
    """Suspicious lines, first to last, as "line 7: …"."""
    try:
        tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return []
    found = sorted(
        {(node.lineno, text) for node in ast.walk(tree) if isinstance(node, ast.Call) for text in _suspicions(node)}
    )
    return [f"line {line}: {text}" for line, text in found]


def _suspicions(call: ast.Call) -> Iterator[str]:
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    arguments = [*call.args, *(keyword.value for keyword in call.keywords)]
    if name in ("shift", "diff", "pct_change", "roll") and any(_negative(each) for each in arguments):
        yield f"{name} with a negative number takes later bars"
    if name in ("bfill", "backfill", "interpolate"):
        yield f"{name} fills in from later bars"
    if name == "fillna" and any(
        isinstance(each, ast.Constant) and each.value in ("bfill", "backfill") for each in arguments
    ):
        yield "fillna fills in from later bars"
    if any(k.arg == "center" and isinstance(k.value, ast.Constant) and k.value.value for k in call.keywords):
        yield "center=True averages over later bars"
    if name == "resample":
        yield "a resampled candle is known only when its last bar has closed"
    if name in ("forward_return", "direction", "log_realised_variance", "outcome", "units"):
        yield f"{name} is a label, which looks ahead"
    if name in WHOLE and isinstance(call.func, ast.Attribute) and not _windowed(call.func.value):
        yield f"{name} of a whole column knows its end"


def _negative(node: ast.expr) -> bool:
    return isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub)


def _windowed(node: ast.expr) -> bool:
    """Whether a value comes out of a rolling window, or is a module such as numpy."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        return node.func.attr in WINDOWS or _windowed(node.func.value)
    return isinstance(node, ast.Name) and node.id in ("np", "numpy", "math")
