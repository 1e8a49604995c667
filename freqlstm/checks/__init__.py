"""The promises that every plugin must keep, proven by running it: on other futures its past must stay as it is.

Each ``check_*`` of :mod:`freqlstm.checks.signals` and :mod:`freqlstm.checks.strategies` has its claim as its docstring
and raises a ``LookAheadError`` or ``PluginError``. In your own tests:

    @pytest.mark.parametrize("check", SIGNAL_CHECKS)
    def test_my_signal(check):
        check(case_of(find("signal", "my_signal", Path("."))))

What cannot be found this way: a plugin that reads candles from elsewhere than what it is given, or that behaves only
while it is being checked.
"""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from freqlstm.checks.case import Case, SignalCase
from freqlstm.checks.ground import Ground, Market, made_up
from freqlstm.checks.hints import hints
from freqlstm.checks.signals import SIGNAL_CHECKS
from freqlstm.checks.strategies import STRATEGY_CHECKS
from freqlstm.checks.strategy_case import StrategyCase, history_of
from freqlstm.demo import demo_market
from freqlstm.errors import FreqlstmError, LookAheadError, PluginError, UnknownName
from freqlstm.models import read_beside
from freqlstm.plugins import Plugin, find, shown
from freqlstm.progress import Progress, silent
from freqlstm.project import Project
from freqlstm.selection import with_beside
from freqlstm.strategy import check_parameters, signals_of

__all__ = [
    "SIGNAL_CHECKS",
    "STRATEGY_CHECKS",
    "Outcome",
    "SignalCase",
    "StrategyCase",
    "case_of",
    "cases_of",
    "run_checks",
]

SYMBOLS = ("BTC/USDT", "ETH/USDT")


@dataclass(frozen=True)
class Outcome:
    """One check of one plugin."""

    plugin: Plugin
    check: str
    claim: str  # what was to be shown
    reason: str  # why it failed; empty: it passed
    seconds: float
    hints: list[str] = field(default_factory=list)  # lines to look at, if it failed
    looks_ahead: bool = False

    @property
    def passed(self) -> bool:
        return not self.reason


def case_of(
    plugin: Plugin,
    root: Path = Path(),
    market: Market | None = None,
    parameters: Mapping[str, Any] = MappingProxyType({}),
) -> Case:
    """One plugin ready to be checked; on the demo market unless candles are given. ``root`` is the project's folder."""
    return cases_of([plugin], root, market, parameters)[-1]


def cases_of(
    plugins: Sequence[Plugin],
    root: Path = Path(),
    market: Market | None = None,
    parameters: Mapping[str, Any] = MappingProxyType({}),
) -> list[Case]:
    """All of them on one ground, each once, with the signals that strategies name before the strategies.

    ``parameters`` are those of ``plugins``, where they are not the default. ``prediction.units`` is a parameter of the
    signal that fills a strategy's column ``prediction``.
    """
    market = _demo() if market is None else market
    uses: dict[tuple[Path, str], tuple[Plugin, dict[str, Any]]] = {}

    def used(plugin: Plugin, values: dict[str, Any]) -> tuple[Path, str]:
        key = plugin.path, repr(sorted(values.items()))
        uses[key] = plugin, values
        return key

    own, by_column = _split(parameters)
    strategies: list[tuple[Plugin, dict[str, tuple[Path, str]], int]] = []
    for plugin in plugins:
        if plugin.kind == "signal":
            _require_known(plugin.name, by_column, [])
            used(plugin, own)
            continue
        columns = signals_of(plugin.load())
        check_parameters(plugin.load(), own)
        _require_known(plugin.name, by_column, columns)
        signals = {each: used(find("signal", name, root), by_column.get(each, {})) for each, name in columns.items()}
        strategies.append((plugin, signals, history_of(plugin, own, market)))
    signals_used = [_signal_class(plugin)(**values) for plugin, values in uses.values()]
    beside = {name for signal in signals_used for name in read_beside(signal)}
    market = _attached(market, beside, root)
    warmups = [0, *(signal.warmup for signal in signals_used), *(history for _, _, history in strategies)]
    ground = Ground.of(market, max(warmups), max([0, *(signal.memory for signal in signals_used)]))
    cases = {key: SignalCase(plugin, ground, values) for key, (plugin, values) in uses.items()}
    return [
        *cases.values(),
        *(
            StrategyCase(plugin, ground, own, {alias: cases[key] for alias, key in signals.items()}, history)
            for plugin, signals, history in strategies
        ),
    ]


