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
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from conftest import make_candles
from paper.exchange import Floor

from freqlstm.candles import Candles
from freqlstm.paper.archive import moment
from freqlstm.paper.journal import Journal
from freqlstm.paper.records import State
from freqlstm.sandbox import Liquidity
from freqlstm.sandbox.faults import KINDS, OF_CONNECTIONS

PAIRS = ("BTC/USDT", "ETH/USDT")
SPEED = 60.0  # a bar of one minute is a second
STEP = 60_000  # milliseconds
HISTORY = 300  # bars
LONG = 600.0  # seconds of a run that has to have been hard enough
KILLS, FAULTS = 100, 1000  # in such a run, at least
STRATEGY = '''"""Buys and sells on next to nothing; of every two positions in the second symbol, one has a limit in place of stops."""

from functools import cached_property

import backtrader as bt

from freqlstm import Strategy
from freqlstm.desk import Desk


class Patient(Desk):
    def _protect(self):
        if self.filled_at % 2:
            self._rest("take_profit", exectype=bt.Order.Limit, price=self.position.price * 1.0002)
        else:
            super()._protect()


class Restless(Strategy):
    warmup = 3
    params = dict(stop_loss=0.003, trailing_stop=0.002, max_holding=4)

    @cached_property
    def desks(self):
        return [(Patient if number else Desk)(self, data, data) for number, data in enumerate(self.datas)]

    def enter_long(self, bars):
        return bars.close > 0

    def exit_long(self, bars):
        return bars.close > 1.0005 * bars.close.shift(3)
'''

ORDER, REPLACE = ("/api/v3/order", "POST"), ("/api/v3/order/cancelReplace", "POST")
CALLS = (  # that the trader makes while it trades
    *[ORDER] * 5, REPLACE, REPLACE, ("/api/v3/order", "DELETE"), ("/api/v3/order", "DELETE"), ("/api/v3/order", "GET"),
    ("/api/v3/order", "GET"), ("/api/v3/myTrades", "GET"), ("/api/v3/klines", "GET"), ("/api/v3/account", "GET"),
    ("/api/v3/time", "GET"),
)  # fmt: skip
OF_REQUESTS = tuple(kind for kind, (where, _) in KINDS.items() if where == "a request")
SELDOM = ("limited", "banned", *(kind for kind in KINDS if kind.startswith("kline_")))  # or nothing else would happen
OFTEN = [kind for kind in KINDS if kind not in OF_CONNECTIONS for _ in range(1 if kind in SELDOM else 2)]
WAITING = (
    2  # faults of one kind that wait for something to strike: one that seldom can keeps none of the others waiting
)
REFUSALS = (-1021, -1000, -1015, -1013)
DETAILS: dict[str, Callable[[random.Random], dict[str, Any]]] = {
    "late": lambda dice: {"seconds": dice.choice((0.15, 0.4, 0.8, 1.5))},  # with a window of one second
    "hang": lambda dice: {"seconds": 2.0},
    "invisible": lambda dice: {"seconds": dice.choice((10, 30))},  # of a market sixty times as fast
    "latency": lambda dice: {"seconds": dice.choice((0.1, 0.5, 1.2))},
    "slow_answer": lambda dice: {"seconds": dice.choice((0.2, 0.7))},
    "limited": lambda dice: {"retry_after": 1},
    "banned": lambda dice: {"retry_after": 1},
    "refuse": lambda dice: {"code": dice.choice(REFUSALS), "message": "Refused for no reason."},
    "thin_book": lambda dice: {"levels": 1, "amount": 300},
    "shutdown": lambda dice: {"seconds": 0.3},
}


