"""Which fitted signal may forecast, and what it says."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest
from conftest import make_candles

from freqlstm.candles import Candles
from freqlstm.errors import ModelError, UnknownName
from freqlstm.forecast import forecast, newest_model, train
from freqlstm.plugins import Plugin, find
from freqlstm.signal import Signal

BTC = "BTC/USDT"
MEAN = """from freqlstm import Signal
class Mean(Signal):
    level_: float
    @property
    def warmup(self):
        return 1
    def learn(self, market, progress):
        self.level_ = float(next(iter(market.values())).close.mean())
    def predict(self, candles):
        return candles.close * 0 + self.level_
    def read_files(self, folder):
        with open(folder.parents[2] / "loaded", "a") as file:
            file.write(folder.name + " ")
"""


@pytest.fixture
def plugin(tmp_path: Path) -> Plugin:
    (tmp_path / "signals").mkdir()
    (tmp_path / "signals" / "mean.py").write_text(MEAN)
    return find("signal", "mean", tmp_path)


def of(exchange: str, first: int, last: int, symbol: str = BTC) -> Candles:
    candles = make_candles(300, symbol=symbol).rows(first, last)
    return Candles(candles.frame, symbol, "1m", exchange)


def last_seen(plugin: Plugin, candles: Candles, models: Path, **parameters: object) -> pd.Timestamp:
    signal = newest_model(plugin, candles, models, parameters)
    return pd.Timestamp(signal.training_["candles"][candles.symbol]["last"])


def test_the_one_trained_on_the_newest_candles_forecasts_and_no_other_is_loaded(plugin: Plugin, tmp_path: Path) -> None:
    models = tmp_path / "models"
    candles = of("binance", 0, 300)
    folders = [train(plugin, {}, {BTC: candles.rows(0, rows)}, models)[1] for rows in (100, 300, 200)]
    signal = newest_model(plugin, candles, models)
    assert (tmp_path / "loaded").read_text().split() == [folders[1].name]
    said = forecast(signal, candles)
    assert said.prediction == pytest.approx(candles.close.mean())
    assert said.trained_until == said.known_at == candles.time[-1] + candles.step
    (folders[1] / "signal.json").write_text("{")
    assert last_seen(plugin, candles, models) == candles.time[199]


class Remembers(Signal):
    """Its interval is there once 1,000 bars lie before."""

    memory = 1000

    def predict(self, candles: Candles) -> pd.DataFrame:
        old = candles.close.where(candles.segment_age >= 1000)
        return pd.DataFrame({"prediction": candles.close, "prediction_low": old, "prediction_high": old})


def test_a_forecast_is_made_of_as_many_candles_as_its_interval_remembers() -> None:
    candles = make_candles(3000)
    said = forecast(Remembers(), candles)
    assert said.prediction_low == said.prediction == candles.close.iloc[-1]
    few = forecast(Remembers(), candles.rows(0, 900))
    assert few.prediction == candles.close.iloc[899]
    assert pd.isna(few.prediction_low)


def test_a_model_of_another_exchange_does_not_forecast(plugin: Plugin, tmp_path: Path) -> None:
    models = tmp_path / "models"
    train(plugin, {}, {BTC: of("demo", 0, 200)}, models)
    message = (
        r"^No fitted mean for BTC/USDT 1m of binance is in .*`freqlstm train --signal mean -p BTC/USDT -i 1m --exchange binance` "
        r"makes one\. \(One there was trained on candles of demo\.\)$"
    )
    with pytest.raises(ModelError, match=message):
        newest_model(plugin, of("binance", 0, 300), models)
    assert last_seen(plugin, of("demo", 0, 300), models) == of("demo", 0, 200).time[-1]


def test_a_model_with_other_parameters_does_not_forecast_unless_they_are_asked_for(
    plugin: Plugin, tmp_path: Path
) -> None:
    models = tmp_path / "models"
    candles = of("binance", 0, 300)
    train(plugin, {"horizon": 60}, {BTC: candles}, models)
    with pytest.raises(ModelError, match=r"\(One there was fitted with horizon = 60, not 5\.\)$"):
        newest_model(plugin, candles, models)
    assert newest_model(plugin, candles, models, {"horizon": 60}).horizon == 60
    with pytest.raises(
        ModelError, match=r"--exchange binance --set horizon=7 --set 'features=\[\"rsi_14\"\]'` makes one"
    ):
        newest_model(plugin, candles, models, {"horizon": 7, "features": ["rsi_14"]})
    with pytest.raises(UnknownName, match="horizn"):
        newest_model(plugin, candles, models, {"horizn": 7})


@pytest.mark.parametrize("symbols", [(BTC,), (BTC, "ETH/USDT")])
def test_a_model_trained_past_the_newest_candle_does_not_forecast(
    symbols: tuple[str, ...], plugin: Plugin, tmp_path: Path
) -> None:
    models = tmp_path / "models"
    *others, last = symbols
    market = {symbol: of("binance", 0, 200, symbol) for symbol in others} | {last: of("binance", 0, 201, last)}
    train(plugin, {}, market, models)
    with pytest.raises(
        ModelError, match=r"\(One there was trained up to 2024-01-01 03:20:00\+00:00 UTC, after the newest"
    ):
        newest_model(plugin, of("binance", 0, 200), models)
    assert newest_model(plugin, of("binance", 0, 201), models).needs_fit


def test_without_any_model_there_is_only_the_advice(plugin: Plugin, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "models", ignore_errors=True)
    with pytest.raises(ModelError, match=r"makes one\.$"):
        newest_model(plugin, of("binance", 0, 200), tmp_path / "models")
