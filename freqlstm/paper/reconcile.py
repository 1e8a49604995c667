"""A session beside a backtest over its own candles: every difference and what it is put down to."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from freqlstm.bars import CONDITIONS, Decisions
from freqlstm.candles import Candles
from freqlstm.costs import MarketRules
from freqlstm.engines.fills import Refusal
from freqlstm.paper.decision import Decision
from freqlstm.paper.diary import Entry

# What a difference is put down to.
DATA = "data revision"  # the exchange says something else of a candle than it did when it closed
MODEL = "model age"  # another model spoke, or none did yet
PRICE = "fill price"  # the order met another price than the backtest takes
FEE = "fee"  # commission other than expected
CURRENCY = "fee currency and lot step"  # a buy paid its commission in what it bought, and sizes are whole lots
LATENCY = "latency"  # the candle came too late, or the order took longer than a bar
REFUSAL = "refusal"  # by the exchange, a limit or the kill switch
EQUITY = "equity"  # sizes follow the equity, which other differences have changed
EARLIER = "follows from an earlier difference"
UNEXPLAINED = "unexplained"

CLOSE = 1e-6  # relative difference of two predictions by one model: sums in another order


@dataclass(frozen=True)
class Side:
    """The trades of one of the two, with what led to them."""

    trades: pd.DataFrame  # of results.TRADE_COLUMNS
    refusals: Sequence[Refusal]
    equity: pd.Series[float]  # at the close of each bar


@dataclass(frozen=True)
class Expected(Side):
    """What a backtest over the session's candles makes of them; ``revised``: bars of which the exchange said otherwise later."""

    market: Mapping[str, Candles]
    predictions: Mapping[str, pd.DataFrame]
    decisions: Mapping[str, Decisions]
    rules: Mapping[str, MarketRules]
    commission: float
    look_back: int = 0  # bars
    revised: Mapping[str, frozenset[int]] = field(default_factory=dict)  # symbol -> open times, ms


@dataclass(frozen=True)
class Difference:
    """One thing that was otherwise."""

    symbol: str
    time: pd.Timestamp  # close of the bar of the decision
    what: str
    session: str
    backtest: str
    cause: str
    amount: float = 0.0  # quote asset, by which the session earned more


@dataclass
class Reconciliation:
    """The outcome; ``paired`` counts round trips that both have."""

    bars: int
    decisions_compared: int
    decisions_equal: int
    paired: int
    session_trades: int
    backtest_trades: int
    session_profit: float  # quote asset, of closed round trips
    backtest_profit: float
    differences: list[Difference] = field(default_factory=list)

    @property
    def causes(self) -> dict[str, dict[str, float]]:
        """Cause -> how many differences it has made, and how much they were worth."""
        counts = Counter(each.cause for each in self.differences)
        amounts: dict[str, float] = defaultdict(float)
        for each in self.differences:
            amounts[each.cause] += each.amount
        return {cause: {"count": count, "amount": amounts[cause]} for cause, count in counts.most_common()}

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "causes": self.causes}


def reconcile(session: Side, entries: Sequence[Entry], expected: Expected) -> Reconciliation:
    """Compare bar for bar and trade for trade."""
    differing: dict[tuple[str, int], str] = {}  # (symbol, row) -> cause
    compared = 0
    found: list[Difference] = []
    late: dict[str, set[int]] = defaultdict(set)
    rows = _rows(entries)
    for symbol, numbered in rows.items():
        for row, entry in numbered:
            if entry.stale:
                late[symbol].add(row)
        if symbol in expected.decisions:
            compared += len(numbered)
            for difference, row in _decisions(symbol, numbered, expected):
                found.append(difference)
                differing[symbol, row] = difference.cause
    matcher = _Matcher(session, expected, differing, late)
    found += matcher.differences()
    return Reconciliation(
        bars=len(entries), decisions_compared=compared, decisions_equal=compared - len(differing), paired=matcher.paired,
        session_trades=len(closed(session.trades)), backtest_trades=len(closed(expected.trades)),
        session_profit=float(closed(session.trades)["net_pnl"].sum()),
        backtest_profit=float(closed(expected.trades)["net_pnl"].sum()), differences=found,
    )  # fmt: skip


