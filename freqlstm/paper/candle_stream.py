"""Candles from the exchange: by websocket for speed, by REST as the authority, watched for silence."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from decimal import Decimal
from functools import partial
from typing import Any

from freqlstm.errors import BadAnswer
from freqlstm.paper.assembler import REST, STREAM, Assembler, Gap, Released, Revision, listed, streamed
from freqlstm.paper.client import Client, patiently
from freqlstm.paper.journal import Journal
from freqlstm.paper.money import SymbolRules
from freqlstm.paper.outcome import CLOCK, Answer, CallFailed
from freqlstm.paper.pace import Pace
from freqlstm.paper.records import Bundle, Candle

PAGE = 1000  # rows of REST klines at once
REACH_MS = 30 * 60_000  # how far back each look reaches where there is no stream
LATE = 2  # bars in a row that the stream did not bring, until it is connected anew


class CandleStream:
    """Keeps the assembler fed, and journals what it hands over before anybody sees it."""

    def __init__(
        self,
        client: Client,
        journal: Journal,
        rules: Mapping[str, SymbolRules],
        timeframe: str,
        assembler: Assembler,
        pace: Pace,
        deliver: Callable[[Bundle], None],
        *,
        poll: bool,
    ) -> None:
        self._client, self._journal, self._rules, self._pace = client, journal, rules, pace
        self._timeframe, self._assembler, self._deliver, self._poll = timeframe, assembler, deliver, poll
        self._grace_ms = pace.grace_ms(client.clock.speed)
        self._symbols = {market.id: symbol for symbol, market in rules.items()}
        self._wake = asyncio.Event()
        self._nudged = False
        self._late = 0  # bars in a row that REST had to bring
        self._repaired: set[int] = set()
        self.last_prices: dict[str, Decimal] = {}
        self.heard = 0.0  # when the stream last spoke (clock ticks)
        self.asked = 0.0  # when REST last answered
        self.bar = client.clock.ticks()  # when the last bar was handed over

    # What arrives

    def on_kline(self, kline: Mapping[str, Any]) -> None:
        """A candle by the stream; only a closed one (``x``) is a candle."""
        symbol = self._symbols.get(kline["s"])
        if symbol is None or kline["i"] != self._timeframe:
            return
        self.heard = self._client.clock.ticks()
        candle = streamed(kline)
        if candle.open_ms >= self._assembler.next_ms:
            self.last_prices[symbol] = candle.close
        if kline["x"] is True:
            self._hand_over(self._assembler.offer(symbol, [candle], STREAM, self._client.clock.now_ms()))
        if not self._nudged and self._assembler.next_ms < candle.open_ms + self._assembler.step_ms * (
            kline["x"] is True
        ):
            self._nudged = True  # others of that bar, or a bar before, did not come: look for them a moment later
            asyncio.get_running_loop().call_later(self._pace.grace, self._nudge)

    def _nudge(self) -> None:
        self._nudged = False
        self._wake.set()

    @property
    def ahead_ms(self) -> float:
        """How far the close of the newest bar lies in the future, by the exchange's clock; negative: in the past."""
        return self._assembler.next_ms - self._client.clock.now()

    @property
    def late(self) -> bool:
        """Whether a bar is missing that closed a whole bar ago."""
        return -self.ahead_ms > 2 * self._assembler.step_ms

    def on_connected(self) -> None:
        """What passed while nobody listened is not told again: look at once."""
        self._wake.set()

    # Loops

    async def listen(self) -> None:
        """Hold the subscription for ever."""
        wanted = [[symbol, self._timeframe] for symbol in self._rules]
        step = self._assembler.step_ms / 1000 / self._client.clock.speed
        silence = max(self._pace.silence, 2 * step)
        delay = 0.1
        while True:
            try:
                async with asyncio.timeout(silence):
                    await self._client.watch_ohlcv_for_symbols(wanted)
                delay = 0.1
                continue
            except asyncio.CancelledError:  # by us, or because the connection was dropped
                if (task := asyncio.current_task()) is not None and task.cancelling():
                    raise
            except TimeoutError:
                self._note("silence", seconds=silence)
                await self._client.drop(orders=False)
            except Exception as error:  # ccxt raises anything; whatever it was, connect anew
                self._note("candle stream", error=f"{type(error).__name__}: {error}")
                await self._client.drop(orders=False)
            await asyncio.sleep(delay)
            delay = min(2 * delay, 10.0)

    async def watch(self) -> None:
        """Ask by REST for every candle that is late, for ever."""
        delays: dict[str, float] = dict.fromkeys(self._rules, 0.0)
        due: dict[str, float] = dict.fromkeys(self._rules, 0.0)
        while True:
            clock = self._client.clock
            late = [
                symbol
                for symbol in self._rules
                if self._missing(symbol) and (self._wake.is_set() or clock.ticks() >= due[symbol])
            ]
            self._wake.clear()
            before = self._assembler.next_ms
            if late:
                await asyncio.gather(*(self._repair(symbol) for symbol in late))
            moved = self._assembler.next_ms > before  # there may be another page
            for symbol in self._rules:
                again = symbol in late and not moved and bool(self._missing(symbol))
                delays[symbol] = min(max(2 * delays[symbol], 0.2), 5.0) if again else 0.0
                due[symbol] = clock.ticks() + delays[symbol]
            await self._drop_if_useless()
            await self._sleep([due[symbol] - clock.ticks() for symbol in self._rules if delays[symbol]])

    async def _sleep(self, pauses: list[float]) -> None:
        """Until the first of ``pauses`` (seconds) is over, the next candle is overdue, or a look is asked for."""
        clock = self._client.clock
        overdue = self._assembler.next_ms + self._assembler.step_ms + self._grace_ms
        seconds = (overdue - clock.now()) / 1000 / clock.speed
        waits = [*pauses, self._pace.tick * 20] + ([seconds] if seconds > 0 or not pauses else [])
        with suppress(TimeoutError):
            async with asyncio.timeout(max(0.001, min(waits))):
                await self._wake.wait()

    def _missing(self, symbol: str) -> list[int]:
        return self._assembler.missing(symbol, self._client.clock.now(), self._grace_ms)

    async def _repair(self, symbol: str) -> None:
        """Fetch what is late of one symbol; what the exchange itself lacks is proved by what it has after it."""
        wanted = self._missing(symbol)
        if not wanted:
            return
        first = wanted[0]
        if self._poll:  # what was revised meanwhile is seen as well
            first -= min(REACH_MS, PAGE // 2 * self._assembler.step_ms)
        query = {"symbol": self._rules[symbol].id, "interval": self._timeframe, "startTime": first, "limit": PAGE}
        try:
            settled = await self._settled()
            rows = await self._ask(query)
            candles = self._closed(rows, settled, newest=len(rows) < PAGE)
            self.asked = self._client.clock.ticks()
            self._repaired.update(wanted)
            self._take(symbol, wanted, candles)
        except (CallFailed, BadAnswer) as error:
            if isinstance(error, CallFailed) and error.code == CLOCK:
                self._wake.set()
            self._note("candles", symbol=symbol, error=str(error))

    def _take(self, symbol: str, wanted: Sequence[int], candles: Sequence[Candle]) -> None:
        """What REST has, and proof of what it lacks."""
        now = self._client.clock.now_ms()
        if candles:
            self.last_prices.setdefault(symbol, candles[-1].close)
        self._hand_over(self._assembler.offer(symbol, candles, REST, now))
        newest = candles[-1].open_ms if candles else 0
        self._hand_over(self._assembler.prove_absent(symbol, [open_ms for open_ms in wanted if open_ms < newest], now))

    async def _settled(self) -> float:
        """Open time up to which a candle has closed long enough ago to be what it will stay.

        The exchange's clock is looked at before its candles are asked for: by ours alone, a candle that is still forming at
        an exchange which lags, or whose clock was set back, would seem to have closed.
        """
        theirs, clock = await self._client.their_time(), self._client.clock
        return min(theirs, clock.now() - clock.doubt_ms) - self._assembler.step_ms - self._grace_ms

    def _closed(self, rows: Sequence[Sequence[Any]], settled: float, newest: bool = False) -> list[Candle]:
        """The closed candles of REST's rows: all but the last, and that one if it is settled.

        If the rows reach up to the ``newest`` and the exchange's clock says that another should be there by now, then that
        clock is off, and the last one may still be forming.
        """
        candles = [listed(row) for row in rows]
        before = settled - self._assembler.step_ms if newest else 0
        return candles[:-1] + [one for one in candles[-1:] if before < one.open_ms <= settled]

    async def _drop_if_useless(self) -> None:
        """A connection that answers pings and brings nothing is connected anew."""
        if self._late >= LATE and not self._poll:
            self._late = 0
            self._note("stall")
            await self._client.drop(orders=False)

    async def look(self) -> None:
        """Learn the last price of every symbol."""
        for symbol, market in self._rules.items():
            query = {"symbol": market.id, "interval": self._timeframe, "limit": 1}
            rows = await patiently(partial(self._ask, query), self._client)
            self.last_prices.update((symbol, listed(row).close) for row in rows[-1:])

    async def _ask(self, query: Mapping[str, Any]) -> list[Any]:
        """Rows of REST klines."""
        rows = await self._client.ask("publicGetKlines", query, weight=2)
        if not isinstance(rows, list):
            raise CallFailed("publicGetKlines", Answer(), ValueError("an answer that is no list of candles"))
        return rows

    async def history(self, symbol: str, since_ms: int, until_ms: int) -> list[Candle]:
        """Closed candles that open in [since_ms, until_ms), page by page."""
        found: list[Candle] = []
        start = since_ms
        while start < until_ms:
            query = {
                "symbol": self._rules[symbol].id, "interval": self._timeframe, "startTime": start, "endTime": until_ms - 1,
                "limit": PAGE,
            }  # fmt: skip
            settled = await patiently(self._settled, self._client)
            rows = await patiently(partial(self._ask, query), self._client)
            found += self._closed(rows, settled)
            if len(rows) < PAGE:
                break
            start = int(rows[-1][0]) + 1
        return found

    # What is handed over

    def _hand_over(self, released: Sequence[Released]) -> None:
        now = self._client.clock.now_ms()
        for one in released:
            if isinstance(one, Revision):
                self._journal.add_revision(one.symbol, one.candle, one.source, now)
                self._note("data revision", symbol=one.symbol, open_ms=one.candle.open_ms)
            elif isinstance(one, Gap):
                for symbol in one.symbols:
                    self._journal.add_gap(symbol, one.open_ms, now)
            else:
                self.last_prices.update((symbol, candle.close) for symbol, candle in one.candles.items())
                self.bar = self._client.clock.ticks()
                self._late = self._late + 1 if one.open_ms in self._repaired and one.source == REST else 0
                self._journal.add_bars(one.candles, one.source, one.delivered_ms, one.stale)
                self._deliver(one)
            self._repaired = {open_ms for open_ms in self._repaired if open_ms >= self._assembler.next_ms}

    def _note(self, kind: str, **facts: Any) -> None:
        self._journal.event(kind, self._client.clock.now_ms(), **facts)
