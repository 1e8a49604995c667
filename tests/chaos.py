"""Chaos: the paper trader as a process against a sandbox, killed at any moment and failed in every way.

``python -m chaos --seconds 600 --seed 1 --seed 2`` (in tests/) runs it at length, ``make chaos`` does so too. What must hold at the end
is in :func:`verdict`.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from conftest import make_candles
from paper.exchange import Floor

from freqlstm.candles import Candles
from freqlstm.paper.journal import Journal
from freqlstm.paper.records import State
from freqlstm.sandbox import Liquidity

PAIRS = ("BTC/USDT", "ETH/USDT")
SPEED = 60.0  # a bar of one minute is a second
HISTORY = 300  # bars
STRATEGY = '''"""Buys and sells on next to nothing, with two stops."""

from freqlstm import Strategy


class Restless(Strategy):
    warmup = 3
    params = dict(stop_loss=0.003, trailing_stop=0.002, max_holding=4)

    def enter_long(self, bars):
        return bars.close > 0

    def exit_long(self, bars):
        return bars.close > 1.0005 * bars.close.shift(3)
'''

ORDER, REPLACE, TRADES, KLINES = "/api/v3/order", "/api/v3/order/cancelReplace", "/api/v3/myTrades", "/api/v3/klines"
AFTER = ("drop", "timeout", "unknown", "html", "empty", "hang", "late")  # it was done, or will be
BEFORE = ("lost", "busy", "limited", "latency", "slow_answer", "refuse")
MARKET = ("kline_missing", "kline_late", "kline_duplicate", "kline_out_of_order", "kline_unfinished")
OTHER = ("invisible", "account_silent", "thin_book", "partial", "subscribe")
STRIKES = ("close", "abort", "half_open", "stall", "terminate", "shutdown")
DETAILS: dict[str, dict[str, Any]] = {
    "late": {"seconds": 0.3}, "hang": {"seconds": 2.0}, "invisible": {"seconds": 0.4}, "latency": {"seconds": 0.1},
    "slow_answer": {"seconds": 0.2}, "limited": {"retry_after": 1}, "thin_book": {"levels": 1, "amount": 300},
    "shutdown": {"seconds": 0.5},
}  # fmt: skip


@dataclass
class Report:
    """What happened, and what should not have."""

    seed: int
    seconds: float = 0.0
    kills: int = 0
    faults: int = 0
    kinds: int = 0
    orders: int = 0
    stops: int = 0
    fills: int = 0
    bars: int = 0
    starts_failed: int = 0
    wrong: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        told = "all well" if not self.wrong else "; ".join(self.wrong[:5])
        return (
            f"seed {self.seed}: {self.seconds:.0f} s, {self.kills} kills, {self.faults} faults of {self.kinds} kinds, {self.orders} orders "
            f"({self.stops} stops), {self.fills} fills, {self.bars} bars, {self.starts_failed} starts that failed: {told}"
        )


def market(bars: int) -> dict[str, Candles]:
    """Restless minutes of two symbols, in prices that their exchange allows."""
    made = {}
    for number, pair in enumerate(PAIRS):
        candles = make_candles(HISTORY + bars, seed=70 + number, symbol=pair)
        made[pair] = Candles.from_frame((candles.frame * [1, 1, 1, 1, 100]).round(2), pair, "1m")
    return made


class Trader:
    """The paper trader, as a process that is started again whenever it has ended."""

    def __init__(self, url: str, root: Path, code: Sequence[str] = ()) -> None:
        self.url, self.root, self.code = url, root, code
        self.log = (root / "trader.log").open("ab")
        self.failed = 0
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        arguments = [
            "paper", "--exchange", "sandbox", "--sandbox", self.url, "--strategy", "restless", "--name", "chaos", "--cash", "5000",
            "--limit", "max_orders_per_hour=1000000", "--limit", "max_orders_per_bar=1000", "--limit", "max_daily_loss=1000000",
            *(word for pair in PAIRS for word in ("-p", pair)),
        ]  # fmt: skip
        command = (
            [sys.executable, "-m", "mutant", *self.code, "--"]
            if self.code
            else [sys.executable, "-m", "freqlstm.cli.main"]
        )
        folders = os.pathsep.join([str(Path(__file__).parent), str(Path(__file__).parents[1])])
        self.process = subprocess.Popen(
            [*command, "--project", str(self.root), *arguments], stdout=self.log, stderr=self.log, cwd=self.root,
            env={**os.environ, "PYTHONPATH": folders},
        )  # fmt: skip

    def again(self) -> None:
        """Start it if it is not running."""
        if self.process is None or self.process.poll() is not None:
            if self.process is not None and self.process.returncode not in (0, -signal.SIGKILL):
                self.failed += 1
            self.start()

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def end(self) -> None:
        """End it as a person would."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.kill()
        self.log.close()