@dataclass
class Report:
    """What happened, and what should not have."""

    seed: int
    seconds: float = 0.0
    kills: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    orders: int = 0
    stops: int = 0
    fills: int = 0
    bars: int = 0
    starts_failed: int = 0
    wrong: list[str] = field(default_factory=list)

    @property
    def easy(self) -> list[str]:
        """In what a long run was less hard than it has to be."""
        if self.seconds < LONG:
            return []
        least = {"kills": (self.kills, KILLS), "faults": (self.faults.total(), FAULTS)}
        few = [f"only {number} {what}, not {needed}" for what, (number, needed) in least.items() if number < needed]
        never = sorted(KINDS.keys() - self.faults.keys())
        return few + ([f"no {', no '.join(never)} ever happened"] if never else [])

    def __str__(self) -> str:
        said = [*self.wrong[:5], *self.easy]
        kinds = ", ".join(f"{kind} {count}" for kind, count in self.faults.most_common())
        return (
            f"seed {self.seed}: {self.seconds:.0f} s, {self.kills} kills, {self.faults.total()} faults, {self.orders} orders "
            f"({self.stops} stops), {self.fills} fills, {self.bars} bars, {self.starts_failed} starts that failed: "
            f"{'; '.join(said) or 'all well'}\n  {len(self.faults)} kinds of faults: {kinds}"
        )


def market(bars: int) -> dict[str, Candles]:
    """Restless minutes of two symbols, in prices that their exchange allows."""
    made = {}
    for number, pair in enumerate(PAIRS):
        candles = make_candles(HISTORY + bars, seed=70 + number, symbol=pair)
        made[pair] = Candles.from_frame((candles.frame * [1, 1, 1, 1, 100]).round(2), pair, "1m")
    return made


