from __future__ import annotations

import json
from pathlib import Path

PLAIN = '"""Waits."""\nimport backtrader as bt\n\n\nclass Wait(bt.Strategy):\n    params = dict(\n        days=3,  # how long\n    )\n'


def test_the_list_has_name_origin_file_and_summary(freqlstm, tmp_path: Path) -> None:
    (tmp_path / "strategies").mkdir()
    (tmp_path / "strategies" / "wait.py").write_text(PLAIN)
    lines = freqlstm("strategies").stdout.splitlines()
    assert lines[0].split() == ["name", "origin", "file", "summary"]
    assert lines[1].split() == ["wait", "project", "strategies/wait.py", "Waits."]
    assert any(line.split()[:2] == ["lstm_rsi", "shipped"] for line in lines)


def test_the_list_as_json(freqlstm) -> None:
    rows = json.loads(freqlstm("strategies", "--json").stdout)
    assert {"lstm_rsi", "buy_and_hold"} <= {row["name"] for row in rows}
    assert all(set(row) == {"name", "origin", "file", "summary"} and row["summary"] for row in rows)


def test_a_hidden_shipped_strategy_is_reported_on_stderr(freqlstm) -> None:
    freqlstm("new", "strategy", "lstm_rsi")
    shown = freqlstm("strategies")
    assert shown.stderr.startswith("strategies/lstm_rsi.py hides the strategy of the same name in ")
    assert "hides" not in shown.stdout


def test_one_strategy_is_described_with_its_parameters(freqlstm, tmp_path: Path) -> None:
    (tmp_path / "strategies").mkdir()
    (tmp_path / "strategies" / "wait.py").write_text(PLAIN)
    assert freqlstm("strategies", "Wait").stdout.splitlines() == [
        "wait: Waits.",
        "project, strategies/wait.py",
        "",
        "parameter  default  meaning",
        "days       3        how long",
    ]
    described = json.loads(freqlstm("strategies", "wait", "--json").stdout)
    assert described["parameters"] == {"days": 3}


def test_a_shipped_signal_is_described_with_its_parameters(freqlstm) -> None:
    described = json.loads(freqlstm("signals", "momentum", "--json").stdout)
    assert described["origin"] == "shipped"
    assert "horizon" in described["parameters"]


def test_a_broken_file_is_listed_as_what_it_is_and_refused_when_asked_for(freqlstm, tmp_path: Path) -> None:
    (tmp_path / "strategies").mkdir()
    (tmp_path / "strategies" / "bad.py").write_text("def x(:\n")
    assert "(broken: line 1: SyntaxError: invalid syntax)" in freqlstm("strategies").stdout
    shown = freqlstm("strategies", "bad")
    assert shown.exit_code == 1
    assert (
        shown.stderr == "Error: strategies/bad.py is broken: line 1: SyntaxError: invalid syntax. Correct the file.\n"
    )


def test_an_unknown_signal_gets_the_nearest_one(freqlstm) -> None:
    shown = freqlstm("signals", "momentm")
    assert shown.exit_code == 2
    assert shown.stderr == (
        "Error: No signal named 'momentm'. Did you mean 'momentum'? `freqlstm signals` lists what there is.\n"
    )


def test_a_long_default_is_listed_below_the_table_so_that_meanings_stay_in_sight(freqlstm) -> None:
    lines = freqlstm("signals", "ridge").stdout.splitlines()
    assert max(map(len, lines[3:-1])) < 160
    assert next(line for line in lines if line.startswith("features ")).split()[1:4] == ["28,", "see", "below"]
    assert lines[-1].startswith("features: return_lag_0, return_lag_1, ")
    assert lines[-1].endswith(", minute_of_quarter")
