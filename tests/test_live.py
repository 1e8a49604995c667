"""One prediction a candle: what it says, and that what was done ahead of the candle changes no bit of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import make_candles, read_real

from freqlstm import inference
from freqlstm.candles import Candles
from freqlstm.errors import TooFewCandles
from freqlstm.live import LivePredictor
from freqlstm.plugins import find
from freqlstm.signal import Signal

ROOT = Path(__file__).resolve().parents[1]
SMALL: dict[str, Any] = {"features": ["return_lag_0", "bollinger_z_20"], "interval_memory": 60, "horizon": 2}
NETWORK = SMALL | {"seeds": 1, "epochs": 1, "units": 4, "lookback": 6}
SIGNALS: dict[str, dict[str, Any]] = {
    "lstm": NETWORK | {"seeds": 2},
    "lstm_volatility": NETWORK,
    "attention_lstm": NETWORK,
    "boosted_lstm": NETWORK | {"base": "ridge", "stages": 2, "margin": 0.0},
    "stack": {"members": ["lstm", "ridge"], "horizon": 2, "interval_memory": 60},
    "updating_lstm": NETWORK | {"every": 5, "sequences": 10},
    "momentum": {"lookback": 10},
}

# Keras converts its variables in a way that numpy 2 has deprecated.
pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"
)


@pytest.fixture(scope="module")
def recorded(real_data: Path) -> Candles:
    """Minutes around the longest gap of 2021, of 285 minutes."""
    whole = read_real(real_data, "BINANCE_BTCUSDT_1m_20210101_20231231.parquet", "BTC/USDT", "1m")
    gap = max((last for first, last in whole.segments() if last < 200_000), default=0)
    assert gap > 100_000
    return whole.rows(gap - 2_500, gap + 700)


def fitted(name: str, candles: Candles) -> Signal:
    kind: Any = find("signal", name, ROOT).load()
    made: Signal = kind(**SIGNALS[name]).fit({candles.symbol: candles.rows(0, 1800)})
    return made


@pytest.mark.parametrize("name", list(SIGNALS))
def test_a_live_row_is_that_of_predict_on_recorded_candles_with_a_gap(name: str, recorded: Candles) -> None:
    signal = fitted(name, recorded)
    whole = signal.predict(recorded)
    table = whole.to_frame("prediction") if isinstance(whole, pd.Series) else whole
    live, spoken = LivePredictor(signal), 0
    for last in (2400, 2401, 2402, *range(2495, 2505), *range(2855, 2860), 3100, 3101):
        row = live.predict(recorded.rows(0, last + 1))
        assert row.name == recorded.time[last]
        wanted = table.iloc[last]
        np.testing.assert_allclose(row[wanted.index], wanted, rtol=1e-6, atol=1e-9)
        spoken += int(np.isfinite(row["prediction"]))
        live.ahead()
    assert 6 <= spoken < 20, "it speaks on both sides of the gap, and not within it"


def test_what_was_done_ahead_changes_no_bit_and_is_all_but_one_step(monkeypatch: pytest.MonkeyPatch) -> None:
    candles = make_candles(2500)
    signal = fitted("lstm", candles)
    asked: list[int] = []
    ask = inference.Forward.outputs

    def counting(self: inference.Forward, matrix: np.ndarray, rows: np.ndarray) -> np.ndarray:
        asked.append(len(rows))
        return ask(self, matrix, rows)

    live, never_ahead = LivePredictor(signal), LivePredictor(signal)
    for last in range(2400, 2405):
        tail = candles.rows(0, last + 1)
        with monkeypatch.context() as patch:
            patch.setattr(inference.Forward, "outputs", counting)
            row = live.predict(tail)
        assert asked == ([0, 0] if last > 2400 else asked), "both networks had been rolled forward, and took one step"
        asked.clear()
        tail = tail.between(live._first, None)
        pd.testing.assert_series_equal(row, signal.predict(tail).iloc[-1], check_exact=True)  # type: ignore[arg-type]
        pd.testing.assert_series_equal(row, never_ahead.predict(tail), check_exact=True)
        live.ahead()


def test_the_candles_that_are_looked_at_stay_few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("freqlstm.live.SPARE", 10)
    candles = make_candles(2500)
    signal = fitted("momentum", candles)
    live, starts = LivePredictor(signal), set()
    for last in range(2000, 2100):
        row = live.predict(candles.rows(0, last + 1))
        assert row["prediction"] == pytest.approx(signal.predict(candles).iloc[last], abs=1e-12)
        starts.add(live._first)
    assert 5 <= len(starts) <= 10


def test_no_candle_is_refused() -> None:
    signal = fitted("momentum", make_candles(1800))
    with pytest.raises(TooFewCandles) as caught:
        LivePredictor(signal).predict(make_candles(10).rows(0, 0))
    assert str(caught.value) == "There is no candle to predict from. Provide those up to the one that just closed."
