"""The symbols and their filters, against what Binance said itself."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from conftest import make_candles

from freqlstm.candles import Candles
from freqlstm.sandbox.listing import KNOWN, listing_of
from freqlstm.sandbox.tape import Kline


def test_the_filters_are_those_that_binance_had(real_data: Path) -> None:
    folder = real_data / "exchange" / "binance_exchangeInfo"
    *_, newest = (folder / "spot_exchangeInfo_BTC_ETH_SOL_ADA_2022-11_2023-09.jsonl").read_text().splitlines()
    for recorded in json.loads(newest)["symbols"]:
        base = recorded["baseAsset"]
        info = KNOWN[f"{base}/USDT"].info()
        made = {each["filterType"]: each for each in info["filters"]}
        for each in recorded["filters"]:
            if each["filterType"] == "MARKET_LOT_SIZE":  # a measure of the day's trading
                assert float(made["MARKET_LOT_SIZE"]["maxQty"]) == pytest.approx(float(each["maxQty"]), rel=0.01)
                each["maxQty"] = made["MARKET_LOT_SIZE"]["maxQty"]
            assert made[each["filterType"]] == each
        assert set(made) == {each["filterType"] for each in recorded["filters"]}
        assert set(recorded["orderTypes"]) < set(info["orderTypes"])
        for name in (
            "baseAssetPrecision",
            "quotePrecision",
            "quoteAssetPrecision",
            "status",
            "quoteOrderQtyMarketAllowed",
        ):
            assert info[name] == recorded[name]


def test_a_kline_has_the_fields_that_binance_sends(real_data: Path) -> None:
    rows = json.loads((real_data / "exchange" / "binance_klines_rest" / "BTCUSDT_15m_2025-10-06.json").read_text())
    row = rows[0]
    made = Kline(row[0], 900_000, *(float(value) for value in row[1:6])).row()
    assert made[:7] == row[:7]
    assert [type(value) for value in made] == [type(value) for value in row]


def test_the_shapes_of_the_market_endpoints_are_those_that_binance_sends(real_data: Path) -> None:
    from freqlstm.sandbox import Terms, market_data
    from freqlstm.sandbox.venue import Venue

    venue = Venue({"BTC/USDT": make_candles(50)}, Terms())
    venue.begin()
    asked = {"symbol": "BTCUSDT"}
    for name, answer in (
        ("spot_ping", market_data.ping(venue, {})), ("spot_time", market_data.time(venue, {})),
        ("spot_depth", market_data.depth(venue, asked)), ("spot_book_ticker", market_data.ticker_book(venue, asked)),
        ("spot_ticker_price", market_data.ticker_price(venue, asked)), ("spot_avg_price", market_data.average_price(venue, asked)),
    ):  # fmt: skip
        recorded = json.loads((real_data / "exchange" / "binance_rest_samples" / f"{name}.json").read_text())
        assert set(recorded) <= set(answer), name
        assert {key: type(recorded[key]) for key in recorded} == {key: type(answer[key]) for key in recorded}


def test_an_execution_report_has_the_fields_that_binance_sends(real_data: Path) -> None:
    from sandboxing import market_of

    from freqlstm.sandbox import Terms
    from freqlstm.sandbox.accounts import KEY
    from freqlstm.sandbox.trading import place
    from freqlstm.sandbox.venue import Venue

    path = real_data / "exchange" / "binance_user_stream" / "spot_executionReport_binance_us_TRADE_FILLED.json"
    recorded = json.loads(path.read_text())["data"]
    venue = Venue(market_of((100.0, 100.0, 100.0, 100.0, 1.0)), Terms())
    venue.begin()
    told: list[dict[str, object]] = []
    venue.tell = lambda account, event: told.append(event)
    place(venue, venue.accounts[KEY], {"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quantity": "1"})
    trade = next(event for event in told if event.get("x") == "TRADE")
    assert set(trade) == set(recorded)
    assert {name: type(value) for name, value in trade.items()} == {
        name: type(value) for name, value in recorded.items()
    }


@pytest.mark.parametrize(
    ("symbol", "scale", "digits", "step"),
    [("XYZ/USDT", 1.0, 3, "0.0001"), ("PEPE/USDT", 1e-5, 8, "100"), ("GOLD/USDT", 30.0, 1, "0.000001")],
)
def test_another_symbol_gets_a_tick_that_its_prices_need_and_a_step_worth_about_a_cent(
    symbol: str, scale: float, digits: int, step: str
) -> None:
    frame = make_candles(60).frame * np.array([scale] * 4 + [1.0])
    frame[["open", "high", "low", "close"]] = frame[["open", "high", "low", "close"]].round(digits)
    made = listing_of(Candles(frame, symbol, "1m"))
    assert made.tick == Decimal(1).scaleb(-digits)
    worth = float(made.step) * float(frame["close"].iloc[-1])
    assert 0.0005 < worth <= 0.1
    assert made.max_price > Decimal(float(frame["high"].max()))
