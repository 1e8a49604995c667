"""What engines report, and how it becomes a list of trades."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from freqlstm.candles import Candles
from freqlstm.results import trade_table


class Fill(NamedTuple):
    """One execution. Rows count candles of the symbol; the fill happened at the open (or within) row ``row``."""

    symbol: str
    decided_row: int
    row: int
    size: float  # base asset; negative: sold
    price: float  # with slippage
    commission: float  # quote asset
    slippage: float  # quote asset
    reason: str


class Refusal(NamedTuple):
    """An order that was not executed, and why."""

    symbol: str
    decided_row: int
    size: float
    reason: str
    why: str


SHORT_REFUSED = "this market does not allow selling short"
LAPSED = "the candle in which it would have filled is missing"


def unaffordable(cost: float, cash: float) -> str:
    """Why an order that takes ``cost`` is refused."""
    return f"costs {cost:,.2f} with commission, and there are {cash:,.2f} in cash"


@dataclass(frozen=True)
class Simulation:
    """What an engine returns. ``equity`` is indexed by open time and holds the values at that bar's close."""

    fills: list[Fill]
    refusals: list[Refusal]
    equity: pd.DataFrame  # columns equity, cash


Explain = Callable[[str, str, int], tuple[str, str, float]]
"""(symbol, reason, row of the decision) -> (text of what fired, points of its vote, prediction)."""


def trade_list(
    fills: Iterable[Fill], refusals: Iterable[Refusal], market: Mapping[str, Candles], explain: Explain
) -> pd.DataFrame:
    """Closed round trips, what is still open (valued at the last close) and refused orders, by time of decision.

    ``gross_pnl`` is without slippage and commission, ``net_pnl`` with both, in units of the quote asset. A refusal that
    repeats bar after bar is listed once.
    """
    rows = [*_round_trips(fills, market, explain), *_refused(refusals, market, explain)]
    return trade_table(sorted(rows, key=lambda row: (row["decided_at"], row["symbol"])))


def _round_trips(fills: Iterable[Fill], market: Mapping[str, Candles], explain: Explain) -> Iterable[dict[str, Any]]:
    legs: dict[str, list[Fill]] = {}
    held: dict[str, float] = {}
    for fill in fills:
        symbol, before = fill.symbol, held.get(fill.symbol, 0.0)
        after = before + fill.size
        if abs(after) < 1e-9 * max(abs(before), abs(fill.size)):
            after = 0.0
        if before * after < 0:  # turned around: one fill ends a trade and begins the next
            share = -before / fill.size
            ending, fill = _split(fill, share)
            yield _trade([*legs.pop(symbol), ending], market[symbol], explain)
        legs.setdefault(symbol, []).append(fill)
        held[symbol] = after
        if after == 0.0:
            yield _trade(legs.pop(symbol), market[symbol], explain)
    for symbol, open_legs in legs.items():
        yield _trade(open_legs, market[symbol], explain, still_open=True)


def _split(fill: Fill, share: float) -> tuple[Fill, Fill]:
    def part(of: float) -> Fill:
        return fill._replace(size=fill.size * of, commission=fill.commission * of, slippage=fill.slippage * of)

    return part(share), part(1 - share)


def _trade(legs: list[Fill], candles: Candles, explain: Explain, still_open: bool = False) -> dict[str, Any]:
    first, last = legs[0], legs[-1]
    side = 1 if first.size > 0 else -1
    entries = [leg for leg in legs if leg.size * side > 0]
    exits = [leg for leg in legs if leg.size * side < 0]
    size = sum(abs(leg.size) for leg in entries)
    paid = sum(leg.size * leg.price for leg in legs)
    commission = sum(leg.commission for leg in legs)
    slippage = sum(leg.slippage for leg in legs)
    left = sum(leg.size for leg in legs) if still_open else 0.0
    net = left * float(candles.close.iloc[-1]) - paid - commission
    entry_price = sum(abs(leg.size) * leg.price for leg in entries) / size
    entry_reason, votes, prediction = explain(candles.symbol, first.reason, first.decided_row)
    exit_reason = "" if still_open else explain(candles.symbol, last.reason, last.decided_row)[0]
    until = len(candles) if still_open else last.row
    return {
        "symbol": candles.symbol,
        "side": "long" if side > 0 else "short",
        "status": "open" if still_open else "closed",
        "decided_at": candles.time[first.decided_row] + candles.step,
        "entry_time": candles.time[first.row],
        "exit_time": pd.NaT if still_open else candles.time[last.row],
        "size": size,
        "entry_price": entry_price,
        "exit_price": np.nan
        if still_open
        else sum(abs(e.size) * e.price for e in exits) / sum(abs(e.size) for e in exits),
        "entry_reason": entry_reason,
        "exit_reason": exit_reason,
        "votes": votes,
        "prediction": prediction,
        "gross_pnl": net + commission + slippage,
        "commission": commission,
        "slippage": slippage,
        "turnover": sum(abs(leg.size) * leg.price for leg in legs),
        "net_pnl": net,
        "net_return": net / (size * entry_price),
        "bars_held": until - first.row,
        "refused_because": "",
    }


def _repeats(before: Refusal, refusal: Refusal) -> bool:
    same = before.reason == refusal.reason and (before.size < 0) == (refusal.size < 0)
    return same and refusal.decided_row - before.decided_row <= 1


def _refused(refusals: Iterable[Refusal], market: Mapping[str, Candles], explain: Explain) -> Iterable[dict[str, Any]]:
    newest: dict[str, Refusal] = {}
    for refusal in sorted(refusals, key=lambda refusal: refusal.decided_row):
        before = newest.get(refusal.symbol)
        newest[refusal.symbol] = refusal
        if before is not None and _repeats(before, refusal):
            continue
        candles = market[refusal.symbol]
        text, votes, prediction = explain(refusal.symbol, refusal.reason, refusal.decided_row)
        entering = not refusal.reason.startswith("exit")
        yield {
            "symbol": refusal.symbol,
            "side": "long" if (refusal.size >= 0) == entering else "short",
            "status": "refused",
            "decided_at": candles.time[refusal.decided_row] + candles.step,
            "entry_time": pd.NaT,
            "exit_time": pd.NaT,
            "size": abs(refusal.size),
            "entry_price": float(candles.close.iloc[refusal.decided_row]),
            "exit_price": np.nan,
            "entry_reason": text,
            "exit_reason": "",
            "votes": votes,
            "prediction": prediction,
            "gross_pnl": 0.0,
            "commission": 0.0,
            "slippage": 0.0,
            "turnover": 0.0,
            "net_pnl": 0.0,
            "net_return": 0.0,
            "bars_held": 0,
            "refused_because": refusal.why,
        }
