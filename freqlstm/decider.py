"""The decisions of many parameter sets on the same bars, each part of a condition computed once."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import replace
from threading import RLock
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from freqlstm.bars import CONDITIONS, Bars, Bollinger, Decisions, Macd, condition, share
from freqlstm.bits import Bits
from freqlstm.candles import Candles
from freqlstm.memo import Memo
from freqlstm.purity import dependencies, exact
from freqlstm.shelf import Shelf, Truth, Values
from freqlstm.strategy import Strategy, decide, rules_of

MEMORY = 256 * 2**20  # bytes
SET = 12 * 8  # bytes a bar, which the indicators and comparisons of one set of parameters may need
READINGS = 64  # sets of parameters that one condition may read, one for each way through its code
_PARTS: dict[str, Any] = {"macd": Macd, "bollinger": Bollinger}


def memory_for(bars: int, symbols: int = 1) -> int:
    """Bytes that a decider of so many bars may keep, one of those of so many symbols, which share what one would have.

    But never less than one set of parameters needs, or each set would compute anew what it shares with the one before.
    """
    return max(MEMORY // symbols, SET * bars)


class Decider:
    """What ``strategy`` decides about one symbol with any parameters, on the candles that open in [start, end).

    :meth:`decide` says the same, bit for bit and without the texts, as :func:`freqlstm.strategy.decide`; only the history is
    common to all parameters: ``history`` bars before ``start``, by default all that ``candles`` has. Each set still waits for
    the warm-up of its own indicators. A run of one set takes only the history that this set needs, so its indicators can
    differ from these by what they have forgotten (1e-9 of the weight), and a decision that lies that close to a level with
    them.

    Indicators are computed once for each of their arguments, comparisons once for each level, and a condition once for the
    parameters that it read, if its code shows that it depends on nothing else. All that is kept takes no more than
    ``memory`` bytes, by default what :func:`memory_for` so many bars says, however many sets are asked for. Several threads
    may ask at once. The arrays that are handed out are not to be changed.
    """

    def __init__(
        self, strategy: type[Strategy], candles: Candles, predictions: pd.DataFrame, start: pd.Timestamp, end: pd.Timestamp,
        without: frozenset[str] = frozenset(), *, history: int | None = None, memory: int | None = None,
    ) -> None:  # fmt: skip
        first, last = int(candles.time.searchsorted(start)), int(candles.time.searchsorted(end))
        self.strategy = strategy
        self.history = first if history is None else min(first, history)  # bars
        self._candles = candles.rows(first - self.history, last)
        self._predictions = predictions.reindex(self._candles.time)
        self._names = frozenset(map(str, self._predictions.columns))
        self._without = without
        self._bars = Bars(self._candles, self._predictions, without)
        self._shelf = Shelf(self._candles.time, Memo(memory_for(len(self._candles)) if memory is None else memory))
        self._never = np.zeros(len(self._candles) - self.history, dtype=bool)
        asked = (*CONDITIONS, "share")
        self._asked = [name for name in asked if getattr(strategy, name) is not getattr(Strategy, name)]
        self._dependencies = dependencies(strategy, Strategy, tuple(self._asked))
        self._defaults = dict(strategy.params._getitems())
        self._readings: dict[str, list[tuple[str, ...]]] = {name: [] for name in self._asked}
        self._alone = RLock()  # for what may keep something from one call to the next

    @property
    def size(self) -> int:
        """Bytes that are kept now."""
        return self._shelf.memo.size

    def decide(self, parameters: Mapping[str, Any]) -> Decisions:
        """The decisions with ``parameters`` and the defaults of all others, on the candles in [start, end)."""
        try:
            constants = self._dependencies.now() if self._dependencies is not None else None
            if constants is not None:
                return self._decisions(self._remembered(parameters, constants))
            with self._alone:
                return self._decisions(self._asked_anew(parameters))
        except (Exception, SystemExit):  # the ordinary way does it, or says in its own words what is wrong
            with self._alone:
                bars = Bars(self._candles, self._predictions, self._without)
                made = decide(self.strategy, parameters, bars).since(self.history)
                return replace(made, columns={})

    def _remembered(self, parameters: Mapping[str, Any], constants: tuple[Hashable, ...]) -> dict[str, Answer]:
        """The answer of each condition on its own, which depends on the parameters that it reads and on nothing else."""
        values = self._defaults | dict(parameters)
        if len(values) > len(self._defaults):
            rules_of(self.strategy, parameters)  # says which is unknown
        answers = {}
        for name in self._asked:
            answer = self._recalled(name, values, constants)
            if answer is None:
                read: dict[str, Any] = {}
                rules: Any = object.__new__(self.strategy)
                rules.p = rules.params = Record(values, read)
                bars = ShelfBars(self._bars, self._shelf, self._names)
                answer = self._answer(name, getattr(rules, name)(bars), bars)
                self._keep(name, answer, read, constants)
                bars.forget()
            answers[name] = answer
        return answers

    def _recalled(self, name: str, values: Mapping[str, Any], constants: tuple[Hashable, ...]) -> Answer | None:
        for read in self._readings[name]:
            key = (name, constants, read, *(exact(values[each]) for each in read))
            if (answer := self._shelf.memo.recall(key)) is not None:
                return answer  # type: ignore[no-any-return]
        return None

    def _keep(self, name: str, answer: Answer, read: Mapping[str, Any], constants: tuple[Hashable, ...]) -> None:
        values = [exact(value) for value in read.values()]
        if None in values:
            return
        names, readings = tuple(read), self._readings[name]
        if names not in readings:
            if len(readings) >= READINGS:
                return
            readings.append(names)
        self._shelf.memo.keep((name, constants, names, *values), answer, answer.nbytes)

    def _asked_anew(self, parameters: Mapping[str, Any]) -> dict[str, Answer]:
        """The answers of all conditions in turn, by the same rules about the same bars."""
        rules = rules_of(self.strategy, parameters)
        bars = ShelfBars(self._bars, self._shelf, self._names)
        made = {name: getattr(rules, name)(bars) for name in self._asked}
        answers = {name: self._answer(name, made[name], bars) for name in self._asked}
        bars.forget()
        return answers

    def _answer(self, name: str, made: Any, bars: ShelfBars) -> Answer:
        """What a condition or the share made of ``bars``, checked."""
        where = f"{self.strategy.__name__}.{name}"
        shares = truth = None
        if name == "share":
            shares = share(bars, made, where)
            truth = None if shares is None else self._shelf.pack(shares > 0)
        elif type(made) is Bits and type(made.__dict__["_node"]) is Truth and made.__dict__["_shelf"] is self._shelf:
            truth = made.__dict__["_node"].bits
        else:
            column = condition(bars, made, where)
            truth = None if column is None else self._shelf.pack(np.asarray(column))
        return Answer(truth, shares, bars.warmup, bars.predictions_read())

    def _decisions(self, answers: Mapping[str, Answer]) -> Decisions:
        warmup = max([self.strategy.warmup, *(answer.warmup for answer in answers.values())])
        read = frozenset[str]().union(*(answer.read for answer in answers.values()))
        ready = self._ready(warmup, read)
        taken = answers.get("share", _NOTHING)
        entering = ready if taken.truth is None else ready & taken.truth

        def known(name: str) -> np.ndarray:
            truth = answers.get(name, _NOTHING).truth
            if truth is None:
                return self._never
            return self._shelf.unpack(truth & (entering if name.startswith("enter") else ready))[self.history :]

        shares = None if taken.shares is None else taken.shares[self.history :]
        truths: dict[str, Any] = {name: known(name) for name in CONDITIONS}
        return Decisions(**truths, columns={}, offset=self.history, share=shares)

    def _ready(self, warmup: int, read: frozenset[str]) -> np.ndarray:
        """Packed: where the indicators are warm and the predictions are there."""

        def make() -> tuple[np.ndarray, int]:
            ready = self._candles.aged(warmup)
            for name in read:
                ready &= self._predictions[name].notna().to_numpy()
            bits = self._shelf.pack(ready)
            return bits, bits.nbytes

        return self._shelf.memo.once(("ready", warmup, read), make)  # type: ignore[no-any-return]


class Answer(NamedTuple):
    """What one condition says on all bars, packed, or None; or the share that an entry takes. And what it read for that."""

    truth: np.ndarray | None
    shares: np.ndarray | None
    warmup: int
    read: frozenset[str]

    @property
    def nbytes(self) -> int:
        return sum(array.nbytes for array in (self.truth, self.shares) if array is not None)


_NOTHING = Answer(None, None, 0, frozenset())


class Record:
    """Stands for ``self.p`` and notes in ``read`` which parameters were read."""

    def __init__(self, values: Mapping[str, Any], read: dict[str, Any]) -> None:
        self.__dict__["__values"], self.__dict__["__read"] = values, read

    def __getattr__(self, name: str) -> Any:
        mine = self.__dict__
        try:
            value = mine["__read"][name] = mine["__values"][name]
        except KeyError:
            raise AttributeError(name) from None
        return value


class ShelfBars(Bars):
    """Bars whose columns are made of bits and shared with all other bars of the same shelf."""

    def __init__(self, bars: Bars, shelf: Shelf, names: frozenset[str]) -> None:
        self.__dict__.update(bars.__dict__)
        self.warmup = 0
        self._memory = {}
        self._shelf = shelf
        self._names = names

    def _once(self, key: Any, make: Callable[[], Any]) -> Any:
        if key not in self._memory:
            self._memory[key] = self._on_shelf(key, make)
        return self._memory[key]

    def _on_shelf(self, key: Any, make: Callable[[], Any]) -> Any:
        memo = self._shelf.memo

        def whole() -> Any:
            return memo.once(("made", key), lambda: _sized(make()))

        def part(name: Any) -> Any:
            def column() -> Any:
                made = whole()
                return made[name] if isinstance(made, dict) else made if name is None else getattr(made, name)

            return Bits.on(self._shelf, Values(self._shelf, (key, name), column))

        kind = _PARTS.get(key[0]) if isinstance(key, tuple) else None
        if kind is not None:
            return kind(*(part(name) for name in kind._fields))
        if isinstance(key, str) and "(" in key:  # of pandas-ta: one column or a dictionary of them
            made = whole()
            return {name: part(name) for name in made} if isinstance(made, dict) else part(None)
        return part(None)

    def forget(self) -> None:
        """Let go of the columns, which know these bars: together they would hold all memory until Python looks for circles."""
        self._memory.clear()

    def predictions_read(self) -> frozenset[str]:
        return self._names & self._memory.keys()


def _sized(made: Any) -> tuple[Any, int]:
    parts = made.values() if isinstance(made, dict) else made if isinstance(made, tuple) else [made]
    return made, sum(part.to_numpy().nbytes for part in parts)
