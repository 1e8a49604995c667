"""The shipped signal without a network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import make_candles

from freqlstm.candles import Candles
from freqlstm.errors import UsageError
from freqlstm.plugins import find
from freqlstm.signal import Signal, prediction_table

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def momentum() -> type[Signal]:
    return find("signal", "momentum", ROOT).load()


def test_the_return_so_far_goes_on_at_the_same_pace(momentum: type[Signal], candles: Candles) -> None:
    close = candles.close.to_numpy()
    said = momentum(lookback=10, horizon=5).predict(candles).to_numpy()
    assert np.isnan(said[:10]).all()
    np.testing.assert_allclose(said[10:], np.log(close[10:] / close[:-10]) / 2, rtol=0, atol=1e-15)


def test_it_needs_no_fit_and_no_more_than_its_lookback(momentum: type[Signal], candles: Candles) -> None:
    signal = momentum(lookback=30)
    assert not signal.needs_fit
    assert signal.warmup == 30
    late = candles.rows(100, 300)
    pd.testing.assert_series_equal(signal.predict(late).iloc[30:], signal.predict(candles).iloc[130:], check_exact=True)


def test_it_never_spans_a_gap(momentum: type[Signal]) -> None:
    candles = make_candles(100)
    broken = Candles(candles.frame.drop(candles.time[50]), candles.symbol, candles.timeframe)
    said = prediction_table(momentum(lookback=10), broken)["prediction"].to_numpy()
    assert np.isnan(said[50:60]).all()
    assert np.isfinite(said[60:]).all()


def test_it_forecasts_returns_only(momentum: type[Signal]) -> None:
    with pytest.raises(UsageError, match=r"^Parameter 'target' of Momentum is 'volatility'\. It must be 'return'\.$"):
        momentum(target="volatility")
