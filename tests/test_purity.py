"""What a condition depends on, by its code: parameters and bars alone, or perhaps more."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from freqlstm.bars import Bars
from freqlstm.columns import vote
from freqlstm.plugins import shipped
from freqlstm.purity import dependencies, exact
from freqlstm.strategy import Strategy

LEVEL = 30
LEVELS = [30]


def cheap(bars: Bars, level: float) -> Any:
    return bars.rsi(14) < level


def counted(bars: Bars) -> Any:
    LEVELS.append(1)
    return bars.close > 0


class Mixin:
    factor = 1.5

    def higher(self, bars: Bars) -> Any:
        return bars.close * self.factor


class Base(Mixin, Strategy):
    signals = dict(prediction="lstm")
    params = dict(level=30, name="a", eager=True)


def strategy(method: Callable[[Any, Any], Any]) -> type[Strategy]:
    return type("Made", (Base,), {"enter_long": method, "__module__": __name__})


def is_pure(method: Callable[[Any, Any], Any]) -> bool:
    return dependencies(strategy(method), Strategy, ("enter_long",)) is not None


@pytest.mark.parametrize(
    "method",
    [
        lambda self, bars: bars.close > self.p.level,
        lambda self, bars: bars.rsi(14) < self.params.level,
        lambda self, bars: (bars.prediction_low > 0) & (bars.macd().histogram.shift(1) < 0),
        lambda self, bars: bars.ta.atr(length=self.p.level) > bars.close.rolling(20).std(),
        lambda self, bars: bars.close > LEVEL,
        lambda self, bars: cheap(bars, self.p.level) | cheap(bars, LEVEL),
        lambda self, bars: self.higher(bars) > bars.close.clip(upper=math.exp(2.0)),
        lambda self, bars: vote(a=(1.0, bars.close > 0), b=(2.0, np.log(bars.close) > 1)) >= self.p.level,
        lambda self, bars: bars.close > max(self.p.level, 3) if self.p.eager else bars.close < 0,
        lambda self, bars: bars.close.isin([level * 2 for level in (1, 2)]),
        lambda self, bars, limit=3: bars.close > limit,
    ],
)
def test_what_reads_parameters_bars_and_constants_depends_on_nothing_else(method: Callable[[Any, Any], Any]) -> None:
    assert is_pure(method)


@pytest.mark.parametrize(
    "name", ["lstm_rsi", "lstm_macd", "lstm_bollinger", "lstm_volatility_gate", "boosted_confluence"]
)
def test_every_shipped_strategy_depends_on_its_parameters_and_bars_alone(name: str) -> None:
    assert (
        dependencies(shipped("strategy", name).load(), Strategy, ("enter_long", "exit_long", "share")[:2]) is not None
    )


def kept(self: Any, bars: Bars) -> Any:
    self.before = bars.close
    return bars.close > 0


def kept_by_the_bars(self: Any, bars: Bars) -> Any:
    bars.mine = 1  # type: ignore[attr-defined]
    return bars.close > 0


def changed_in_place(self: Any, bars: Bars) -> Any:
    close = bars.close
    close += self.p.level
    return close > 0


def rebinding(self: Any, bars: Bars) -> Any:
    global LEVEL
    LEVEL += 0
    return bars.close > LEVEL


def importing(self: Any, bars: Bars) -> Any:
    import random

    return bars.close > random.random()


@pytest.mark.parametrize(
    "method",
    [
        kept, kept_by_the_bars, changed_in_place, rebinding, importing,
        lambda self, bars: bars.close > LEVELS[0],
        lambda self, bars: counted(bars),
        lambda self, bars: bars.close > np.random.random(),
        lambda self, bars: bars.close.sample(frac=1.0) > 0,
        lambda self, bars: bars.close > getattr(self.p, "level"),  # noqa: B009
        lambda self, bars: bars.close > vars(self.p)["level"],
        lambda self, bars: bars.close > len(self.__dict__),
        lambda self, bars: bars.close > dict(self.p._getitems())["level"],
        lambda self, bars: bars.close.fillna(0.0, inplace=True),
        lambda self, bars: bars.close > bars.warmup,
        lambda self, bars: np.asarray(bars.close > 0) & bars.ready(),
        lambda self, bars: bars.candles.frame["close"] > 0,
        lambda self, bars: bars.close > self.position.size,
        lambda self, bars, seen=[]: bars.close > len(seen),
        lambda self, bars: pd.read_csv("x") > 0,
        lambda self, bars: super(Base, self).enter_long(bars),
    ],
)  # fmt: skip
def test_what_may_depend_on_more_is_not_taken_for_granted(method: Callable[[Any, Any], Any]) -> None:
    assert not is_pure(method)


def test_what_is_no_plain_method_is_not_taken_for_granted() -> None:
    assert not is_pure(staticmethod(lambda bars: bars.close > 0))  # type: ignore[arg-type]
    made = strategy(lambda self, bars: bars.close > 0)
    made.__getattr__ = lambda self, name: 1  # type: ignore[attr-defined]
    assert dependencies(made, Strategy, ("enter_long",)) is None


def test_constants_that_change_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    made = strategy(lambda self, bars: self.higher(bars) > LEVEL)
    found = dependencies(made, Strategy, ("enter_long",))
    assert found is not None
    before = found.now()
    assert before is not None and found.now() == before  # noqa: PT018
    monkeypatch.setitem(globals(), "LEVEL", 31)
    assert found.now() not in (before, None)
    monkeypatch.setitem(globals(), "LEVEL", 30)
    monkeypatch.setattr(made, "factor", 2.0, raising=False)
    assert found.now() not in (before, None)
    monkeypatch.setattr(made, "factor", [2.0])
    assert found.now() is None


def test_a_method_that_is_replaced_is_no_longer_known(monkeypatch: pytest.MonkeyPatch) -> None:
    made = strategy(lambda self, bars: self.higher(bars) > 0)
    found = dependencies(made, Strategy, ("enter_long",))
    assert found is not None
    monkeypatch.setattr(made, "higher", lambda self, bars: bars.close, raising=False)
    assert found.now() is None


def test_values_that_only_look_alike_are_told_apart() -> None:
    values = [0, False, 0.0, -0.0, 1, True, 1.0, np.float64(1.0), np.int64(1), "1", None, "None"]
    assert len({exact(value) for value in values}) == len(values)
    assert exact([1]) is None
    assert exact((1, 2)) is None