def closed(trades: pd.DataFrame) -> pd.DataFrame:
    """The round trips that have ended."""
    return trades[trades["status"] == "closed"]


def _rows(entries: Iterable[Entry]) -> dict[str, list[tuple[int, Entry]]]:
    rows: dict[str, list[tuple[int, Entry]]] = defaultdict(list)
    for entry in entries:
        for symbol in entry.candles:
            rows[symbol].append((len(rows[symbol]), entry))
    return rows


def _decisions(
    symbol: str, numbered: Sequence[tuple[int, Entry]], expected: Expected
) -> Iterator[tuple[Difference, int]]:
    truth, candles, said = expected.decisions[symbol], expected.market[symbol], expected.predictions[symbol]
    revised = np.zeros(len(candles) + 1, dtype=np.int64)
    stamps = candles.time.as_unit("ms").asi8
    revised[1:] = np.cumsum(np.isin(stamps, list(expected.revised.get(symbol, ()))))
    for row, entry in numbered:
        ours = entry.decisions[symbol]
        theirs = [name for name in CONDITIONS if getattr(truth, name)[row]]
        if list(ours.true) == theirs and _same_share(ours, truth, row):
            continue
        if revised[row + 1] - revised[max(0, row - expected.look_back)]:
            cause = DATA
        elif _other_prediction(entry.said[symbol], said.iloc[row]):
            cause = MODEL
        else:
            cause = UNEXPLAINED
        yield (
            Difference(
                symbol, candles.time[row] + candles.step, "decision", ", ".join(ours.true) or "nothing",
                ", ".join(theirs) or "nothing", cause,
            ),
            row,
        )  # fmt: skip


def _same_share(ours: Decision, truth: Decisions, row: int) -> bool:
    if truth.share is None or ours.share is None or not ours.true:
        return True
    return bool(abs(ours.share - truth.share[row]) <= CLOSE * abs(truth.share[row]))


def _other_prediction(ours: Mapping[str, float], theirs: pd.Series[float]) -> bool:
    for name, value in theirs.items():
        mine = ours.get(str(name), np.nan)
        if np.isnan(mine) != np.isnan(value) or abs(mine - value) > CLOSE * max(abs(value), 1e-9):
            return True
    return False


