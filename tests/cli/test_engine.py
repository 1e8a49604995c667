"""``freqlstm backtest --engine`` and the key ``engine`` of run files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from cli.conftest import Freqlstm

DAILY = ("-s", "rsi_bollinger", "--exchange", "demo", "-i", "1h", "--timerange", "20240101-20240301")


def told(freqlstm: Freqlstm, *arguments: str) -> dict[str, Any]:
    done = freqlstm("backtest", *arguments, "--export", "none", "--json")
    assert done.exit_code == 0, done.stderr
    content: dict[str, Any] = json.loads(done.stdout)
    return content


def test_every_engine_gives_the_same_result_and_counts_as_one_configuration(freqlstm: Freqlstm) -> None:
    results = {
        name: told(freqlstm, *DAILY, "--engine", name) for name in ("backtrader", "compiled", "backtrader-stock")
    }
    folders = {name: Path(result["folder"]) for name, result in results.items()}
    for name, folder in folders.items():
        assert json.loads((folder / "manifest.json").read_text())["engine"] == name
        assert f'engine = "{name}"' in (folder / "run.toml").read_text()
        assert results[name]["luck"]["configurations_tried"] == 1
        for file in ("trades.parquet", "equity.parquet"):
            pd.testing.assert_frame_equal(
                pd.read_parquet(folder / file), pd.read_parquet(folders["backtrader"] / file), check_exact=True
            )
    assert results["compiled"]["trades"]["closed"] > 5
    reproduced = freqlstm("reproduce", folders["compiled"].name)
    assert reproduced.exit_code == 0
    file = folders["compiled"] / "run.toml"
    assert json.loads((Path(told(freqlstm, str(file))["folder"]) / "manifest.json").read_text())["engine"] == "compiled"


@pytest.mark.parametrize("where", ["flag", "file"])
def test_an_unknown_engine_is_one_line(freqlstm: Freqlstm, tmp_path: Path, where: str) -> None:
    (tmp_path / "mine.toml").write_text('strategy = "rsi_bollinger"\nengine = "compield"\n')
    done = freqlstm("backtest", *(("mine.toml",) if where == "file" else (*DAILY, "--engine", "compield")))
    assert done.exit_code == 2
    assert done.stderr == (
        "Error: No engine named 'compield'. Did you mean 'compiled'? There are backtrader, backtrader-stock and compiled.\n"
    )


def test_a_strategy_with_its_own_next_is_refused_before_anything_is_fitted(freqlstm: Freqlstm, tmp_path: Path) -> None:
    (tmp_path / "strategies").mkdir()
    (tmp_path / "strategies" / "mine.py").write_text(
        '"""Mine."""\n\nfrom freqlstm import Strategy\n\n\nclass Mine(Strategy):\n'
        '    signals = dict(prediction="lstm")\n\n    def next(self):\n        pass\n'
    )
    done = freqlstm("backtest", "-s", "mine", "--exchange", "demo", "--engine", "compiled")
    assert done.exit_code == 1
    assert done.stderr == (
        "Error: Mine has its own next(), and the compiled engine runs conditions over columns only. "
        "Run it with --engine backtrader.\n"
    )
    assert not (tmp_path / "models").exists()
