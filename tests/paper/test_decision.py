"""The decision at the newest bar is the truth that a backtest finds in that row."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import make_candles, read_real

from freqlstm.bars import CONDITIONS, ENDINGS, Bars, Decisions
from freqlstm.candles import Candles
from freqlstm.columns import vote
from freqlstm.errors import PluginError
from freqlstm.paper.decision import Decider, Forecaster
from freqlstm.paper.tail import Tail
from freqlstm.plugins import find
from freqlstm.signal import prediction_table
from freqlstm.strategy import Strategy, decide, history_needed, signals_of

HOLES = [  # recorded minutes around pauses of the exchange
    ("BINANCE_BTCUSDT_1m_20210101_20231231.parquet", "BTC/USDT", "2021-04-25 00:00", "2021-04-25 16:00"),
    ("BINANCE_ADAUSDT_1m_20210402_20210615.parquet", "ADA/USDT", "2021-04-24 22:00", "2021-04-25 14:00"),
]


class Confluence(Strategy):
    """Looks back on predictions and closes without saying so, votes, and sizes by the forecast."""

    signals = {"prediction": "lstm", "volatility": "lstm_volatility"}

    def enter_long(self, bars: Bars) -> Any:
        turned = (bars.prediction > 0) & (bars.prediction.shift(1) <= 0)
        return vote(turned=(2.0, turned), rsi=(1.0, bars.rsi(7) < 50), up=(1.0, bars.close > bars.close.shift(3))) >= 3

    def exit_long(self, bars: Bars) -> Any:
        return (bars.prediction < 0) & (bars.macd().histogram < 0)

    def share(self, bars: Bars) -> Any:
        return (1 / (1 + bars.volatility.abs())).clip(0, 1)


def said_of(candles: Candles, columns: Mapping[str, str]) -> pd.DataFrame:
    """Seeded predictions of every column, some of them missing."""
    random = np.random.default_rng(5)
    table = {}
    for column in columns:
        for ending in ENDINGS:
            values = random.normal(0, 1e-3, len(candles))
            values[random.random(len(candles)) < 0.05] = np.nan
            table[f"{column}{ending}"] = values
    return pd.DataFrame(table, index=candles.time)


def in_a_backtest(strategy: type[Strategy], candles: Candles, said: pd.DataFrame, first: int) -> Decisions:
    """The decisions from row ``first`` on, with the history that they need before it and no prediction there."""
    few = candles.rows(first, first + 50)
    history = min(first, history_needed(strategy, {}, Bars(few, said.iloc[first : first + 50])))
    whole = candles.rows(first - history, len(candles))
    return decide(strategy, {}, Bars(whole, said.iloc[first:].reindex(whole.time))).since(history)


@pytest.mark.parametrize(
    "name", ["lstm_rsi", "lstm_macd", "lstm_bollinger", "rsi_bollinger", "lstm_volatility_gate", "confluence"]
)
@pytest.mark.parametrize(("file", "symbol", "start", "end"), HOLES, ids=["BTC", "ADA"])
def test_bar_by_bar_the_decisions_are_those_of_the_backtest_also_around_gaps(
    real_data: Path, name: str, file: str, symbol: str, start: str, end: str
) -> None:
    strategy = Confluence if name == "confluence" else find("strategy", name, Path()).load()
    candles = read_real(real_data, file, symbol, "1m").between(
        pd.Timestamp(start, tz="UTC"), pd.Timestamp(end, tz="UTC")
    )
    assert candles.segment[-1] > 0, "there is a gap in it"
    first = 500
    columns = signals_of(strategy)
    said = said_of(candles, columns)
    expected = in_a_backtest(strategy, candles, said, first)
    decider = Decider(strategy, {}, {symbol: candles.rows(0, first)}, tuple(columns))
    stamps, values = candles.time.as_unit("ms").asi8, candles.frame.to_numpy()
    for row in range(first, len(candles)):
        decider.append(symbol, int(stamps[row]), tuple(values[row]))
        found = decider.decide(symbol, said.iloc[row].to_dict())
        for condition in CONDITIONS:
            truth = bool(getattr(expected, condition)[row - first])
            assert getattr(found, condition) == truth, (condition, candles.time[row])
            if truth:
                assert found.fired[condition] == expected.fired(condition, row - first)
                assert found.votes.get(condition, "") == expected.votes(condition, row - first)
        if expected.share is None:
            assert found.share is None
        else:
            np.testing.assert_equal(found.share, expected.share[row - first])


@pytest.mark.parametrize("name", ["momentum", "ridge"])
def test_the_newest_prediction_is_that_of_the_whole_table(name: str) -> None:
    candles = make_candles(4200, seed=3)
    signal = find("signal", name, Path()).load()()
    if signal.needs_fit:
        signal.fit({"BTC/USDT": candles.rows(0, 4000)})
    whole = prediction_table(signal, candles)
    forecaster = Forecaster(signal, "prediction")
    kept = 2 * signal.memory + 1100
    tail = Tail(candles.rows(0, 4100), kept)
    stamps, values = candles.time.as_unit("ms").asi8, candles.frame.to_numpy()
    for row in range(4100, 4200):
        tail.append(int(stamps[row]), tuple(values[row]))
        found = forecaster.newest(tail.candles(kept))
        assert list(found) == ["prediction", "prediction_low", "prediction_high", "prediction_spread"]
        np.testing.assert_allclose(list(found.values()), whole.iloc[row], rtol=1e-9, atol=1e-12)


def test_a_tail_keeps_the_newest_candles_however_many_come() -> None:
    candles = make_candles(9000)
    tail = Tail(candles.rows(0, 10), 100, ("prediction",))
    stamps, values = candles.time.as_unit("ms").asi8, candles.frame.to_numpy()
    for row in range(10, 9000):
        tail.append(int(stamps[row]), tuple(values[row]))
        tail.predict({"prediction": float(row)})
    kept = tail.candles(100)
    pd.testing.assert_frame_equal(kept.frame, candles.frame.iloc[-100:], check_freq=False)
    assert tail.predictions(100)["prediction"].tolist() == [float(row) for row in range(8900, 9000)]
    with pytest.raises(ValueError, match="follows"):
        tail.append(int(stamps[-1]), tuple(values[-1]))


def test_a_strategy_that_fails_is_told_as_its_own_fault() -> None:
    class Broken(Strategy):
        def enter_long(self, bars: Bars) -> Any:
            return bars.close > bars.nothing

    with pytest.raises(PluginError, match=r"Broken.enter_long stopped at line .* bars has no column 'nothing'"):
        Decider(Broken, {}, {"BTC/USDT": make_candles(100)}, ())
