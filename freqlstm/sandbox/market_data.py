"""The public endpoints: time, symbols, candles, tickers and the book."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import numpy as np

from freqlstm.sandbox.listing import Listing, text
from freqlstm.sandbox.refusal import Refusal, missing
from freqlstm.sandbox.tape import DAY, INTERVALS, Kline
from freqlstm.sandbox.venue import Venue

Parameters = Mapping[str, Any]


def whole(parameters: Parameters, name: str) -> int | None:
    """A number without a fraction, or None if it was not sent."""
    value = parameters.get(name)
    if value is None:
        return None
    if not str(value).isdigit() or len(str(value)) > 20:
        raise Refusal(
            -1100, f"Illegal characters found in parameter '{name}'; legal range is '^[0-9]{{1,20}}$'."
        )  # fmt: skip
    return int(value)


def limit_of(parameters: Parameters, usual: int, most: int) -> int:
    """How many rows are asked for."""
    limit = whole(parameters, "limit")
    if limit is not None and limit < 1:
        raise Refusal(-1102, "Mandatory parameter 'limit' was not sent, was empty/null, or malformed.")
    return min(usual if limit is None else limit, most)


def listing(venue: Venue, parameters: Parameters) -> Listing:
    """The symbol that is asked about."""
    if not parameters.get("symbol"):
        raise missing("symbol")
    return venue.matching.listing(str(parameters["symbol"]))


def ping(venue: Venue, parameters: Parameters) -> dict[str, Any]:
    """Nothing."""
    return {}


def time(venue: Venue, parameters: Parameters) -> dict[str, Any]:
    """The exchange's clock."""
    return {"serverTime": venue.now}


def exchange_info(venue: Venue, parameters: Parameters) -> dict[str, Any]:
    """The limits, and all symbols, or one."""
    symbols = list(venue.matching.listings.values())
    if parameters.get("symbol"):
        symbols = [listing(venue, parameters)]
    return {
        "timezone": "UTC", "serverTime": venue.now, "rateLimits": venue.terms.limits.listed(), "exchangeFilters": [],
        "symbols": [each.info() for each in symbols],
    }  # fmt: skip


def klines(venue: Venue, parameters: Parameters) -> list[list[object]]:
    """Candles, the oldest first; the one that is not closed yet is the last."""
    tape = venue.replay.tapes[listing(venue, parameters).name]
    if not parameters.get("interval"):
        raise missing("interval")
    step = INTERVALS.get(str(parameters["interval"]))
    if step is None or step % tape.step:
        raise Refusal(-1120, "Invalid interval.")
    limit = limit_of(parameters, 500, 1000)
    first, last = whole(parameters, "startTime"), whole(parameters, "endTime")
    found = tape.klines(
        step, 0 if first is None else first, venue.now if last is None else min(last, venue.now), limit,
        oldest=first is not None,
    )  # fmt: skip
    return [kline.row() for kline in found]


def depth(venue: Venue, parameters: Parameters) -> dict[str, Any]:
    """The book, the clients' own orders included."""
    name = listing(venue, parameters).name
    limit = limit_of(parameters, 100, 5000)
    return {"lastUpdateId": venue.matching.books[name].update, **sides(venue, name, limit)}


def sides(venue: Venue, name: str, limit: int) -> dict[str, list[list[str]]]:
    """``bids`` and ``asks``, the best first."""
    made: dict[str, list[list[str]]] = {}
    for side, buying in (("bids", False), ("asks", True)):
        levels = dict(venue.matching.books[name].offers(buying))
        for _, order in venue.matching.open[name]:
            if order.buys is not buying and not order.waiting:
                levels[order.price] = levels.get(order.price, Decimal(0)) + order.remaining
        best = sorted(levels.items(), reverse=not buying)[:limit]
        made[side] = [[text(price), text(quantity)] for price, quantity in best]
    return made


def best(venue: Venue, name: str) -> dict[str, str]:
    """The best bid and ask."""
    book = sides(venue, name, 1)
    (bid, bid_quantity), (ask, ask_quantity) = (
        (book[side] or [[text(0.0), text(0.0)]])[0] for side in ("bids", "asks")
    )
    return {"bidPrice": bid, "bidQty": bid_quantity, "askPrice": ask, "askQty": ask_quantity}


def ticker_book(venue: Venue, parameters: Parameters) -> Any:
    """The best bid and ask of one symbol, or of all."""
    if parameters.get("symbol"):
        name = listing(venue, parameters).name
        return {"symbol": name, **best(venue, name)}
    return [{"symbol": name, **best(venue, name)} for name in venue.matching.listings]


def ticker_price(venue: Venue, parameters: Parameters) -> Any:
    """The last price of one symbol, or of all."""
    if parameters.get("symbol"):
        name = listing(venue, parameters).name
        return {"symbol": name, "price": text(venue.matching.books[name].price)}
    return [{"symbol": name, "price": text(venue.matching.books[name].price)} for name in venue.matching.listings]


def average_price(venue: Venue, parameters: Parameters) -> dict[str, Any]:
    """The average price of the last minutes."""
    asked = listing(venue, parameters)
    return {
        "mins": asked.average_minutes, "price": text(venue.average(asked.name)), "closeTime": venue.now,
    }  # fmt: skip


def ticker_day(venue: Venue, parameters: Parameters) -> Any:
    """The last 24 hours of one symbol, or of all."""
    if parameters.get("symbol"):
        return day_of(venue, listing(venue, parameters).name)
    return [day_of(venue, name) for name in venue.matching.listings]


def day(venue: Venue, name: str) -> Kline:
    """The last 24 hours as one candle."""
    tape, now = venue.replay.tapes[name], venue.now
    first = int(np.searchsorted(tape.opens, now - DAY))
    rows = tape.values[first : tape.closed]
    if tape.forming is not None:
        forming = tape.forming
        rows = np.vstack([rows, [forming.open, forming.high, forming.low, forming.close, forming.volume]])
    price = float(venue.matching.books[name].price)
    whole_day = Kline(now - DAY, DAY, price, price, price, price, 0.0, closed=False)
    if len(rows):
        whole_day.open = float(rows[0, 0])
        whole_day.high, whole_day.low = float(rows[:, 1].max()), float(rows[:, 2].min())
        whole_day.volume = float(rows[:, 4].sum())
    return whole_day


def day_of(venue: Venue, name: str) -> dict[str, Any]:
    """The 24-hour ticker as the REST API has it."""
    last = day(venue, name)
    book = best(venue, name)
    change = last.close - last.open
    average = last.amount / last.volume if last.volume else last.close
    return {
        "symbol": name, "priceChange": text(change), "priceChangePercent": f"{100 * change / last.open:.3f}",
        "weightedAvgPrice": text(average), "prevClosePrice": text(last.open), "lastPrice": text(last.close),
        "lastQty": text(0.0), **book, "openPrice": text(last.open), "highPrice": text(last.high),
        "lowPrice": text(last.low), "volume": text(last.volume), "quoteVolume": text(last.amount),
        "openTime": last.open_time, "closeTime": last.close_time + 1, "firstId": -1, "lastId": -1, "count": last.trades,
    }  # fmt: skip