class Trader:
    """The paper trader, as a process that is started again whenever it has ended: see :mod:`nursery`."""

    def __init__(self, url: str, root: Path, code: Sequence[str] = ()) -> None:
        self.folder = root / "paper" / "chaos"
        self.failed = 0
        self.number = 0  # of the process; 0: none runs
        self.arguments = [
            "--project", str(root), "paper", "--exchange", "sandbox", "--sandbox", url, "--strategy", "restless", "--name", "chaos",
            "--cash", "5000", "--limit", "max_orders_per_hour=1000000", "--limit", "max_orders_per_bar=1000",
            "--limit", "max_daily_loss=1000000", *(word for pair in PAIRS for word in ("-p", pair)),
        ]  # fmt: skip
        self.log = (root / "trader.log").open("ab")
        folders = os.pathsep.join([str(Path(__file__).parent), str(Path(__file__).parents[1])])
        self.nursery = subprocess.Popen(
            [sys.executable, "-m", "nursery", *code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, cwd=root,
            env={**os.environ, "PYTHONPATH": folders}, text=True,
        )  # fmt: skip

    def _ask(self, **question: Any) -> Any:
        assert self.nursery.stdin is not None
        assert self.nursery.stdout is not None
        self.nursery.stdin.write(f"{json.dumps(question)}\n")
        self.nursery.stdin.flush()
        return json.loads(self.nursery.stdout.readline())

    @property
    def runs(self) -> bool:
        if self.number:
            code = self._ask(look=self.number)
            if code is None:
                return True
            self.number = 0
            self.failed += code != 0
        return False

    def again(self) -> None:
        """Start it if it is not running."""
        if not self.runs:
            self.number = self._ask(run=self.arguments)

    def kill(self) -> None:
        os.kill(self.number, signal.SIGKILL)
        self._ask(wait=self.number)
        self.number = 0

    def end(self, patience: float = 30.0) -> str:
        """End it as a person would; what went wrong with that."""
        if not self.runs:
            return ""
        os.kill(self.number, signal.SIGTERM)
        until = time.monotonic() + patience
        failed = self.failed
        while self.runs and time.monotonic() < until:
            time.sleep(0.05)
        if self.number:
            self.kill()
            return f"the trader did not end within {patience:.0f} s"
        return "" if self.failed == failed else "the trader did not end well"

    def close(self) -> None:
        if self.runs:
            self.kill()
        self.nursery.communicate()
        self.log.close()


def trouble(floor: Floor, dice: random.Random) -> None:
    """One moment of bad luck: any kind of the menu, those of connections least often, since each costs a reconnection."""
    sandbox, faults = floor.sandbox, floor.sandbox.venue.faults
    kind = dice.choice(OF_CONNECTIONS if dice.random() < 0.05 else OFTEN)
    options = DETAILS[kind](dice) if kind in DETAILS else {}
    if kind in OF_CONNECTIONS:
        where = "user" if kind == "terminate" else dice.choice(("market", "user"))
        floor.do(lambda: sandbox.strike(kind, where, **options))
        return
    if sum(fault.kind == kind for fault in list(faults.waiting)) >= WAITING:
        return
    if kind in OF_REQUESTS:
        path, method = dice.choice(CALLS)
        options.update(path=path, method=method, probability=0.25)  # some calls are to succeed
    floor.do(lambda: sandbox.arm(kind, **options))


def catch(floor: Floor, dice: random.Random, patience: float = 2.0) -> None:
    """Wait for a moment at which a kill hurts: right after the exchange has taken an order."""
    matching = floor.sandbox.venue.matching
    before, until = matching.orders, time.monotonic() + patience
    while matching.orders == before and time.monotonic() < until:
        time.sleep(0.002)
    time.sleep(dice.choice((0.0, 0.0, 0.005, 0.02)))


def chaos(
    seconds: float, seed: int, root: Path, *, kill_every: float = 3.0, pause: float = 0.1, code: Sequence[str] = ()
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
        try:
            trader.again()
            until_bar(trader, 60.0)
            trader.kill()  # it knew another speed
            floor.do(lambda: floor.sandbox.run(SPEED))
            began = time.monotonic()
            next_kill = began + dice.expovariate(1 / kill_every)
            while time.monotonic() - began < seconds:
                trader.again()
                trouble(floor, dice)
                if time.monotonic() >= next_kill:
                    if dice.random() < 0.5:
                        catch(floor, dice)
                    if trader.runs:
                        trader.kill()
                        report.kills += 1
                    next_kill = time.monotonic() + dice.expovariate(1 / kill_every)
                time.sleep(dice.random() * 2 * pause)
            report.seconds = time.monotonic() - began
            report.faults = Counter(floor.sandbox.venue.faults.consumed)
            floor.do(floor.sandbox.venue.faults.clear)
            unsettled = settled(floor, trader)
        finally:
            trader.close()
        truth = floor.do(floor.sandbox.venue.truth)
    report.starts_failed = trader.failed
    verdict(report, trader.folder / "journal.sqlite", truth, candles)
    report.wrong.extend(unsettled)
    return report


def settled(floor: Floor, trader: Trader) -> list[str]:
    """Calm after the storm: what went wrong until the trader was at rest in a market that stands still."""
    calm(trader, 30.0, looks=1)  # in a market that goes on there is something on its way at most moments
    wrong = [trader.end()]
    floor.do(lambda: floor.sandbox.run(0.0))
    if not calm(trader, 60.0):
        wrong.append("orders are left unresolved")
    wrong.append(trader.end())
    return [each for each in wrong if each]


def speaks(trader: Trader) -> bool:
    """Whether the process has come as far as trading."""
    with suppress(OSError, ValueError):
        status = json.loads((trader.folder / "status.json").read_text())
        return bool(status["pid"] == trader.number)
    return False


def reading(trader: Trader, question: Callable[[Journal], Any]) -> Any:
    """What the journal answers; None where it cannot be read yet."""
    with suppress(Exception):
        journal = Journal.read(trader.folder / "journal.sqlite")
        try:
            return question(journal)
        finally:
            journal.close()
    return None


def until_bar(trader: Trader, patience: float) -> None:
    """Wait until the session has begun."""
    until = time.monotonic() + patience
    while time.monotonic() < until and not reading(trader, lambda journal: journal.events("began")):
        trader.again()
        time.sleep(0.2)


def calm(trader: Trader, patience: float, looks: int = 4) -> bool:
    """Wait until the trader runs and nothing is on its way at so many looks in a row; whether that came about."""
    until, quiet, failed = time.monotonic() + patience, 0, trader.failed
    while time.monotonic() < until and quiet < looks and trader.failed < failed + 6:
        trader.again()
        time.sleep(0.25)
        standing = reading(trader, lambda journal: {each.state for each in journal.orders(unresolved=True)})
        quiet = quiet + 1 if speaks(trader) and standing is not None and standing <= {State.OPEN, State.PARTIAL} else 0
    return quiet >= looks


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
        if cid not in theirs and order.state not in (State.REJECTED, State.NOT_ACCEPTED):
            wrong.append(f"{cid} is {order.state} in the journal and unknown to the exchange")
    for _, _, facts in journal.events("contradiction"):
        wrong.append(
            f"{facts['cid']} was given up and the exchange had it: {facts['ours']} here, {facts['theirs']} there"
        )
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
    wrong.extend(holdings_wrong(journal, path.with_name("status.json")))
    wrong.extend(bars_wrong(journal, candles, truth["sent"]))
    wrong.extend(late_entries(journal, theirs))
    journal.close()


STATES = {
    "NEW": State.OPEN, "PARTIALLY_FILLED": State.PARTIAL, "FILLED": State.FILLED, "CANCELED": State.CANCELED,
    "EXPIRED": State.EXPIRED, "REJECTED": State.REJECTED,
}  # fmt: skip


def holdings_wrong(journal: Journal, status: Path) -> list[str]:
    """Where the strategy ended with another position and dust than its fills have made, exactly."""
    if not status.is_file():
        return ["nothing tells what the strategy holds"]
    wrong = []
    for symbol, row in json.loads(status.read_text())["symbols"].items():
        made = Decimal(0)
        for fill in journal.fills():
            if fill.symbol == symbol:
                taken = fill.commission if fill.commission_asset == symbol.partition("/")[0] else 0
                made += (fill.quantity if fill.side == "buy" else -fill.quantity) - taken
        if Decimal(row["position"]) + Decimal(row["dust"]) != made:
            wrong.append(
                f"the strategy holds {row['position']} and {row['dust']} of dust in {symbol}, and its fills made {made}"
            )
    return wrong


def ledger_wrong(journal: Journal, balances: dict[str, Any]) -> list[str]:
    """Where start balances and fills do not add up to what the account holds, exactly."""
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
    held = {asset: Decimal(row["free"]) + Decimal(row["locked"]) for asset, row in balances.items()}
    return [
        f"the ledger has {sums.get(asset, 0)} {asset} and the account {held.get(asset, 0)}"
        for asset in sorted({*sums, *held})
        if sums.get(asset, Decimal(0)) != held.get(asset, Decimal(0))
    ]


def bars_wrong(journal: Journal, candles: dict[str, Candles], sent: list[dict[str, Any]]) -> list[str]:
    """Bars that are not those of the market, nor closed candles that the exchange sent with a wrong close (kline_corrected)."""
    closes = {(row["s"], row["t"], float(row["c"])) for row in sent if row["e"] == "kline" and not row["lost"]}
    wrong = []
    for symbol, candle, _ in journal.delivered():
        found = candles[symbol].frame.loc[moment(candle.open_ms)]
        close = float(candle.close)
        theirs = close if (symbol.replace("/", ""), candle.open_ms, close) in closes else found["close"]
        if candle.floats != (found["open"], max(found["high"], theirs), found["low"], theirs, found["volume"]):
            wrong.append(f"the bar {candle.open_ms} of {symbol} is not that of the market")
    return wrong


def late_entries(journal: Journal, theirs: dict[str, Any]) -> list[str]:
    """Entries that were decided on a candle which came too late, or that came too late themselves."""
    fresh, wrong = journal.decided_bars(), []
    for order in journal.orders():
        intent = order.intent
        if intent.reduces or order.sent_ms is None:
            continue
        if not fresh.get(intent.open_ms, False):
            wrong.append(f"{order.cid} was entered on a candle that came too late")
        latest = intent.open_ms + 2 * STEP
        if order.sent_ms > latest or (
            order.cid in theirs and theirs[order.cid]["time"] > order.sent_ms + order.window_ms
        ):
            wrong.append(f"{order.cid} was sent too late")
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--seed", type=int, action="append")
    parser.add_argument("--kill-every", type=float, default=3.0)
    parser.add_argument("--mutation", default="", help="One of those in mutant.py: what is wrong must be found.")
    given = parser.parse_args()
    failed = False
    for seed in given.seed or [1]:
        root = Path(tempfile.mkdtemp(prefix="chaos-"))
        code = [given.mutation] if given.mutation else []
        report = chaos(given.seconds, seed, root, kill_every=given.kill_every, code=code)
        sys.stdout.write(f"{report}  ({root})\n")
        sys.stdout.flush()
        failed = failed or bool(report.wrong or report.easy)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
