"""The market streams: klines, tickers, the best bid and ask, trades."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from aiohttp import web

from freqlstm.sandbox.connections import Connection, Connections
from freqlstm.sandbox.listing import text
from freqlstm.sandbox.market_data import best, day, day_of
from freqlstm.sandbox.replay import Moment
from freqlstm.sandbox.tape import INTERVALS, Kline
from freqlstm.sandbox.venue import Venue

KLINE_FAULTS = (
    "kline_missing", "kline_late", "kline_duplicate", "kline_out_of_order", "kline_corrected", "kline_unfinished",
)  # fmt: skip


class Streams:
    """Turns what happens in the market into the events of its streams."""

    def __init__(self, venue: Venue, connections: Connections) -> None:
        self.venue = venue
        self.connections = connections
        self._late: list[tuple[int, str, dict[str, Any]]] = []  # ticks to wait, stream, event
        self._traded = 0

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """A websocket at /ws, /ws/NAME or /stream?streams=NAME/NAME."""
        combined = request.path == "/stream"
        named = request.query.get("streams", "") if combined else request.match_info.get("streams", "")
        streams = tuple(name for name in named.split("/") if name and not name.isdigit())
        return await self.connections.serve(request, "market", self._answer, combined, streams)

    async def _answer(self, connection: Connection, asked: Any) -> None:
        if not isinstance(asked, dict) or not isinstance(asked.get("params", []), list):
            connection.send({"error": {"code": 2, "msg": "Invalid request: request must be an object"}})
            return
        number, names = asked.get("id"), asked.get("params", [])
        method = asked.get("method")
        if method in ("SUBSCRIBE", "UNSUBSCRIBE"):
            if not all(isinstance(name, str) and re.fullmatch(r"!?[a-z0-9]*@[\w@+]+", name, re.I) for name in names):
                connection.send({"error": {"code": 2, "msg": "Invalid request: invalid stream"}, "id": number})
                return
            wanted = connection.streams | set(names) if method == "SUBSCRIBE" else connection.streams - set(names)
            if len(wanted) > self.venue.terms.limits.streams:
                await connection.close(1008, b"Too many streams")
                return
            connection.streams = wanted
            connection.send({"result": None, "id": number})
        elif method == "LIST_SUBSCRIPTIONS":
            connection.send({"result": sorted(connection.streams), "id": number})
        else:
            message = f"Invalid request: unknown variant `{method}`"
            connection.send({"error": {"code": 2, "msg": message}, "id": number})

    def publish(self, moment: Moment) -> None:
        """Send what a tick brings: closed candles first, then the new ones."""
        wanted = self.connections.wanted()
        self._publish_late()
        for name in self.venue.replay.tapes:
            prefix = f"{name.lower()}@"
            for stream in sorted(each for each in wanted if each.startswith(prefix)):
                kind = stream.removeprefix(prefix)
                if kind.startswith("kline_"):
                    self._publish_klines(name, stream, kind.removeprefix("kline_"), moment)
                elif self.venue.replay.tapes[name].forming is not None:
                    self._publish_other(name, stream, kind)

    def _publish_late(self) -> None:
        late, self._late = self._late, []
        for ticks, stream, payload in late:
            if ticks > 1:
                self._late.append((ticks - 1, stream, payload))
            else:
                self.connections.publish(stream, payload)

    def _publish_klines(self, name: str, stream: str, interval: str, moment: Moment) -> None:
        tape, step, now = self.venue.replay.tapes[name], INTERVALS.get(interval, 0), self.venue.now
        if step < tape.step or step % tape.step:
            return
        done = moment.closed.get(name)
        if done is not None:
            if step > tape.step:
                start = done.open_time // step * step
                done = tape.klines(step, start, start, 1, oldest=True)[0]
                done.closed = start + step <= moment.time
            for ticks, payload in self._closed(name, interval, done, now):
                if ticks:
                    self._late.append((ticks, stream, payload))
                else:
                    self.connections.publish(stream, payload)
        forming = tape.forming
        if forming is not None:
            start = forming.open_time // step * step
            whole = forming if step == tape.step else tape.klines(step, start, start, 1, oldest=True)[-1]
            self.connections.publish(stream, replace(whole, closed=False).payload(name, interval, now))

    def _closed(self, name: str, interval: str, kline: Kline, now: int) -> list[tuple[int, dict[str, Any]]]:
        """The events of a closed candle, each with the ticks by which it is late, and any fault among them."""
        right = kline.payload(name, interval, now)
        fault = self.venue.faults.take(*KLINE_FAULTS, symbol=name) if kline.closed else None
        if fault is None:
            return [(0, right)]
        if fault.kind == "kline_missing":
            return []
        if fault.kind == "kline_late":
            return [(int(fault.details["ticks"]), right)]
        if fault.kind == "kline_duplicate":
            return [(0, right), (0, right)]
        if fault.kind == "kline_unfinished":
            return [(0, replace(kline, closed=False).payload(name, interval, now))]
        if fault.kind == "kline_out_of_order":
            older = self.venue.replay.tapes[name].klines(kline.step, 0, kline.open_time - 1, 3, oldest=False)[:1]
            return [(0, right), *((0, each.payload(name, interval, now)) for each in older)]
        wrong = replace(kline, close=self.venue.replay.tapes[name].on_tick(kline.close * 1.001))
        wrong.high = max(wrong.high, wrong.close)
        return [(0, wrong.payload(name, interval, now)), (int(fault.details["ticks"]), right)]

    def _publish_other(self, name: str, stream: str, kind: str) -> None:
        now = self.venue.now
        if kind == "miniTicker":
            last = day(self.venue, name)
            self.connections.publish(stream, {
                "e": "24hrMiniTicker", "E": now, "s": name, "c": text(last.close), "o": text(last.open),
                "h": text(last.high), "l": text(last.low), "v": text(last.volume), "q": text(last.amount),
            })  # fmt: skip
        elif kind == "ticker":
            told = day_of(self.venue, name)
            self.connections.publish(stream, {
                "e": "24hrTicker", "E": now, "s": name, "p": told["priceChange"], "P": told["priceChangePercent"],
                "w": told["weightedAvgPrice"], "x": told["prevClosePrice"], "c": told["lastPrice"], "Q": told["lastQty"],
                "b": told["bidPrice"], "B": told["bidQty"], "a": told["askPrice"], "A": told["askQty"],
                "o": told["openPrice"], "h": told["highPrice"], "l": told["lowPrice"], "v": told["volume"],
                "q": told["quoteVolume"], "O": told["openTime"], "C": told["closeTime"], "F": -1, "L": -1,
                "n": told["count"],
            })  # fmt: skip
        elif kind == "bookTicker":
            book = best(self.venue, name)
            self.connections.publish(stream, {
                "u": self.venue.matching.books[name].update, "s": name, "b": book["bidPrice"], "B": book["bidQty"],
                "a": book["askPrice"], "A": book["askQty"],
            })  # fmt: skip
        elif kind in ("aggTrade", "trade"):
            self._traded += 1
            forming = self.venue.replay.tapes[name].forming
            share = forming.volume / (self.venue.replay.tick + 1) if forming else 0.0
            ids = (
                {"a": self._traded, "f": self._traded, "l": self._traded} if kind == "aggTrade" else {"t": self._traded}
            )
            self.connections.publish(stream, {
                "e": kind, "E": now, "s": name, "p": text(self.venue.matching.books[name].price), "q": text(share),
                "T": now, "m": False, "M": True, **ids,
            })  # fmt: skip
