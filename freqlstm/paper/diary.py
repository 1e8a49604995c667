"""What a session did at each bar, written so that a restart goes through the same again.

A bar is one entry: its candles, what was predicted and decided, and before them the news of orders that reached the
strategy since the bar before. Whatever came after the last entry reaches it after that entry again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from itertools import groupby

from freqlstm.bars import CONDITIONS
from freqlstm.paper.decision import Decision
from freqlstm.paper.journal import Journal
from freqlstm.paper.records import Bundle, Candle, Fill, OrderEvent, State

NEWS = "news"  # kind of event: what the strategy heard of its orders
SHARE, VOTES = "share", ".votes"  # further rows of decisions
BAR = "bar"  # a row of decisions, of no symbol: the strategy went through that bar


@dataclass(frozen=True)
class Entry:
    """One bar of the past."""

    news: Sequence[OrderEvent]  # that reached the strategy before it
    open_ms: int
    candles: Mapping[str, Candle]
    said: Mapping[str, Mapping[str, float]]  # symbol -> column -> prediction
    decisions: Mapping[str, Decision]
    stale: bool


class Diary:
    """Writes a session's bars into its journal, and reads those of the current epoch."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self._news: list[OrderEvent] = []

    def heard(self, event: OrderEvent) -> None:
        """The strategy is being told of this."""
        self._news.append(event)

    def write(
        self, bundle: Bundle, said: Mapping[str, Mapping[str, float]], decisions: Mapping[str, Decision], model: Mapping[str, str]
    ) -> None:  # fmt: skip
        """One entry, whole or not at all. ``model``: column of a signal -> id of the model that speaks for it."""
        predictions = [
            (symbol, bundle.open_ms, name, None if value != value else value, model.get(name.partition("_")[0], ""))
            for symbol, table in said.items()
            for name, value in table.items()
        ]
        decided = [("", bundle.open_ms, BAR, "", not bundle.stale)]
        for symbol, decision in decisions.items():
            for name in decision.true:
                decided.append((symbol, bundle.open_ms, name, decision.fired.get(name, ""), not bundle.stale))
                if name in decision.votes:
                    decided.append((symbol, bundle.open_ms, name + VOTES, decision.votes[name], not bundle.stale))
            if decision.share is not None and decision.true:
                decided.append((symbol, bundle.open_ms, SHARE, repr(decision.share), not bundle.stale))
        with self.journal.together(soon=True):  # an order of this bar takes it to the disk
            if self._news:
                told = [
                    [event.cid, str(event.state), str(event.order.executed), [fill.trade_id for fill in event.fills]]
                    for event in self._news
                ]
                self.journal.event(NEWS, bundle.delivered_ms, bar=bundle.open_ms, told=told)
            self.journal.add_predictions(predictions)
            self.journal.add_decisions(decided)
            self.journal.add_bars(bundle.candles, bundle.source, bundle.delivered_ms, bundle.stale)
        self._news.clear()

    def entries(self) -> Iterator[Entry]:
        """Every bar of the current epoch, in order."""
        decided_bars = self.journal.decided_bars()
        rows = [row for row in self.journal.delivered() if row[1].open_ms in decided_bars]
        said, decided, news = self._said(), self._decided(), self._past_news()
        for open_ms, group in groupby(rows, key=lambda row: row[1].open_ms):
            candles = {symbol: candle for symbol, candle, _ in group}
            yield Entry(
                news.get(open_ms, ()), open_ms, candles,
                {symbol: said.get((symbol, open_ms), {}) for symbol in candles},
                {symbol: decided.get((symbol, open_ms), Decision()) for symbol in candles},
                not decided_bars[open_ms],
            )  # fmt: skip

    def unread(self) -> Iterator[Bundle]:
        """Bars that were handed over and that the strategy has not gone through."""
        decided_bars = self.journal.decided_bars()
        rows = [row for row in self.journal.delivered() if row[1].open_ms not in decided_bars]
        for open_ms, group in groupby(rows, key=lambda row: row[1].open_ms):
            yield Bundle(open_ms, {symbol: candle for symbol, candle, _ in group}, 0, False, "journal")

    def _said(self) -> dict[tuple[str, int], dict[str, float]]:
        said: dict[tuple[str, int], dict[str, float]] = defaultdict(dict)
        for symbol, open_ms, name, value in self.journal.all_predictions():
            said[symbol, open_ms][name] = float("nan") if value is None else value
        return said

    def _decided(self) -> dict[tuple[str, int], Decision]:
        rows: dict[tuple[str, int], dict[str, str]] = defaultdict(dict)
        for symbol in self.journal.facts.pairs:
            for open_ms, name, fired, _ in self.journal.decisions(symbol):
                rows[symbol, open_ms][name] = fired
        return {
            key: Decision(
                **{name: name in row for name in CONDITIONS},
                share=float(row[SHARE]) if SHARE in row else None,
                fired={name: row[name] for name in CONDITIONS if name in row},
                votes={name: row[name + VOTES] for name in CONDITIONS if name + VOTES in row},
            )
            for key, row in rows.items()
        }

    def _past_news(self) -> dict[int, list[OrderEvent]]:
        """Open time of a bar -> what the strategy heard before it."""
        fills: dict[tuple[str, int], Fill] = {}
        for fill in self.journal.fills():
            fills[fill.cid, fill.trade_id] = fill
        orders = {order.cid: order for order in self.journal.orders()}
        news: dict[int, list[OrderEvent]] = {}
        for _, _, facts in self.journal.events(NEWS):
            told = []
            for cid, state, executed, trades in facts["told"]:
                if cid in orders:  # else of an epoch before
                    order = replace(orders[cid], state=State(state), executed=Decimal(executed))
                    told.append(OrderEvent(order, tuple(fills[cid, number] for number in trades)))
            news[facts["bar"]] = told
        return news
