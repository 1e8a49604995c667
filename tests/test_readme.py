"""What the README says is so."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from freqlstm.cli.main import ALIASES, VERBS
from freqlstm.run import run_of

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("verb", VERBS)
def test_every_command_is_in_the_readme(verb: str) -> None:
    assert f"`freqlstm {verb}" in README


def test_no_command_is_in_the_readme_that_there_is_not() -> None:
    assert set(re.findall(r"freqlstm ([a-z][a-z-]+)\b(?= |`)", README)) <= {*VERBS, *ALIASES, "VERB"}


@pytest.mark.parametrize("file", ["strategies/lstm_rsi.py", "signals/lstm.py"])
def test_a_plugin_shown_whole_is_the_one_that_ships(file: str) -> None:
    assert f"```python\n{(ROOT / file).read_text(encoding='utf-8')}```" in README


def test_its_order_is_picture_commands_strategy_signal_candles_paper_limits_figures_licence() -> None:
    order = [
        "docs/tearsheet.png", "$ make backtest", "$ make test", "## A strategy is one file", "## A signal is one file",
        "## Real candles", "## Paper trading", "## What a backtest here models", "## Figures", "## Licence", "Not financial advice",
    ]  # fmt: skip
    places = [README.index(part) for part in order]
    assert places == sorted(places)
    assert (ROOT / "docs" / "tearsheet.png").stat().st_size > 50_000


def test_the_run_file_that_ships_is_a_run_file() -> None:
    run = run_of(tomllib.loads((ROOT / "backtests" / "lstm_rsi.toml").read_text(encoding="utf-8")), "the example")
    assert run.strategy == "lstm_rsi"
