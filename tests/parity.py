"""Adventures for both engines: random markets, conditions, rules and costs, and what must come out the same.

``python tests/parity.py --cases 100000`` compares that many on all cores; a case that differs is named by its number.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from freqlstm.bars import Decisions
from freqlstm.candles import Candles
from freqlstm.costs import Costs, MarketRules
from freqlstm.engines import backtrader, compiled
from freqlstm.engines.fills import Simulation
from freqlstm.strategy import Strategy

SYMBOLS = ("BTC/USDT", "ETH/USDT", "SOL/USDT", "ADA/USDT")
MINUTE = 60_000  # milliseconds

Choose = Callable[[Sequence[Any]], Any]
"""One of several values: by a random generator, or by hypothesis."""


class Conditions(Strategy):
    """The decisions are given: nothing is left to decide."""


@dataclass(frozen=True)
class Case:
    """One run for both engines."""

    market: Mapping[str, Candles]
    decisions: Mapping[str, Decisions]
    rules: Mapping[str, MarketRules]
    parameters: Mapping[str, Any]
    costs: Costs
    cash: float
    allow_short: bool

    def run(self, simulate: Callable[..., Simulation]) -> Simulation:
        tables = {symbol: pd.DataFrame(index=candles.time) for symbol, candles in self.market.items()}
        return simulate(
            Conditions, self.parameters, self.market, predictions=tables, decisions=self.decisions, rules=self.rules,
            costs=self.costs, cash=self.cash, allow_short=self.allow_short,
        )  # fmt: skip


def case(choose: Choose, seed: int) -> Case:
    """An adventure: ``choose`` decides what kind, ``seed`` its numbers."""
    random = np.random.default_rng(seed)
    symbols = SYMBOLS[: choose([1, 1, 2, 3, 4])]
    minutes = choose([12, 40, 40, 80])
    market = {symbol: candles(choose, random, symbol, minutes) for symbol in symbols}
    lots = choose([1e-8, 1e-5, 0.01, 0.1, 0.3, 1.0, 1.2345e-10])
    rules = MarketRules(lots, choose([0.0, 5.0, 5.0, 100.0]))
    fraction = [0.0, 0.0, 0.0005, 0.002, 0.02, 0.05]
    parameters = {
        "stop_loss": choose(fraction), "take_profit": choose([*fraction, 1.0, 1.5]), "trailing_stop": choose(fraction),
        "max_holding": choose([0, 0, 1, 2, 7]), "max_positions": choose([0, 0, 1, 2, 3]),
        "exposure": choose([0.3, 0.95, 1.0, 1.0]),
    }  # fmt: skip
    enters, leaves, shares = choose([0.03, 0.2, 0.6, 1.0]), choose([0.0, 0.05, 0.3]), choose([False, False, True])
    return Case(
        market, {symbol: decisions(random, len(each), enters, leaves, shares) for symbol, each in market.items()},
        dict.fromkeys(symbols, rules), parameters,
        Costs(choose([0.0, 0.00075, 0.001, 0.03]), choose([0.0, 0.0, 0.0001, 0.02])),
        choose([1.0, 20.0, 1000.0, 1234.56, 1e6]), choose([True, True, False]),
    )  # fmt: skip


def candles(choose: Choose, random: np.random.Generator, symbol: str, minutes: int) -> Candles:
    """A market that jumps, opens beyond where it closed, pauses, begins late or stands still."""
    swing, gap = choose([1e-4, 1e-3, 0.01, 0.05]), choose([0.0, 0.0, 1e-3, 0.02])
    move = random.normal(0, swing, minutes) + (random.random(minutes) < 0.05) * random.normal(0, 0.1, minutes)
    jump = random.normal(0, 1, minutes) * gap + (random.random(minutes) < 0.04) * random.normal(0, 0.1, minutes)
    level = choose([100.0, 100.0, 0.004, 37_000.0])
    close = level * np.exp(np.cumsum(move + jump))
    open_ = close * np.exp(-move)
    wick = np.abs(random.normal(0, swing, (2, minutes)))
    still = random.random(minutes) < choose([0.0, 0.1])
    high = np.where(still, close, np.maximum(open_, close) * (1 + wick[0]))
    low = np.where(still, close, np.minimum(open_, close) * (1 - wick[1]))
    table = np.stack([np.where(still, close, open_), high, low, close], axis=1)
    if choose([False, True]):  # prices in few steps touch a level exactly
        tick = level / choose([20, 100, 10_000])
        table = np.maximum(np.round(table / tick), 1) * tick
        table[:, 1], table[:, 2] = table.max(axis=1), table.min(axis=1)
    kept = random.random(minutes) >= choose([0.0, 0.0, 0.05, 0.3])
    kept[: choose([0, 0, 0, 5, minutes - 3])] = False
    kept[-2:] = True
    offset = choose([0, 0, 0, 0, 20_000, 45_000])  # off the grid
    stamps = 1_704_067_200_000 + MINUTE * np.arange(minutes) + offset
    frame = pd.DataFrame(table, columns=["open", "high", "low", "close"]).assign(volume=np.where(still, 0.0, 1.0))
    frame.index = pd.DatetimeIndex(pd.to_datetime(stamps, unit="ms", utc=True))
    return Candles.from_frame(frame[kept], symbol, "1m")


def decisions(random: np.random.Generator, rows: int, enters: float, leaves: float, shares: bool) -> Decisions:
    """Conditions at random, also for both sides at once."""
    share = np.round(random.random(rows), 3) if shares else None
    enter_long, enter_short = random.random((2, rows)) < enters
    exit_long, exit_short = random.random((2, rows)) < leaves
    if share is not None:
        enter_long, enter_short = enter_long & (share > 0), enter_short & (share > 0)
    return Decisions(enter_long, exit_long, enter_short, exit_short, {}, share=share)


def difference(left: Simulation, right: Simulation) -> str:
    """What the two runs do not agree on to the bit; empty if on everything."""
    for what in ("fills", "refusals"):
        ours, theirs = getattr(left, what), getattr(right, what)
        for at, (one, other) in enumerate(zip(ours, theirs, strict=False)):
            if one != other:
                return f"{what}[{at}]: {one} and {other}"
        if len(ours) != len(theirs):
            return f"{len(ours)} and {len(theirs)} {what}"
    for column in ("equity", "cash"):
        ours, theirs = left.equity[column].to_numpy(), right.equity[column].to_numpy()
        if len(ours) != len(theirs):
            return f"{len(ours)} and {len(theirs)} steps"
        if (ours != theirs).any():
            at = int(np.argmax(ours != theirs))
            return f"{column} at step {at}: {ours[at]!r} and {theirs[at]!r}"
    return "" if left.equity.index.equals(right.equity.index) else "the times of the steps"


def numbered(number: int) -> Case:
    """The case of that number, the same at all times."""
    random = np.random.default_rng([number, 1])
    return case(lambda options: options[int(random.integers(len(options)))], number)


def compare(numbers: range) -> tuple[int, list[str]]:
    """The fills of these cases, and what differs in them."""
    fills, differing = 0, []
    for number in numbers:
        adventure = numbered(number)
        reference = adventure.run(backtrader.simulate)
        fills += len(reference.fills)
        found = difference(reference, adventure.run(compiled.simulate))
        if found:
            differing.append(f"case {number}: {found}")
    return fills, differing


def main() -> int:
    """Compare as many cases as asked for on all cores."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=100_000)
    parser.add_argument("--first", type=int, default=0, help="the number of the first case")
    parser.add_argument("--jobs", type=int, default=None, help="processes; as many as there are cores")
    asked = parser.parse_args()
    blocks = list(_blocks(asked.first, asked.first + asked.cases, 250))
    clock, done, fills, differing = time.perf_counter(), 0, 0, []
    with ProcessPoolExecutor(asked.jobs) as pool:
        for block, (some, found) in zip(blocks, pool.map(compare, blocks), strict=True):
            done, fills, differing = done + len(block), fills + some, differing + found
            left = (time.perf_counter() - clock) / done * (asked.cases - done)
            sys.stderr.write(
                f"\r{done:,} of {asked.cases:,} cases, {fills:,} fills, {len(differing)} differ, {left:.0f} s left "
            )
    sys.stderr.write("\n")
    for line in differing[:20]:
        sys.stdout.write(f"{line}\n")
    same = "differ" if differing else "are the same to the bit"
    sys.stdout.write(
        f"{len(differing) or done:,} of {done:,} cases with {fills:,} fills {same}; {time.perf_counter() - clock:.0f} s\n"
    )
    return 1 if differing else 0


def _blocks(first: int, end: int, size: int) -> Iterator[range]:
    while first < end:
        yield range(first, min(first + size, end))
        first += size


if __name__ == "__main__":
    sys.exit(main())