def trouble(floor: Floor, dice: random.Random) -> None:
    """One moment of bad luck."""
    sandbox = floor.sandbox
    draw = dice.random()
    if draw < 0.6:
        kind = dice.choice(AFTER + BEFORE)
        path, method = dice.choice(
            ((ORDER, "POST"), (ORDER, "GET"), (ORDER, "DELETE"), (REPLACE, "POST"), (TRADES, "GET"), (KLINES, "GET"))
        )
        options = {"path": path, "method": method, **DETAILS.get(kind, {})}
    elif draw < 0.95:
        kind = dice.choice(MARKET + OTHER)
        options = dict(DETAILS.get(kind, {}))
    else:
        kind, where = dice.choice(STRIKES), dice.choice(("market", "user"))
        where = "user" if kind == "terminate" else where
        floor.do(lambda: sandbox.strike(kind, where, **DETAILS.get(kind, {})))
        return
    if len(sandbox.venue.faults.waiting) < 60:  # what is armed has to happen
        floor.do(lambda: sandbox.arm(kind, **options))


def chaos(
    seconds: float, seed: int, root: Path, *, kill_every: float = 5.0, pause: float = 0.08, code: Sequence[str] = ()
) -> Report:
    """Trade for so many seconds of this machine; ``code`` names a mutation of the trader."""
    dice = random.Random(seed)
    (root / "strategies").mkdir()
    (root / "strategies" / "restless.py").write_text(STRATEGY)
    report = Report(seed)
    candles = market(int(seconds * SPEED / 60) + 240)
    start = int(candles[PAIRS[0]].time[HISTORY].timestamp() * 1000)
    deep = Liquidity(levels=3, amount=Decimal(5000), spread=1)
    with Floor(candles, start=start, liquidity=deep, seed=seed) as floor:
        trader = Trader(floor.sandbox.url, root, code)
        trader.start()
        until_bar(root, trader, 60.0)
        floor.do(lambda: floor.sandbox.run(SPEED))
        trader.kill()  # it knew another speed
        began = time.monotonic()
        next_kill = began + dice.expovariate(1 / kill_every)
        try:
            while time.monotonic() - began < seconds:
                trader.again()
                trouble(floor, dice)
                if (
                    time.monotonic() >= next_kill
                    and (speaks(trader, root) or dice.random() < 0.05)
                    and trader.process.poll() is None
                ):
                    trader.kill()
                    report.kills += 1
                    next_kill = time.monotonic() + dice.expovariate(1 / kill_every)
                time.sleep(dice.random() * 2 * pause)
            floor.do(floor.sandbox.venue.faults.clear)
            calm(trader, root, 60.0)
            floor.do(lambda: floor.sandbox.run(0.0))  # and the trader ends at once: its clock still runs
        finally:
            trader.end()
        truth = floor.do(floor.sandbox.venue.truth)
        report.faults = sum(floor.sandbox.venue.faults.consumed.values())
        report.kinds = len(floor.sandbox.venue.faults.consumed)
    report.seconds, report.starts_failed = time.monotonic() - began, trader.failed
    verdict(report, root / "paper" / "chaos" / "journal.sqlite", truth, candles)
    return report


def speaks(trader: Trader, root: Path) -> bool:
    """Whether the process has come as far as trading."""
    with suppress(OSError, ValueError):
        status = json.loads((root / "paper" / "chaos" / "status.json").read_text())
        return trader.process is not None and bool(status["pid"] == trader.process.pid)
    return False


def until_bar(root: Path, trader: Trader, patience: float) -> None:
    """Wait until the session has begun."""
    until = time.monotonic() + patience
    while time.monotonic() < until:
        trader.again()
        with suppress(Exception):
            journal = Journal.read(root / "paper" / "chaos" / "journal.sqlite")
            try:
                if journal.events("began"):
                    return
            finally:
                journal.close()
        time.sleep(0.2)


def calm(trader: Trader, root: Path, patience: float) -> None:
    """Wait until the trader runs and nothing is on its way."""
    until, quiet = time.monotonic() + patience, 0
    while time.monotonic() < until and quiet < 4:
        trader.again()
        time.sleep(0.5)
        with suppress(Exception):
            journal = Journal.read(root / "paper" / "chaos" / "journal.sqlite")
            try:
                open_ = {State.OPEN, State.PARTIAL}
                here = speaks(trader, root)
                quiet = quiet + 1 if here and {each.state for each in journal.orders(unresolved=True)} <= open_ else 0
            finally:
                journal.close()