class _Matcher:
    """Pairs round trips by symbol and bar of the entry's decision."""

    def __init__(
        self, session: Side, expected: Expected, differing: Mapping[tuple[str, int], str], late: Mapping[str, set[int]]
    ) -> None:
        self.session = session
        self.expected = expected
        self.differing = differing
        self.late = late
        self.paired = 0
        self.broken: dict[str, pd.Timestamp] = {}  # symbol -> since when the two hold different positions

    def differences(self) -> list[Difference]:
        """Of all trades, in the order of their decisions."""
        ours = {(row["symbol"], row["decided_at"]): row for row in _entered(self.session.trades)}
        theirs = {(row["symbol"], row["decided_at"]): row for row in _entered(self.expected.trades)}
        found: list[Difference] = []
        for key in sorted({*ours, *theirs}, key=lambda key: (key[1], key[0])):
            if key in ours and key in theirs:
                self.paired += 1
                found += self._pair(ours[key], theirs[key])
            else:
                found.append(self._lone(ours.get(key), theirs.get(key)))
        return found

    def _row(self, symbol: str, decided_at: pd.Timestamp) -> int:
        candles = self.expected.market[symbol]
        return int(candles.time.searchsorted(decided_at - candles.step))

    def _pair(self, ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> Iterator[Difference]:
        symbol, time = ours["symbol"], ours["decided_at"]
        side = 1 if ours["side"] == "long" else -1
        ratio = ours["size"] / theirs["size"]
        rules = self.expected.rules[symbol]
        both = ours["status"] == theirs["status"] == "closed"
        sizes = abs(ours["size"] - theirs["size"])
        slack = self.expected.commission * theirs["size"] + 2 * rules.lot_step
        other_exit = both and ours["exit_time"] != theirs["exit_time"]

        def told(what: str, name: str, cause: str, amount: float) -> Difference:
            return Difference(symbol, time, what, f"{ours[name]:.10g}", f"{theirs[name]:.10g}", cause, amount)

        if sizes > 1e-9 * theirs["size"]:
            yield told(
                "size", "size", CURRENCY if sizes <= slack else EQUITY, (ratio - 1) * theirs["net_pnl"] if both else 0.0
            )
        if not _near(ours["entry_price"], theirs["entry_price"]):
            amount = -side * ours["size"] * (ours["entry_price"] - theirs["entry_price"]) if both else 0.0
            yield told("entry price", "entry_price", PRICE, amount)
        if ours["status"] != theirs["status"] or other_exit:
            yield self._other_exit(ours, theirs, side if both else 0)
        elif both and not _near(ours["exit_price"], theirs["exit_price"]):
            amount = side * ours["size"] * (ours["exit_price"] - theirs["exit_price"])
            yield told("exit price", "exit_price", PRICE, amount)
        fee = -(ours["commission"] - theirs["commission"] * ratio)
        if both and abs(fee) > self.expected.commission * 1e-3 * ours["turnover"]:
            yield told("commission", "commission", FEE, fee)

    def _other_exit(self, ours: Mapping[str, Any], theirs: Mapping[str, Any], side: int) -> Difference:
        symbol, candles = ours["symbol"], self.expected.market[ours["symbol"]]
        ends = [each["exit_time"] for each in (ours, theirs) if each["status"] == "closed"]
        first, last = (int(candles.time.searchsorted(time)) - 1 for time in (min(ends), max(ends)))
        cause = UNEXPLAINED
        for row in range(max(0, first - 1), min(last + 1, len(candles))):
            if (symbol, row) in self.differing:
                cause = self.differing[symbol, row]
                break
            if self._refused(symbol, row):
                cause = REFUSAL
                break
            if row in self.late.get(symbol, ()):
                cause = LATENCY
                break
        if cause == UNEXPLAINED and ours["exit_reason"] in ("stop_loss", "trailing_stop", "take_profit"):
            cause = PRICE  # what protects hangs on the price of the entry, and on prices within a candle
        self.broken[symbol] = max(ends)
        amount = side * ours["size"] * (ours["exit_price"] - theirs["exit_price"]) if side else 0.0
        return Difference(
            symbol, ours["decided_at"], "exit", f"{ours['exit_time']} {ours['exit_reason']}",
            f"{theirs['exit_time']} {theirs['exit_reason']}", cause, amount,
        )  # fmt: skip

    def _refused(self, symbol: str, row: int) -> str:
        for refusal in self.session.refusals:
            if refusal.symbol == symbol and refusal.decided_row == row:
                return refusal.why
        return ""

    def _lone(self, ours: Mapping[str, Any] | None, theirs: Mapping[str, Any] | None) -> Difference:
        trade = ours if ours is not None else theirs
        assert trade is not None
        symbol, time = trade["symbol"], trade["decided_at"]
        row = self._row(symbol, time)
        why = self._refused(symbol, row)
        expected_refusal = any(each.symbol == symbol and each.decided_row == row for each in self.expected.refusals)
        if (symbol, row) in self.differing:
            cause = self.differing[symbol, row]
        elif theirs is not None and row in self.late.get(symbol, ()):
            cause = LATENCY
        elif theirs is not None and why:
            cause = REFUSAL
        elif expected_refusal:
            cause = EQUITY
        elif self.broken:
            cause = EARLIER
        else:
            cause = UNEXPLAINED
        self.broken[symbol] = time
        net = 0.0 if trade["status"] != "closed" else float(trade["net_pnl"])
        shown = f"{trade['side']} {trade['size']:.8g} at {trade['entry_price']:.8g}"
        none = f"none ({why})" if why and ours is None else "none"
        return Difference(
            symbol, time, "trade", shown if ours is not None else none, shown if theirs is not None else "none", cause,
            net if ours is not None else -net,
        )  # fmt: skip


def _entered(trades: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(k): v for k, v in row.items()} for row in trades[trades["status"] != "refused"].to_dict("records")]


def _near(a: float, b: float) -> bool:
    return abs(a - b) <= 1e-9 * abs(b)
