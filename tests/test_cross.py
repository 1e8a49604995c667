"""Signals that read other symbols: what they gain, what is handed on to members, and what a wrong name costs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import make_candles

from freqlstm.candles import Candles
from freqlstm.errors import NoCandles, UsageError
from freqlstm.models import read_beside
from freqlstm.plugins import find
from freqlstm.signal import prediction_table

CHECKOUT = Path(__file__).resolve().parents[1]
BTC, ETH = "BTC/USDT", "ETH/USDT"


def signal(name: str, **parameters: object):
    return find("signal", name, CHECKOUT).load()(**parameters)


@pytest.fixture(scope="module")
def followed() -> dict[str, Candles]:
    """Candles of ETH, each of whose returns is half of what BTC's was one bar before, and noise."""
    leader = make_candles(6000, seed=1, symbol=BTC)
    moved = np.diff(np.log(leader.close), prepend=np.log(100.0))
    noise = np.random.default_rng(2).normal(0, 1e-3, len(leader))
    close = 100 * np.exp(np.cumsum(0.5 * np.concatenate([[0.0], moved[:-1]]) + noise))
    opened = np.concatenate([[100.0], close[:-1]])
    table = {"open": opened, "high": np.maximum(opened, close), "low": np.minimum(opened, close), "close": close}
    frame = pd.DataFrame({**table, "volume": leader.volume.to_numpy()}, index=leader.time)
    return {BTC: leader, ETH: Candles.from_frame(frame, ETH, "1m")}


def test_what_one_symbol_tells_of_another_is_found_only_by_a_signal_that_reads_it(followed: dict[str, Candles]) -> None:
    eth = followed[ETH].with_beside({BTC: followed[BTC]})
    train, test = eth.rows(0, 4500), eth.rows(4500, 6000)
    outcome = np.log(eth.close).diff().shift(-1)[test.time]

    def correlation(**parameters: object) -> float:
        fitted = signal("ridge", horizon=1, features=["return_lag_0", "return_lag_1"], **parameters).fit({ETH: train})
        said = prediction_table(fitted, test)["prediction"]
        return float(said.corr(outcome)) if said.std() > 0 else 0.0  # validation may leave nothing of it

    assert correlation(cross=[BTC]) > 0.35  # of the 0.45 that there is
    assert abs(correlation()) < 0.1


def test_a_pooled_signal_reads_the_symbol_itself_where_it_is_named(followed: dict[str, Candles]) -> None:
    market = {BTC: followed[BTC], ETH: followed[ETH].with_beside({BTC: followed[BTC]})}
    fitted = signal("ridge", horizon=1, cross=[BTC]).fit(
        {symbol: each.rows(0, 4500) for symbol, each in market.items()}
    )
    inputs = fitted.inputs(market[BTC])
    np.testing.assert_array_equal(inputs["momentum_5"], inputs["momentum_5@BTC/USDT"])
    assert prediction_table(fitted, market[BTC])["prediction"].notna().any()


def test_a_signal_made_of_others_hands_its_symbols_on_to_them() -> None:
    assert read_beside(signal("stack", members=["ridge", "har"], cross=[ETH, BTC])) == [BTC, ETH]
    assert read_beside(signal("stack", members=["ridge", "har"])) == []
    assert read_beside(signal("ridge", features=["return_lag_0", "series:fear_greed", "rsi_14@SOL/USDT"])) == [
        "SOL/USDT",
        "fear_greed",
    ]


def test_candles_without_the_other_symbol_are_refused_when_fitting(followed: dict[str, Candles]) -> None:
    with pytest.raises(
        NoCandles, match=r"^'return_lag_0@BTC/USDT' needs the candles of BTC/USDT beside those of ETH/USDT"
    ):
        signal("ridge", cross=[BTC]).fit({ETH: replace(followed[ETH], beside={})})


def test_a_pair_that_is_not_written_as_one_is_refused() -> None:
    with pytest.raises(UsageError, match=r"^Pair 'BTC' is not written BASE/QUOTE, as in 'BTC/USDT'\."):
        read_beside(signal("ridge", cross=["BTC"]))
