"""The compiled engine: the decisions of a strategy of conditions become what the reference engine makes of them.

It reproduces fills, refusals, cash and equity of :mod:`freqlstm.engines.backtrader` for everything that the docstring of
:mod:`freqlstm.strategy` says, one symbol or a portfolio. The rules themselves are in :mod:`freqlstm.engines.kernel`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import backtrader as bt
import numpy as np
import pandas as pd

from freqlstm import stats
from freqlstm.candles import Candles
from freqlstm.costs import Costs, MarketRules
from freqlstm.engines import kernel
from freqlstm.engines.backtrader import backtrader_days, steps_of
from freqlstm.engines.choice import require_conditions_alone
from freqlstm.engines.fills import LAPSED, SHORT_REFUSED, Fill, Refusal, Simulation, unaffordable
from freqlstm.errors import CandleError
from freqlstm.strategy import CONDITIONS, Decisions, check_parameters

PRICES = ("open", "high", "low", "close")
_DAY = 86_400_000  # milliseconds
_CHUNK = 4096  # steps that are valued at a time where no curve is kept


@dataclass(frozen=True, eq=False)
class Tape:
    """The candles of a run as arrays for the kernel: made once, shared by any number of runs and threads."""

    symbols: tuple[str, ...]
    market_rules: tuple[MarketRules, ...]
    times: pd.DatetimeIndex  # every open time of any symbol
    prices: kernel.Prices

    @classmethod
    def of(cls, market: Mapping[str, Candles], rules: Mapping[str, MarketRules]) -> Tape:
        """The tape of the traded candles of ``market``."""
        every = list(market.values())
        for candles in every:
            _refuse_nan(candles)
        times = steps_of(market)
        milliseconds = times.as_unit("ms").asi8
        steps = np.arange(len(times))
        visits = [
            steps if candles.time is times else np.searchsorted(milliseconds, candles.time.as_unit("ms").asi8)
            for candles in every
        ]
        closes = [candles.close.to_numpy(np.float64) for candles in every]
        midnights = _DAY * np.arange(milliseconds[0] // _DAY + 1, milliseconds[-1] // _DAY + 2)
        open_, high, low, close = (_joined([c.frame[name].to_numpy(np.float64) for c in every]) for name in PRICES)
        prices = kernel.Prices(
            open_, high, low, close, _joined(visits), _shared(np.cumsum([0, *map(len, every)])),
            _shared(np.stack([_newest(*each, steps) for each in zip(closes, visits, strict=True)])),
            _shared(backtrader_days(times)),
            _shared(np.array([1.5 * (candles.step / pd.Timedelta(days=1)) for candles in every])),
            _shared(np.array([rules[symbol].lot_step for symbol in market], np.float64)),
            _shared(np.array([rules[symbol].min_notional for symbol in market], np.float64)),
            _shared(np.searchsorted(milliseconds, midnights) - 1),
        )  # fmt: skip
        return cls(tuple(market), tuple(rules[symbol] for symbol in market), times, prices)


def _joined(columns: list[np.ndarray]) -> np.ndarray:
    """The column of one symbol, or those of several one after the other."""
    return _shared(columns[0] if len(columns) == 1 else np.concatenate(columns))


def _shared(values: np.ndarray) -> np.ndarray:
    """A view that nobody writes to: what a kernel is given is of one type, whether or not its owner may write to it."""
    view = np.ascontiguousarray(values).view()
    view.flags.writeable = False
    return view


def _newest(closes: np.ndarray, visits: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """Shape (steps,): the newest close at each step, NaN before the first."""
    if len(closes) == len(steps):
        return closes
    return np.concatenate([[np.nan], closes])[np.searchsorted(visits, steps, side="right")]


def _refuse_nan(candles: Candles) -> None:
    prices = [candles.frame[name].to_numpy(np.float64) for name in PRICES]
    if all(np.isfinite(column @ column) for column in prices):  # a quick look: not so if there is a NaN
        return
    absent = np.asarray(np.isnan(np.array(prices)).any(axis=0))
    if absent.any():
        raise CandleError(
            f"{int(absent.sum()):,} candles of {candles.symbol} have a price that is not a number, the first at "
            f"{candles.time[absent][0]}. Remove or correct them: there is no trading without a price."
        )


class Summary(NamedTuple):
    """What became of one configuration, by the definitions of :mod:`freqlstm.stats`; NaN where those say None."""

    final_equity: float
    total_return: float
    cagr: float  # the annual return
    sharpe: float
    sortino: float
    calmar: float
    max_drawdown: float
    trades: int  # closed round trips
    wins: int
    refused: int
    commission: float
    exposure: float  # the share of steps at whose close a position is open


def simulate(
    strategy: type[bt.Strategy],
    parameters: Mapping[str, Any],
    market: Mapping[str, Candles],
    *,
    predictions: Mapping[str, pd.DataFrame],
    decisions: Mapping[str, Decisions],
    rules: Mapping[str, MarketRules],
    costs: Costs,
    cash: float,
    allow_short: bool = False,
) -> Simulation:
    """Like :func:`freqlstm.engines.backtrader.simulate`, for strategies that are made of conditions alone."""
    require_conditions_alone(strategy)
    return replay(Tape.of(market, rules), decisions, check_parameters(strategy, parameters), costs, cash, allow_short)


def replay(
    tape: Tape, decisions: Mapping[str, Decisions], parameters: Mapping[str, Any], costs: Costs, cash: float,
    allow_short: bool = False,
) -> Simulation:  # fmt: skip
    """One run over the candles of ``tape``; ``parameters`` holds all that every strategy has."""
    made = records(tape, decisions, parameters, costs, cash, allow_short)
    curve = pd.DataFrame(made.curve.T, index=tape.times, columns=["equity", "cash"], copy=False)
    return Simulation(_fills(tape, made.fills), _refusals(tape, made.refusals), curve)


class Records(NamedTuple):
    """A run in arrays, without a Python object for each fill."""

    fills: Any  # of the type kernel.LOG, in order
    refusals: Any
    curve: np.ndarray  # shape (2, steps): equity and cash at the close of each step


def records(
    tape: Tape, decisions: Mapping[str, Decisions], parameters: Mapping[str, Any], costs: Costs, cash: float,
    allow_short: bool = False,
) -> Records:  # fmt: skip
    """What :func:`replay` puts names to."""
    flags = _flags(tape, decisions)
    most = int(np.count_nonzero(flags.enter_long != flags.enter_short))  # each such candle sends one entry at most
    fills, refusals = np.recarray(2 * most, kernel.LOG), np.recarray(most, kernel.LOG)
    values = np.empty((2, len(tape.times)))
    curve = kernel.Curve(values[0], values[1], np.empty(0), np.empty(1))
    account = _trade(tape, flags, _terms(tape, parameters, costs, allow_short), cash, fills, refusals, curve)
    return Records(fills[: account.fills], refusals[: account.refusals], values)


def summarize(
    tape: Tape, decisions: Mapping[str, Decisions], parameters: Mapping[str, Any], costs: Costs, cash: float,
    allow_short: bool = False,
) -> Summary:  # fmt: skip
    """The figures of one run without its fills and its curve; other threads run meanwhile."""
    none = np.recarray(0, kernel.LOG)
    days = len(tape.prices.evenings)
    curve = kernel.Curve(np.empty(0), np.empty(0), np.empty(days), np.empty(_CHUNK))
    account = _trade(
        tape, _flags(tape, decisions), _terms(tape, parameters, costs, allow_short), cash, none, none, curve
    )
    final = float(curve.evenings[-1]) if days else cash
    deepest = float(account.drawdown)
    annual = math.nan
    if days >= stats.SHORTEST_YEAR:
        annual = (final / cash) ** (stats.PERIODS / days) - 1.0 if final > 0 else -1.0
    sharpe, sortino = kernel.ratios(curve.evenings, np.empty(days), cash, stats.PERIODS)
    return Summary(
        final, final / cash - 1.0, annual, sharpe, sortino, annual / deepest if deepest > 0 else math.nan, deepest,
        int(account.trades), int(account.wins), int(account.refused), float(account.commission),
        int(account.exposed) / len(tape.times) if days else 0.0,
    )  # fmt: skip


def _trade(
    tape: Tape, flags: kernel.Flags, terms: kernel.Terms, cash: float, fills: Any, refusals: Any, curve: kernel.Curve
) -> Any:
    """The account after the run."""
    symbols = len(tape.symbols)
    books = np.zeros(symbols, kernel.BOOK).view(np.recarray)
    account = np.zeros(1, kernel.ACCOUNT).view(np.recarray)
    account[0].cash = account[0].equity = account[0].peak = account[0].lowest = cash
    queue = np.zeros(symbols, np.int64)
    kernel.trade(tape.prices, flags, terms, books, queue, account[0], fills, refusals, curve)
    return account[0]


def _flags(tape: Tape, decisions: Mapping[str, Any]) -> kernel.Flags:
    """The decisions of all symbols, one after the other."""
    each = [decisions[symbol] for symbol in tape.symbols]
    for symbol, one, rows in zip(tape.symbols, each, np.diff(tape.prices.first), strict=True):
        if len(one.enter_long) != rows:
            raise CandleError(
                f"The decisions on {symbol} are of {len(one.enter_long):,} candles, and {rows:,} are traded. Cut them to those."
            )
    enter_long, exit_long, enter_short, exit_short = (
        _joined([np.asarray(getattr(one, name), np.bool_) for one in each]) for name in CONDITIONS
    )
    share = np.empty(0)
    if any(one.share is not None for one in each):
        share = np.concatenate([np.ones(len(one.enter_long)) if one.share is None else one.share for one in each])
    return kernel.Flags(enter_long, exit_long, enter_short, exit_short, _shared(share))


def _terms(tape: Tape, parameters: Mapping[str, Any], costs: Costs, allow_short: bool) -> kernel.Terms:
    return kernel.Terms(
        float(parameters["stop_loss"]), float(parameters["take_profit"]), float(parameters["trailing_stop"]),
        int(parameters["max_holding"]), float(parameters["exposure"]),
        int(parameters["max_positions"]) or len(tape.symbols), float(costs.commission), float(costs.slippage),
        bool(allow_short),
    )  # fmt: skip


def _fills(tape: Tape, log: Any) -> list[Fill]:
    """The fills with names and with rows counted by symbol."""
    first = tape.prices.first[log.symbol]
    columns = (
        [tape.symbols[symbol] for symbol in log.symbol.tolist()], (log.decided - first).tolist(),
        (log.candle - first).tolist(), log.amount.tolist(), log.price.tolist(), log.commission.tolist(),
        log.slippage.tolist(), [kernel.REASONS[reason] for reason in log.reason.tolist()],
    )  # fmt: skip
    return list(map(Fill._make, zip(*columns, strict=True)))


def _refusals(tape: Tape, log: Any) -> list[Refusal]:
    """The refused orders in the words of the reference engine."""
    refused = []
    for symbol, decided, _, size, cost, there, _, reason, why in log.tolist():
        if why == kernel.UNAFFORDABLE:
            text = unaffordable(cost, there)
        elif why == kernel.MARKET_RULES:
            text = tape.market_rules[symbol].refusal(size, cost)
        else:
            text = LAPSED if why == kernel.LAPSED else SHORT_REFUSED
        row = decided - int(tape.prices.first[symbol])
        refused.append(Refusal(tape.symbols[symbol], row, size, kernel.REASONS[reason], text))
    return refused
