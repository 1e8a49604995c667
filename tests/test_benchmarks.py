"""The benchmarks run, and compare what does the same work."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def bench(*flags: str) -> str:
    ended = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--rows", "2500", "--rounds", "1", *flags],
        cwd=ROOT, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_every_variant_fills_the_same_orders() -> None:
    """Or there would be no figures."""
    told = json.loads(bench("--json"))
    assert [row["engine"].split(",")[0] for row in told["rows"]] == ["freqlstm", "Backtrader", "Backtrader"]
    assert all(row["bars_per_second"] > 0 and row["peak_mb"] > 50 for row in told["rows"])
    assert "2,500 candles" in told["what"]
    assert " 0 identical fills" not in told["what"]


def test_without_a_flag_the_figures_are_a_table() -> None:
    title, empty, heads, rule, *rows = bench().splitlines()
    assert title.endswith("median of 1 rounds, each in a process of its own")
    assert (empty, heads.split()[0], set(rule)) == ("", "engine", {"-", " "})
    assert len(rows) == 3
