"""Paper trading as a run file says it: what is opened, in which order, and what a session leaves."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import pandas as pd

from freqlstm import provenance
from freqlstm.candles import Candles
from freqlstm.errors import PaperError, UnknownName, UsageError
from freqlstm.files import jsonable
from freqlstm.job import SignalUse
from freqlstm.paper.archive import Archive, moment
from freqlstm.paper.decision import intervals_read
from freqlstm.paper.deliberation import Deliberation, bars_kept
from freqlstm.paper.gateway import Gateway
from freqlstm.paper.journal import Journal
from freqlstm.paper.keys import Keys
from freqlstm.paper.limits import KillSwitch, Limits, Stop
from freqlstm.paper.machine import Orders
from freqlstm.paper.models import Models
from freqlstm.paper.pace import Pace
from freqlstm.paper.playback import write_rules
from freqlstm.paper.records import SessionFacts
from freqlstm.paper.session import Session
from freqlstm.paper.status import is_running
from freqlstm.paper.target import Target
from freqlstm.plugins import find
from freqlstm.progress import Progress, silent
from freqlstm.results import to_toml
from freqlstm.run import Run, in_a_file, run_of, signal_uses
from freqlstm.runfile import read_toml
from freqlstm.series_store import SeriesStore
from freqlstm.store import Project, write_text
from freqlstm.strategy import check_parameters

BEGAN = "began"  # kind of event: the open time of the first bar of a session
LAST_TRIES = 8  # looks for the last candle before a session; an exchange in maintenance has none
FRESH = 3600.0  # seconds for which an external series is not read again


@dataclass(frozen=True, kw_only=True)
class PaperRun(Run):
    """The recipe of a session: that of a backtest, and limits of risk."""

    limits: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.timerange:
            raise UsageError(f"The time range {self.timerange} is given. Paper trading begins now: leave it out.")
        if self.allow_short:
            raise UsageError("allow_short is true. A spot account cannot sell what it does not hold: leave it out.")
        self.risk()

    def risk(self) -> Limits:
        """The limits with those given in place."""
        known = {item.name for item in fields(Limits)}
        values: dict[str, Any] = {}
        for name, value in self.limits.items():
            if name not in known:
                raise UnknownName("limit", name, known)
            try:
                number = Decimal(str(value))
            except InvalidOperation:
                raise UsageError(f"The limit {name} is {value!r}. It must be a number.") from None
            values[name] = int(number) if name.startswith("max_orders") else number
        return Limits(**values)


def read_paper_run(path: Path) -> PaperRun:
    """The session of a run file; the run file of a backtest is one too, its time range left out."""
    return paper_run_of(read_toml(path, "name a strategy with --strategy"), str(path))


def paper_run_of(content: Mapping[str, Any], where: str) -> PaperRun:
    """A session from the tables and keys of a run file; ``where`` names it in messages."""
    plain = {name: value for name, value in content.items() if name not in ("limits", "timerange", "exchange")}
    limits = content.get("limits", {})
    if not isinstance(limits, Mapping):
        raise UsageError(f"Key 'limits' in {where} is {limits!r}. It must be a table.")
    run = run_of(plain, where)
    return PaperRun(**{item.name: getattr(run, item.name) for item in fields(Run)}, limits=limits)


@dataclass(frozen=True)
class Trader:
    """What a session trades by: the plugins of its run."""

    run: PaperRun
    strategy: type
    source: str
    parameters: dict[str, Any]
    uses: Mapping[str, SignalUse]

    @classmethod
    def of(cls, run: PaperRun, project: Project) -> Trader:
        plugin = find("strategy", run.strategy, project.root)
        kind = plugin.load()
        parameters = {**in_a_file(check_parameters(kind, run.parameters)), **run.parameters}
        return cls(run, kind, provenance.source_digest(plugin.path), parameters, signal_uses(kind, run, project))

    def facts(self, exchange: str) -> SessionFacts:
        """What its journal belongs to."""
        run = self.run
        told = {
            "parameters": self.parameters, "cash": run.cash, "seed": run.seed, "costs": vars(run.costs), "folds": vars(run.folds),
            "signals": {name: dict(use.parameters) for name, use in self.uses.items()},
        }  # fmt: skip
        parameters = json.dumps(jsonable(told), sort_keys=True)
        return SessionFacts(
            run.strategy, self.source, run.pairs, run.timeframe, exchange, parameters,
            to_toml({**run.as_dict(), "exchange": exchange}),
        )  # fmt: skip


@contextmanager
def opened(
    run: PaperRun, project: Project, target: Target, keys: Keys, name: str, *, poll: bool = False, pace: Pace | None = None,
    accept_balances: bool = False, may_withdraw: bool = False,
    tell: Callable[[str, str], None] = lambda kind, text: None, progress: Progress = silent,
) -> Iterator[Session]:  # fmt: skip
    """The session of that name, begun or gone on with, ready to run; everything is closed when the block ends."""
    trader = Trader.of(run, project)
    folder = project.paper / name
    switch = KillSwitch(folder / "stop")
    if switch.state is not None and switch.state[0] is Stop.KEEP:  # else it begins, cancels or sells, and ends
        raise PaperError(
            f"The kill switch of session {name} is on ({switch.state[1]}). Delete {switch.path} to trade again."
        )
    facts = trader.facts(target.name)
    forget_unbegun(folder)
    with Journal(folder / "journal.sqlite", facts) as journal:
        write_text(folder / "run.toml", journal.facts.run_toml)
        gateway = Gateway(
            target, keys, journal, run.pairs, run.timeframe, limits=run.risk(), switch=switch, pace=pace, poll=poll,
            accept_balances=accept_balances, may_withdraw=may_withdraw,
        )  # fmt: skip
        began = journal.events(BEGAN)
        gateway.start(int(began[0][2]["open_ms"]) if began else None)
        first = journal.events("start")[0][2]["first_bar"]  # by the exchange's clock, whatever this computer's says
        start_ms = int(began[0][2]["open_ms"] if began else first)
        models: Models | None = None
        try:
            if not began:
                journal.event(BEGAN, gateway.now_ms(), open_ms=start_ms)
            write_rules(journal, {pair: gateway.rules(pair) for pair in run.pairs}, gateway.now_ms())
            _check_cash(gateway, run)
            archive = Archive(folder / "candles", journal)
            models = _models(trader, project, archive, start_ms, folder)
            deliberation = _deliberation(trader, project, archive, models, gateway, start_ms, progress)
            models.turn(moment(gateway.now_ms()), wait=True, progress=progress)
            like = {pair: archive.candles(pair, start_ms, start_ms) for pair in run.pairs}
            orders = Orders(trader.strategy, trader.parameters, run.cash, run.costs)
            yield Session(orders, gateway, deliberation, like, target.speed, tell)
        finally:
            if models is not None:
                models.close()
            gateway.stop()


def forget_unbegun(folder: Path) -> None:
    """Remove the journal of a session that never began, so that what kept it from beginning can be put right."""
    path = folder / "journal.sqlite"
    if not path.is_file() or is_running(folder):
        return
    with Journal.read(path) as journal:
        begun = journal.last_bar_ms() is not None or journal.orders()
    if not begun:
        for file in folder.glob("journal.sqlite*"):
            file.unlink()


def _check_cash(gateway: Gateway, run: PaperRun) -> None:
    """A new session needs the cash that it is said to have."""
    if gateway.journal.last_bar_ms() is not None:
        return
    quotes = {gateway.rules(pair).quote for pair in run.pairs}
    if len(quotes) > 1:
        raise UsageError(
            f"The pairs are quoted in {' and '.join(sorted(quotes))}. A session has one cash: trade pairs of one."
        )
    (quote,) = quotes
    free = gateway.ledger().get(quote, Decimal(0))
    if free < Decimal(repr(run.cash)):
        raise PaperError(
            f"The account has {free:,.2f} {quote}, and the session is to trade with {run.cash:,.2f}. Give less with --cash {int(free)}."
        )


def _models(trader: Trader, project: Project, archive: Archive, start_ms: int, folder: Path) -> Models:
    def gather(first: pd.Timestamp, end: pd.Timestamp) -> dict[str, Candles]:
        low, high = (int(each.value // 1_000_000) for each in (first.as_unit("ns"), end.as_unit("ns")))
        return {pair: archive.candles(pair, low, high) for pair in trader.run.pairs}

    return Models(
        trader.uses, trader.run.seed, trader.run.folds, project.models, moment(start_ms), gather, folder / "learned",
        intervals_read(trader.strategy, trader.parameters, tuple(trader.uses), gather(moment(start_ms), moment(start_ms))),
    )  # fmt: skip


def _deliberation(
    trader: Trader,
    project: Project,
    archive: Archive,
    models: Models,
    gateway: Gateway,
    start_ms: int,
    progress: Progress,
) -> Deliberation:
    """With the candles from before the session that fits, predictions and conditions can look back on."""
    step = pd.Timedelta(milliseconds=gateway.step_ms)
    kept = bars_kept(models) + 2
    first = min(models.history_needed(step), moment(start_ms) - kept * step)
    for _ in range(LAST_TRIES):  # the newest candle is certain only some moments after its close
        archive.bring(int(first.as_unit("ns").value // 1_000_000), start_ms, gateway.history, progress)
        if archive.reaches(start_ms):
            break
        time.sleep(0.25)
    read: dict[str, tuple[float, Any]] = {}

    def series(name: str) -> Any:
        if name not in read or time.monotonic() - read[name][0] > FRESH:
            read[name] = time.monotonic(), SeriesStore(project.data).read(name)
        return read[name][1]

    low = start_ms - kept * gateway.step_ms
    history = {pair: archive.candles(pair, low, start_ms) for pair in trader.run.pairs}
    made = Deliberation(trader.strategy, trader.parameters, history, models, series)
    if made.decider is not None and made.decider.look_back > kept:
        low = start_ms - (made.decider.look_back + 1) * gateway.step_ms
        archive.bring(low, start_ms, gateway.history, progress)
        history = {pair: archive.candles(pair, low, start_ms) for pair in trader.run.pairs}
        made = Deliberation(trader.strategy, trader.parameters, history, models, series)
    return made


def session_name(run: PaperRun, exchange: str) -> str:
    """What a session is called unless it is given a name."""
    return f"{Path(run.strategy).stem}-{exchange}"


def with_limits(run: PaperRun, limits: Mapping[str, Any]) -> PaperRun:
    """The same with other limits."""
    return replace(run, limits={**run.limits, **limits})
