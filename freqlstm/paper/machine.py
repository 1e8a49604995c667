"""Backtrader with a strategy, live feeds and a paper broker, ready for bars."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import backtrader as bt

from freqlstm.candles import Candles
from freqlstm.costs import Costs
from freqlstm.engines.backtrader import ExposureSizer
from freqlstm.errors import FreqlstmError
from freqlstm.paper.broker import PaperBroker
from freqlstm.paper.decision import Decision
from freqlstm.paper.feed import LiveCerebro, LiveFeed
from freqlstm.paper.holdings import Tell
from freqlstm.paper.records import Candle
from freqlstm.paper.ticket import Exchange
from freqlstm.strategy import failure, overrides_next


@dataclass(frozen=True)
class Orders:
    """What a strategy is, and what it may spend."""

    strategy: type[bt.Strategy]
    parameters: Mapping[str, Any]
    cash: float  # quote asset
    costs: Costs  # expected, for sizes


class Machine:
    """The strategy takes a step for every bar that ``steps`` has pushed before it yields."""

    def __init__(
        self, orders: Orders, exchange: Exchange, like: Mapping[str, Candles], names: tuple[str, ...],
        steps: Callable[[], Iterator[None]], tell: Tell, kept: int | None = None,
    ) -> None:  # fmt: skip
        """``like`` names the candles of each symbol, ``names`` the columns of predictions; ``kept``: see the broker."""
        self.orders = orders
        self.broker = PaperBroker(exchange, orders.cash, orders.costs, tell, kept)
        self.own_loop = overrides_next(orders.strategy)
        kind = LiveFeed.with_lines(names if self.own_loop else ())
        self.feeds = {
            symbol: kind(candles, exchange.rules(symbol).market_rules, decides=not self.own_loop)
            for symbol, candles in like.items()
        }
        self._cerebro = LiveCerebro(steps)
        self._cerebro.broker = self.broker
        self._cerebro.addsizer(ExposureSizer)
        for symbol, feed in self.feeds.items():
            self._cerebro.adddata(feed, name=symbol)
            self.broker.holdings.attach(feed)
        self._cerebro.addstrategy(orders.strategy, **orders.parameters)

    def run(self) -> Any:
        """The strategy that has run, when there are no more steps; what it does wrong is a PluginError."""
        strategy = self.orders.strategy
        try:
            return self._cerebro.run()[0]
        except FreqlstmError:
            raise
        except (Exception, SystemExit) as error:  # a plugin that leaves the program would look like success
            broken = failure(strategy, strategy.__name__, error)
            if broken is None:
                raise
            raise broken from error

    def push(
        self, open_ms: int, candles: Mapping[str, Candle], said: Mapping[str, Mapping[str, float]],
        decisions: Mapping[str, Decision], fresh: bool,
    ) -> None:  # fmt: skip
        """One bar has closed; a strategy of conditions finds its decisions, any other its predictions."""
        for symbol, candle in candles.items():
            feed = self.feeds[symbol]
            if not self.own_loop:
                feed.decisions.append(decisions.get(symbol, Decision()))
            feed.push(open_ms, candle.floats, said.get(symbol, {}), fresh)
        self.broker.dispatch.begin_bar(open_ms)
