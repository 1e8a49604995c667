"""The demo market is the same everywhere and has what a strategy can be tried on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from freqlstm.candles import TIMEFRAMES, Candles, resample, validate
from freqlstm.demo import ASSETS, demo_candles, demo_market
from freqlstm.errors import UnknownName, UsageError
from freqlstm.quality import report

ROOT = Path(__file__).resolve().parents[1]
DIGEST = "0b2c3b094e1dab005bf7d016006bb7279b76cfe94d9166dfec98f28f569d76e4"


@pytest.fixture(scope="module")
def market() -> dict[str, Candles]:
    return demo_market()


def log_return(candles: Candles, bars: int = 1) -> pd.Series:
    price = np.log(candles.close)
    return price - price.shift(bars)


def test_it_is_91_days_of_minutes_of_four_assets(market: dict[str, Candles]) -> None:
    assert list(market) == ["BTC/USDT", "ETH/USDT", "SOL/USDT", "ADA/USDT"]
    for candles in market.values():
        assert len(candles) == 131_040
        assert candles.time[0] == pd.Timestamp("2024-01-01", tz="UTC")
        assert candles.time[-1] == pd.Timestamp("2024-03-31 23:59", tz="UTC")
        assert candles.synthetic
        assert candles.exchange == "demo"


def test_it_is_the_same_on_every_machine(market: dict[str, Candles]) -> None:
    assert market["BTC/USDT"].digest == DIGEST


def test_it_is_the_same_in_another_process(market: dict[str, Candles]) -> None:
    code = "from freqlstm.demo import demo_candles; print(demo_candles('ADA/USDT').digest)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == market["ADA/USDT"].digest


def test_a_symbol_does_not_depend_on_which_others_were_asked_for(market: dict[str, Candles]) -> None:
    alone = demo_market(symbols=("sol/usdt",))
    assert list(alone) == ["SOL/USDT"]
    assert alone["SOL/USDT"].digest == market["SOL/USDT"].digest


def test_changing_the_table_of_one_caller_does_not_change_that_of_the_next() -> None:
    before = demo_candles("BTC/USDT", "1h").digest
    for name in ("open", "close"):
        frame = demo_candles("BTC/USDT", "1h").frame
        frame.loc[frame.index[:10], name] = 1.0
    assert demo_candles("BTC/USDT", "1h").digest == before


@pytest.mark.parametrize("timeframe", TIMEFRAMES)
def test_every_timeframe_is_whole_and_valid(timeframe: str) -> None:
    candles = demo_candles("ADA/USDT", timeframe)
    validate(candles.frame, timeframe)
    quality = report(candles.frame, "ADA/USDT", timeframe)
    assert (quality.missing, quality.off_grid, quality.zero_volume) == (0, 0, 0)
    assert quality.score > 90  # within a second a coarse tick often does not move
    assert candles.time[-1] + candles.step == pd.Timestamp("2024-04-01", tz="UTC")
    assert 1_820 <= len(candles) <= 131_040
    assert candles.frame.index.unit == "ms"
    assert candles.close.between(0.01, 100).all()


def test_prices_are_on_the_tick_grid_and_open_where_the_last_one_closed(market: dict[str, Candles]) -> None:
    for symbol, candles in market.items():
        prices = candles.frame[["open", "high", "low", "close"]].to_numpy() * ASSETS[symbol].ticks
        assert np.abs(prices - np.rint(prices)).max() < 1e-6
        assert (candles.open.to_numpy()[1:] == candles.close.to_numpy()[:-1]).all()


def test_volatility_clusters(market: dict[str, Candles]) -> None:
    for candles in market.values():
        size = log_return(candles).abs()
        assert size.autocorr(1) > 0.2
        assert size.autocorr(60) > 0.08
        assert log_return(candles).kurt() > 3


def test_the_day_has_a_busy_and_a_quiet_time(market: dict[str, Candles]) -> None:
    for candles in market.values():
        by_hour = log_return(candles).abs().groupby(candles.time.hour).mean()
        assert by_hour[15] > 1.3 * by_hour[3]
        assert (
            candles.volume.groupby(candles.time.hour).median()[15]
            > 1.3 * candles.volume.groupby(candles.time.hour).median()[3]
        )


def test_returns_revert_a_little_so_a_forecaster_has_a_little_to_find(market: dict[str, Candles]) -> None:
    for candles in market.values():
        assert -0.07 < log_return(candles).autocorr(1) < -0.03
        assert 0.02 < -log_return(candles, 5).corr(log_return(candles, 5).shift(-5)) < 0.09


def test_what_there_is_to_find_is_less_than_a_usual_commission(market: dict[str, Candles]) -> None:
    """The average edge of a perfect forecast over five bars is far below 0.1 % a side, as in reality."""
    past, future = -log_return(market["BTC/USDT"], 5), log_return(market["BTC/USDT"], 5).shift(-5)
    assert (np.sign(past) * future).mean() < 0.0005


def test_assets_move_together(market: dict[str, Candles]) -> None:
    returns = pd.DataFrame({symbol: log_return(candles) for symbol, candles in market.items()})
    correlation = returns.corr().to_numpy()[np.triu_indices(4, 1)]
    assert ((correlation > 0.5) & (correlation < 0.9)).all()


def test_ranges_are_those_of_a_path_and_not_of_a_line(market: dict[str, Candles]) -> None:
    """A Brownian path's range is twice the mean size of its return; recorded minutes have 2.1."""
    for candles in market.values():
        ratio = float(((candles.high - candles.low) / candles.close).mean() / log_return(candles).abs().mean())
        assert 1.7 < ratio < 2.4


def test_volume_goes_with_movement(market: dict[str, Candles]) -> None:
    for candles in market.values():
        assert 0.4 < log_return(candles).abs().corr(np.log(candles.volume)) < 0.85


def test_it_can_be_resampled_like_any_candles(market: dict[str, Candles]) -> None:
    assert len(resample(market["BTC/USDT"], "1h")) == 91 * 24


def test_it_is_made_in_a_moment() -> None:
    code = (
        "import time; from freqlstm.demo import demo_market; "
        "start = time.process_time(); demo_market(); print(time.process_time() - start)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert float(done.stdout) < 3


def test_an_unknown_symbol_is_refused_with_the_nearest() -> None:
    with pytest.raises(UnknownName) as caught:
        demo_candles("BTC/USDC")
    assert str(caught.value) == "No symbol of the demo market named 'BTC/USDC'. Did you mean 'BTC/USDT'?"
    with pytest.raises(UsageError, match="Timeframe '7m' is not known"):
        demo_candles("BTC/USDT", "7m")