def verdict(report: Report, path: Path, truth: dict[str, Any], candles: dict[str, Candles]) -> None:
    """Compare the journal with everything that the exchange knows."""
    journal = Journal.read(path)
    (account,) = truth["accounts"].values()
    wrong = report.wrong
    theirs = {row["clientOrderId"]: row for row in account["orders"]}
    ours = {order.cid: order for order in journal.orders()}
    report.orders, report.stops = len(theirs), sum(row["type"] == "STOP_LOSS" for row in theirs.values())
    report.bars = len(journal.decided_bars())
    if account["duplicates"] or len(theirs) != len(account["orders"]):
        wrong.append(f"{len(account['orders']) - len(theirs)} orders are doubled")
    for cid, row in theirs.items():
        order = ours.get(cid)
        if order is None:
            wrong.append(f"the journal does not know {cid}")
        elif STATES.get(row["status"]) != order.state:
            wrong.append(f"{cid} is {row['status']} at the exchange and {order.state} in the journal")
        elif Decimal(row["executedQty"]) != order.executed:
            wrong.append(f"{cid} has filled {row['executedQty']} at the exchange and {order.executed} in the journal")
    for cid, order in ours.items():
        if cid not in theirs and order.state not in (
            State.REJECTED,
            State.NOT_ACCEPTED,
            State.INTENT,
        ):  # an intent was not sent
            wrong.append(f"{cid} is {order.state} in the journal and unknown to the exchange")
    short = [
        order.cid for order in ours.values() if order.state is State.REJECTED and "insufficient balance" in order.note
    ]
    if short:
        wrong.append(f"{len(short)} orders were for more than there is, such as {short[0]}")
    known = {(fill.symbol.replace("/", ""), fill.trade_id): fill for fill in journal.fills()}
    trades = {(row["symbol"], row["id"]): row for row in account["trades"]}
    report.fills = len(trades)
    if known.keys() != trades.keys():
        wrong.append(
            f"{len(trades.keys() - known.keys())} fills are lost, {len(known.keys() - trades.keys())} are made up"
        )
    for key in known.keys() & trades.keys():
        row, fill = trades[key], known[key]
        if (fill.quantity, fill.price, fill.commission) != tuple(
            Decimal(row[name]) for name in ("qty", "price", "commission")
        ):
            wrong.append(f"fill {key} is not what the exchange says")
    wrong.extend(ledger_wrong(journal, account["balances"]))
    wrong.extend(bars_wrong(journal, candles, truth["open_time"]))
    journal.close()


STATES = {
    "NEW": State.OPEN, "PARTIALLY_FILLED": State.PARTIAL, "FILLED": State.FILLED, "CANCELED": State.CANCELED,
    "EXPIRED": State.EXPIRED, "REJECTED": State.REJECTED,
}  # fmt: skip


def ledger_wrong(journal: Journal, balances: dict[str, Any]) -> list[str]:
    """Where start balances and fills do not add up to what the account holds, to 8 decimals."""
    sums = dict(journal.start_balances())
    for fill in journal.fills():
        base, _, quote = fill.symbol.partition("/")
        side = 1 if fill.side == "buy" else -1
        for asset, amount in (
            (base, side * fill.quantity),
            (quote, -side * fill.quantity * fill.price),
            (fill.commission_asset, -fill.commission),
        ):
            sums[asset] = sums.get(asset, Decimal(0)) + amount
    wrong = []
    for asset in sorted({*sums, *balances}):
        row = balances.get(asset, {"free": "0", "locked": "0"})
        held = Decimal(row["free"]) + Decimal(row["locked"])
        if abs(sums.get(asset, Decimal(0)) - held) > Decimal("1e-8") * max(1, len(journal.fills())) * (
            asset == "USDT"
        ) + Decimal("1e-8"):
            wrong.append(f"the ledger has {sums.get(asset, 0)} {asset} and the account {held}")
    return wrong


def bars_wrong(journal: Journal, candles: dict[str, Candles], stopped: int) -> list[str]:
    """Bars that are not those of the market, or that an order was sent on though they came too late.

    The candle that was forming when the market was ``stopped`` never closes there, but does by a clock that goes on.
    """
    wrong = []
    for symbol, candle, _ in journal.delivered():
        if candle.open_ms >= stopped:
            continue
        row = candles[symbol].frame.loc[[_moment(candle.open_ms)]]
        if tuple(row.iloc[0]) != candle.floats:
            wrong.append(f"the bar {candle.open_ms} of {symbol} is not that of the market")
    fresh = journal.decided_bars()
    for order in journal.orders():
        if not order.intent.reduces and order.sent_ms is not None and not fresh.get(order.intent.open_ms, True):
            wrong.append(f"{order.cid} was entered on a candle that came too late")
    return wrong


def _moment(milliseconds: int) -> Any:
    from freqlstm.paper.archive import moment

    return moment(milliseconds)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--seed", type=int, action="append")
    parser.add_argument("--kill-every", type=float, default=5.0)
    parser.add_argument("--mutation", default="", help="One of those in mutant.py: what is wrong must be found.")
    given = parser.parse_args()
    failed = False
    for seed in given.seed or [1]:
        root = Path(tempfile.mkdtemp(prefix="chaos-"))
        code = [given.mutation] if given.mutation else []
        report = chaos(given.seconds, seed, root, kill_every=given.kill_every, code=code)
        sys.stdout.write(f"{report}  ({root})\n")
        sys.stdout.flush()
        failed = failed or bool(report.wrong)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
