"""The page, as text and in a real browser with the network off."""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from freqlstm import quality, stats
from freqlstm.candles import Candles
from freqlstm.report import figures, tearsheet, write_tearsheet
from freqlstm.results import Result, trade_table
from freqlstm.skill import forecast_skill

CASH = 10_000.0
COMMISSION, SLIPPAGE = 0.001, 0.0001


def wild_candles(symbol: str, rows: int, seed: int, exchange: str = "demo") -> Candles:
    """Minutes whose volatility comes in clusters."""
    random = np.random.default_rng(seed)
    volatility = 6e-4 * np.exp(np.convolve(random.normal(0, 0.04, rows + 500), np.ones(500) / np.sqrt(25), "valid")[:rows])
    close = 30_000 / seed * np.exp(np.cumsum(random.normal(1e-7, volatility)))
    open_ = np.concatenate([close[:1], close[:-1]])
    wick = np.abs(random.normal(0, volatility / 2, (2, rows)))
    frame = pd.DataFrame(
        {
            "open": open_,
            "high": np.maximum(open_, close) * (1 + wick[0]),
            "low": np.minimum(open_, close) * (1 - wick[1]),
            "close": close,
            "volume": random.lognormal(2, 1, rows),
        },
        index=pd.date_range("2024-01-01", periods=rows, freq="min", tz="UTC"),
    )
    return Candles.from_frame(frame, symbol, "1m", exchange)


def make_result(
    symbols: tuple[str, ...] = ("BTC/USDT",), rows: int = 20 * 1440, each: int = 40, exchange: str = "demo"
) -> Result:
    """A run whose trades open at random bars, whose equity is what they make, and whose forecasts know a little."""
    random = np.random.default_rng(5)
    market = {symbol: wild_candles(symbol, rows, number + 1, exchange) for number, symbol in enumerate(symbols)}
    time_ = next(iter(market.values())).time
    predictions, found, equity = {}, [], np.full(rows, CASH)
    hold = np.zeros(rows)
    for symbol, candles in market.items():
        close, open_ = candles.close.to_numpy(), candles.open.to_numpy()
        ahead = np.log(np.concatenate([close[5:], np.full(5, close[-1])]) / close)
        said = pd.Series(0.05 * ahead + random.normal(0, 5e-5, rows), index=candles.time)
        said.iloc[: rows // 10] = np.nan
        predictions[symbol] = pd.DataFrame({"prediction": said})
        starts = np.sort(random.choice(np.arange(10, max(11, rows - 200), 160), size=min(each, max(rows // 200, 0)), replace=False))
        for number, start in enumerate(starts):
            held = int(random.integers(5, 120))
            way = 1 if number % 3 else -1
            entry, exit_ = open_[start] * (1 + way * SLIPPAGE), open_[start + held] * (1 - way * SLIPPAGE)
            size = 0.3 * CASH / entry
            commission, slippage = COMMISSION * size * (entry + exit_), SLIPPAGE * size * (open_[start] + open_[start + held])
            gross = way * size * (open_[start + held] - open_[start])
            net = gross - commission - slippage
            equity[start : start + held] += np.linspace(0, net, held)
            equity[start + held :] += net
            found.append(
                {
                    "symbol": symbol, "side": "long" if way > 0 else "short", "status": "closed",
                    "decided_at": candles.time[start], "entry_time": candles.time[start],
                    "exit_time": candles.time[start + held], "size": size, "entry_price": entry, "exit_price": exit_,
                    "entry_reason": f"enter_{'long' if way > 0 else 'short'}: prediction > 0.0008, rsi(14) < 35",
                    "exit_reason": "exit: prediction < 0", "votes": "", "prediction": said.iloc[start],
                    "gross_pnl": gross, "commission": commission, "slippage": slippage, "net_pnl": net,
                    "net_return": net / (size * entry), "bars_held": held,
                }
            )  # fmt: skip
        hold += CASH / len(market) * close / close[0]
    if found:
        found.append(
            {
                "symbol": symbols[0], "side": "long", "status": "refused", "decided_at": time_[20], "size": 1e-5,
                "entry_reason": "enter_long", "refused_because": "worth 0.42, below the minimum notional of 5",
            }
        )  # fmt: skip
    trades = trade_table(found)
    curve = pd.DataFrame({"equity": equity, "cash": equity, "buy_and_hold": hold}, index=time_)
    returns = stats.daily_returns(curve["equity"], CASH)
    low, high = stats.sharpe_interval(returns, seed=1)
    figures_ = {
        "performance": stats.performance(curve["equity"], CASH),
        "trades": stats.trade_summary(trades),
        "costs": stats.cost_summary(trades),
        "beats": {
            "buy_and_hold": stats.performance(curve["buy_and_hold"], CASH),
            "rules_without_signal": {**stats.performance(curve["equity"] * 0 + CASH * 0.97, CASH), "closed_trades": 12},
            "random_entries": stats.random_entries(trades, market, CASH, COMMISSION, SLIPPAGE, draws=100),
        },
        "luck": {
            "configurations_tried": 7,
            "deflated_sharpe": stats.deflated_sharpe(returns, [0.1, 1.0, -0.4]),
            "sharpe_low": low,
            "sharpe_high": high,
        },
        "skill": {
            symbol: {"prediction": forecast_skill(predictions[symbol]["prediction"], candles, 5, "return")}
            for symbol, candles in market.items()
        },
    }
    folds = [
        {
            "number": number, "train_start": "2023-10-01T00:00:00+00:00", "train_end": "2023-12-30T00:00:00+00:00",
            "test_start": f"2024-01-{number:02d}T00:00:00+00:00", "test_end": f"2024-01-{number + 7:02d}T00:00:00+00:00",
            "model_id": "3f" * 20, "epochs": [3, 2, 4], "validation": [0.9931, 0.9958, 0.9942], "slope": 0.71,
            "fit_seconds": 12.25, "from_cache": False,
        }
        for number in (1, 8, 15)
    ]  # fmt: skip
    manifest = {
        "synthetic": exchange == "demo",
        "plugins": [{"kind": "strategy", "name": "lstm_rsi", "origin": "shipped", "file": "lstm_rsi.py", "sha256": "ab" * 32}],
        "quality": {symbol: quality.report(candles.frame, symbol, "1m").as_dict() for symbol, candles in market.items()},
        "signals": {"prediction": {"fingerprint": "cd" * 32, "folds": folds}},
        "seed": 1,
        "versions": {"python": "3.11"},
        "seconds": {"all": 12.5},
    }
    config = {
        "strategy": "lstm_rsi", "pairs": list(symbols), "timeframe": "1m", "exchange": exchange, "cash": CASH,
        "parameters": {"threshold": 0.0008}, "costs": {"commission": COMMISSION, "slippage": SLIPPAGE},
    }  # fmt: skip
    return Result("20240101-120000-lstm_rsi-ab12cd", config, manifest, market, predictions, trades, curve, figures_)
