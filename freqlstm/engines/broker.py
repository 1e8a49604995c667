"""Backtrader's broker with a memory, and without what it leaves to chance."""

from __future__ import annotations

import array
from collections.abc import Sequence
from typing import Any

import backtrader as bt
import numpy as np

from freqlstm.engines.fills import LAPSED, SHORT_REFUSED, Fill, Refusal, unaffordable


class Ledger(bt.brokers.BackBroker):  # type: ignore[misc]
    """Backtrader's broker, which notes fills, refusals, cash and equity.

    It differs where Backtrader would fill what no market would: an order fills on a candle that opens at the step
    being simulated, never on an older one of its symbol that is still the newest; slippage moves every price by its
    full fraction, also beyond the range of the candle, but never a limit order beyond its limit; nobody sells short
    where that is not allowed; and an order marked ``next_candle_only`` lapses where that candle is missing.

    ``days`` holds the time of each step, one for every open time of any symbol, as Backtrader's day numbers.
    """

    positions: Any

    def __init__(self, days: Sequence[float]) -> None:
        super().__init__()
        self.days = days
        self.now = 0.0
        self.fills: list[Fill] = []
        self.refusals: list[Refusal] = []
        self.equity = array.array("d")  # at the close of each step so far
        self.idle_cash = array.array("d")
        self.heard = True  # somebody listens to what becomes of orders
        self._unslipped: float | None = None  # price of the fill being made, before slippage
        self._limit = 0.0  # of the order being tried
        self._why = ""  # the refusal being made

    def next(self) -> None:
        self.now = self.days[len(self.equity)]
        super().next()
        self.equity.append(self._value)
        self.idle_cash.append(self.cash)

    @property
    def at_rest(self) -> bool:
        """Whether no order is open but stops and limits, which wait for a price that touches them."""
        touched = (bt.Order.Stop, bt.Order.StopTrail, bt.Order.Limit)
        return not (self.submitted or self._toactivate) and all(order.exectype in touched for order in self.pending)

    def pass_over(self, closes: dict[Any, np.ndarray], steps: int) -> None:
        """What :meth:`next` would note over ``steps`` steps in which no order fills, to the bit; ``closes`` has shape (steps,)."""
        worth = np.zeros(steps)
        for data, position in self.positions.items():
            if position.size:
                value = position.size * closes[data]
                if position.size > 0:
                    unrealized = position.size * (closes[data] - position.price)
                    worth += value - unrealized
                    worth += unrealized
                else:
                    worth += value
        self.equity.frombytes((self.cash + worth).tobytes())
        self.idle_cash.frombytes(np.full(steps, self.cash).tobytes())

    def refuse(self, data: Any, size: float, reason: str, why: str) -> None:
        """Note an order that is not even sent."""
        self.refusals.append(Refusal(data.candles.symbol, len(data) - 1, size, reason, why))

    def submit(self, order: Any, check: bool = True) -> Any:
        held, size = self.getposition(order.data).size, order.created.size
        reduces = held * size < 0 and abs(size) <= abs(held)
        self._why = "" if reduces else order.data.market_rules.refusal(size, order.created.price)
        if self._why:
            order.reject(self)
            self.notify(order)
            return order
        self._why = "the order that it belongs to was refused"
        return super().submit(order, check)

    def notify(self, order: Any) -> None:
        if order.status in (order.Margin, order.Rejected):
            self._refused(order, self._why)
        if self.heard:
            super().notify(order)

    def _refused(self, order: Any, why: str) -> None:
        symbol, row = order.data.candles.symbol, order.data.row_of(order.created.dt)
        self.refusals.append(Refusal(symbol, row, order.created.size, order.info.get("reason", ""), why))

    def _get_value(self, datas: Any = None, lever: bool = False) -> float:
        if datas:
            return float(super()._get_value(datas, lever))
        every: dict[Any, Any] = (
            self.positions
        )  # one of size 0 counts for nothing, also where its symbol has no price yet
        self.positions = {data: position for data, position in every.items() if position.size}
        try:
            return float(super()._get_value(None, lever))
        finally:
            self.positions = every

    def _try_exec(self, order: Any) -> None:
        if order.info.get("next_candle_only") and self.now > order.created.dt + 1.5 * order.data.step_days:
            self._refused(order, LAPSED)
            order.cancel()
            self.notify(order)
        elif order.data.lines.datetime[0] == self.now:
            two_prices = order.exectype in (order.StopLimit, order.StopTrailLimit)
            self._limit = order.created.pricelimit if two_prices else order.created.price
            self._unslipped = None
            super()._try_exec(order)

    def _execute(
        self, order: Any, ago: int | None = None, price: float | None = None, cash: Any = None, position: Any = None,
        dtcoc: Any = None,
    ) -> Any:  # fmt: skip
        if ago is None:  # a rehearsal at the price of the decision: what would be left of the cash
            left = super()._execute(order, cash=cash, position=position)
            self._why = unaffordable(cash - left, cash)
            return left
        if price is None:
            return None
        done, data, size = order.executed, order.data, order.executed.remsize
        held = self.getposition(data).size
        if size < 0 and not data.allow_short and held + size < 1e-9 * size:
            self._why = SHORT_REFUSED
            order.reject(self)
            self.notify(order)
            self._ococheck(order)
            self._bracketize(order, cancel=True)
            return None
        opened = size if held * size >= 0 else max(0.0, abs(size) - abs(held))
        commission = self.getcommissioninfo(data).getcommission(opened, price)
        proceeds = 0.0 if held * size >= 0 else min(abs(size), abs(held)) * price * (1 if size < 0 else -1)
        self._why = unaffordable(abs(opened) * price + commission, self.cash + proceeds)
        before, paid = done.size, done.comm
        super()._execute(order, ago, price, cash, position, dtcoc)
        if done.size != before:
            size, unslipped = done.size - before, price if self._unslipped is None else self._unslipped
            self.fills.append(
                Fill(
                    data.candles.symbol, data.row_of(order.created.dt), len(data) - 1 + ago, size, price,
                    done.comm - paid, abs(price - unslipped) * abs(size), order.info.get("reason", ""),
                )
            )  # fmt: skip
        return None

    def _slip_up(self, pmax: float, price: float, doslip: bool = True, lim: bool = False) -> float:
        self._unslipped = price
        slipped = float(price * (1 + self.p.slip_perc))
        return min(slipped, self._limit) if lim else slipped

    def _slip_down(self, pmin: float, price: float, doslip: bool = True, lim: bool = False) -> float:
        self._unslipped = price
        slipped = float(price * (1 - self.p.slip_perc))
        return max(slipped, self._limit) if lim else slipped
