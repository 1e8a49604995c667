from __future__ import annotations

from pathlib import Path

import pytest


def test_new_writes_a_strategy_that_is_listed(freqlstm) -> None:
    shown = freqlstm("new", "strategy", "MyDip")
    assert shown.stdout == (
        "wrote strategies/my_dip.py\nNext: freqlstm backtest --strategy my_dip (`freqlstm strategies` lists it)\n"
    )
    assert "my_dip" in freqlstm("strategies").stdout


def test_new_writes_a_signal_that_is_listed(freqlstm) -> None:
    assert "Next: freqlstm train --signal deeper" in freqlstm("new", "signal", "deeper").stdout
    assert "deeper" in freqlstm("signals").stdout


def test_a_new_plugin_that_hides_a_shipped_one_says_so(freqlstm) -> None:
    assert "It hides the shipped strategy of that name." in freqlstm("new", "strategy", "lstm-rsi").stdout


@pytest.mark.parametrize("arguments", [("my_dip",), ("-s", "MyDip"), ("--strategy", "my-dip")])
def test_freqtrades_new_strategy_works(freqlstm, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    assert freqlstm("new-strategy", *arguments).exit_code == 0
    assert (tmp_path / "strategies" / "my_dip.py").is_file()


def test_a_name_is_needed(freqlstm) -> None:
    shown = freqlstm("new", "signal")
    assert shown.exit_code == 2
    assert shown.stderr.startswith("Error: Missing argument 'NAME': how shall the signal be called?")


def test_only_strategies_and_signals_can_be_new(freqlstm) -> None:
    shown = freqlstm("new", "indicator", "x")
    assert shown.exit_code == 2
    assert "'indicator' is not one of 'strategy', 'signal'" in shown.stderr
