"""Walk-forward of parameters: the best on a past span trades the next one, and the pieces are one result.

A combination is chosen by what it did on a train span, whose last candle lies before the first of the test span. Each
test span starts without a position, with what the one before has left; what is still open at its end is sold at the
close of its last candle, slippage and commission paid. Where no combination had an objective on the train span, such as
when none of them traded, the test span passes without a trade.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from freqlstm import stats
from freqlstm.backtest import buy_and_hold
from freqlstm.candles import Candles
from freqlstm.costs import Costs
from freqlstm.engines.compiled import Tape, replay
from freqlstm.engines.fills import Fill, Refusal, trade_list
from freqlstm.errors import TooFewCandles, UsageError
from freqlstm.folds import Fold, FoldPlan, duration
from freqlstm.sweep import Proposals, Runner, Sweep, chosen_at, part, piece, train_columns

MOST_SPANS = 1000
END = "end of the span"  # the reason of the fills that close what is open


@dataclass(frozen=True)
class WalkPlan:
    """How long a span is on which parameters are chosen, and how long the next on which they trade; empty: no walk-forward."""

    train: str = ""
    test: str = ""

    def __bool__(self) -> bool:
        return bool(self.train or self.test)

    def spans(self, start: pd.Timestamp, end: pd.Timestamp) -> tuple[Fold, ...]:
        """The spans of [start, end): the first test span begins ``train`` after ``start``, the last is cut short at ``end``."""
        if not self:
            return ()
        plan = FoldPlan(train=self.train, test=self.test, min_train=self.train)
        first = start + duration(self.train)
        if first >= end:
            raise TooFewCandles(
                f"Parameters chosen on {self.train} leave nothing to trade on: the time range is {start:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} "
                f"UTC. Shorten --train, or choose a longer --timerange."
            )
        count = -(-(end - first) // duration(self.test))
        if count > MOST_SPANS:
            raise UsageError(
                f"Trading {self.test} at a time makes {count:,} spans, and {MOST_SPANS:,} are the most. Choose a longer --test."
            )
        return tuple(plan.folds(first, end, start))


@dataclass(frozen=True)
class Chosen:
    """The combination that was best on the train span; None: none had an objective there."""

    span: Fold
    parameters: dict[str, Any] | None
    trained: float | None  # its objective there


@dataclass(frozen=True)
class Walk:
    """What came of trading each test span with what was best before it."""

    chosen: list[Chosen]
    tested: list[dict[str, Any]]  # performance on each test span
    trades: pd.DataFrame
    equity: pd.DataFrame  # columns equity, hindsight, buy_and_hold; of the test spans


def choices(sweep: Sweep, proposals: Proposals, chunks: Iterable[pd.DataFrame]) -> list[Chosen]:
    """The best combination of each train span, among those that were proposed without a look beyond it; the earliest of equals."""
    names = train_columns(sweep.spans)
    best: list[tuple[float, dict[str, Any] | None]] = [(-np.inf, None)] * len(names)
    for number, table in enumerate(chunks):
        for place, name in enumerate(names):
            if not proposals.serves(number, place):
                continue
            values = table[name].to_numpy(np.float64)
            row = int(np.argmax(np.where(np.isnan(values), -np.inf, values)))
            if values[row] > best[place][0]:
                best[place] = (float(values[row]), chosen_at(sweep, table, row))
    return [
        Chosen(span, chosen, None if chosen is None else value)
        for span, (value, chosen) in zip(sweep.spans, best, strict=True)
    ]


def walk(sweep: Sweep, runner: Runner, chosen: list[Chosen], hindsight: Mapping[str, Any] | None) -> Walk:
    """Trade the test spans one after another; beside it ``hindsight``, the best of the whole range, over all of them at once."""
    job, traded = sweep.job, sweep.job.traded()
    cash = job.cash
    pieces: list[pd.Series[float]] = []
    tested: list[dict[str, Any]] = []
    trades: list[pd.DataFrame] = []
    for choice in chosen:
        span = choice.span
        equity, made = stretch(sweep, runner, choice.parameters, span.test_start, span.test_end, cash)
        if len(equity):
            tested.append({**stats.performance(equity, cash), "trades": stats.trade_summary(made)["closed"]})
            cash = float(equity.iloc[-1])
        else:
            tested.append({})
        pieces.append(equity)
        trades.append(made)
    equity = pd.concat(pieces)
    start, end = chosen[0].span.test_start, chosen[-1].span.test_end
    market = {symbol: candles.between(start, end) for symbol, candles in traded.items()}
    best, _ = stretch(sweep, runner, hindsight, start, end, job.cash)
    held = buy_and_hold(market, equity.index, job.cash, job.costs)
    whole = pd.DataFrame({"equity": equity, "hindsight": best.reindex(equity.index).ffill(), "buy_and_hold": held})
    filled = [table for table in trades if len(table)]
    return Walk(chosen, tested, pd.concat(filled, ignore_index=True) if filled else trades[0], whole)


def stretch(
    sweep: Sweep, runner: Runner, chosen: Mapping[str, Any] | None, start: pd.Timestamp, end: pd.Timestamp, cash: float
) -> tuple[pd.Series[float], pd.DataFrame]:
    """(equity, trades) of [start, end) traded by itself: nothing is held before, and nothing after."""
    job, traded = sweep.job, sweep.job.traded()
    market, rows = piece(traded, start, end)
    fills: list[Fill] = []
    refusals: list[Refusal] = []
    if chosen is None or not market:
        times = pd.DatetimeIndex(sorted({time for candles in market.values() for time in candles.time}))
        equity: pd.Series[Any] = pd.Series(cash, index=times, dtype=np.float64)
    else:
        parameters = sweep.parameters(chosen)
        decisions = {symbol: decided for symbol, decided in runner.decisions(parameters).items() if symbol in rows}
        decisions = {symbol: part(decided, rows[symbol]) for symbol, decided in decisions.items()}
        parameters["max_positions"] = parameters["max_positions"] or len(traded)
        outcome = replay(Tape.of(market, job.rules), decisions, parameters, job.costs, cash, job.allow_short)
        equity, refusals = outcome.equity["equity"].copy(), outcome.refusals
        closing = list(closed(outcome.fills, market, job.costs))
        equity.iloc[-1] -= sum(fill.commission + fill.slippage for fill in closing)
        fills = [*outcome.fills, *closing]
    return equity, trade_list(fills, refusals, market, lambda symbol, reason, row: (reason, "", float("nan")))


def closed(fills: Iterable[Fill], market: Mapping[str, Candles], costs: Costs) -> Iterable[Fill]:
    """The fills that end what is open, at the last close."""
    held: dict[str, float] = {}
    largest: dict[str, float] = {}
    for fill in fills:
        held[fill.symbol] = held.get(fill.symbol, 0.0) + fill.size
        largest[fill.symbol] = max(largest.get(fill.symbol, 0.0), abs(fill.size))
    for symbol, size in held.items():
        if abs(size) > 1e-9 * largest[symbol]:
            close, last = float(market[symbol].close.iloc[-1]), len(market[symbol]) - 1
            slipped = costs.slippage * close
            price = close - slipped if size > 0 else close + slipped
            yield Fill(symbol, last, last, -size, price, abs(size) * price * costs.commission, abs(size) * slipped, END)
