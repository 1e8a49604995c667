from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from freqlstm.cli import console


def test_a_table_in_a_pipe_is_aligned_and_never_folded(capsys: pytest.CaptureFixture[str]) -> None:
    console.print_table(("name", "rows"), [("a" * 200, 1), ("b [not markup]", 22)], right=["rows"])
    lines = capsys.readouterr().out.splitlines()
    assert lines == [f"{'name':<200}  rows", f"{'a' * 200}     1", f"{'b [not markup]':<200}    22"]


def test_json_has_no_nan_and_times_in_iso_8601(capsys: pytest.CaptureFixture[str]) -> None:
    value = {
        "time": pd.Timestamp("2024-01-01", tz="UTC"),
        "bad": float("nan"),
        "count": np.int64(3),
        "file": Path("x"),
        "rows": (1, None),
    }
    console.print_json(value)
    assert json.loads(capsys.readouterr().out) == {
        "time": "2024-01-01T00:00:00+00:00",
        "bad": None,
        "count": 3,
        "file": "x",
        "rows": [1, None],
    }


def test_names_may_be_repeated_or_joined_by_commas() -> None:
    assert console.split_names(None, None, ["BTC/USDT,ETH/USDT", "SOL/USDT ADA/USDT"]) == (  # type: ignore[arg-type]
        "BTC/USDT", "ETH/USDT", "SOL/USDT", "ADA/USDT",
    )  # fmt: skip


def test_progress_in_a_log_file_is_silent_at_first_and_then_a_line_now_and_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr(console.time, "monotonic", lambda: now[0])
    with console.progress_bar() as progress:
        for second in (1, 5, 12, 13, 30):
            now[0] = float(second)
            progress(second, 40, "fitting")
        now[0] = 60.0
        progress(0, 1, "drawing")
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "30%  fitting\n75%  fitting\ndrawing\n")


def test_progress_on_a_terminal_is_a_bar_on_stderr(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console.sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    with console.progress_bar() as progress:
        progress(1, 4, "fitting")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "fitting" in captured.err
    assert "25%" in captured.err