def run_checks(cases: Sequence[Case], progress: Progress = silent) -> Iterator[Outcome]:
    """Every check of every plugin, one after the other; what a plugin's own code raises is a failure of the check.

    A plugin that does not do the same twice is not checked any further.
    """
    logging.getLogger("tensorflow").setLevel(logging.ERROR)  # it warns of the many short fits that are the point here
    todo = [(case, check) for case in cases for check in checks_of(case)]
    lost: set[Path] = set()
    for number, (case, check) in enumerate(todo):
        progress(number, len(todo), f"{case.plugin.name}: {check.__name__}")
        if case.plugin.path in lost:
            continue
        began, reason, looks_ahead = time.perf_counter(), "", False
        try:
            check(case)
        except FreqlstmError as error:
            reason, looks_ahead = str(error), isinstance(error, LookAheadError)
        except (Exception, SystemExit) as error:
            lines = [
                each.lineno
                for each in traceback.extract_tb(error.__traceback__)
                if each.filename == str(case.plugin.path)
            ]
            if not lines:
                raise
            reason = f"{case.file}, line {lines[-1]}: {type(error).__name__}: {error}. Correct it."
        if reason and check in (SIGNAL_CHECKS[0], STRATEGY_CHECKS[0]):
            lost.add(case.plugin.path)  # what differs by chance would look as if it had changed with the candles
        claim = (check.__doc__ or "").strip().partition("\n")[0]
        seconds = time.perf_counter() - began
        yield Outcome(
            case.plugin,
            check.__name__,
            claim,
            reason,
            seconds,
            hints(case.plugin.path) if looks_ahead else [],
            looks_ahead,
        )


def checks_of(case: Case) -> tuple[Callable[[Any], None], ...]:
    """The checks for a plugin of that kind."""
    return SIGNAL_CHECKS if isinstance(case, SignalCase) else STRATEGY_CHECKS


@cache
def _demo() -> Market:
    return demo_market("1m", SYMBOLS)


def _attached(market: Market, names: Collection[str], root: Path) -> Market:
    """The market with what the plugins read beside it; in the demo market made-up series stand for stored ones."""
    symbols = sorted(name for name in names if "/" in name)
    series = sorted(name for name in names if "/" not in name)
    if not all(candles.synthetic for candles in market.values()):
        return with_beside(market, [*symbols, *series], Project(root), [])
    made = with_beside(market, symbols, Project(root), [])
    return {
        symbol: candles.with_beside({**candles.beside, **{name: made_up(name, candles) for name in series}})
        for symbol, candles in made.items()
    } if series else made  # fmt: skip


def _split(parameters: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """A plugin's own parameters, and those of its signals by the column that they fill."""
    own: dict[str, Any] = {}
    by_column: dict[str, dict[str, Any]] = {}
    for name, value in parameters.items():
        column, dot, parameter = name.rpartition(".")
        (by_column.setdefault(column, {}) if dot else own)[parameter] = value
    return own, by_column


def _require_known(plugin: str, given: Iterable[str], known: Iterable[str]) -> None:
    for column in given:
        if column not in known:
            raise UnknownName(f"signal of {plugin}", column, known)


def _signal_class(plugin: Plugin) -> Any:
    loaded = plugin.load()
    if not hasattr(loaded, "predict"):
        raise PluginError(f"{shown(plugin.path)} does not hold a signal. Its class must subclass freqlstm.Signal.")
    return loaded
