"""The decisions of many parameter sets are those of each on its own, to the last bit."""

from __future__ import annotations

import gc
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from time import process_time, sleep
from typing import Any
from weakref import ref

import numpy as np
import pandas as pd
import pytest
from conftest import make_candles, read_real
from hypothesis import given, settings
from hypothesis import strategies as st

from freqlstm import decider as module
from freqlstm.bars import CONDITIONS, Bars
from freqlstm.candles import Candles
from freqlstm.columns import vote
from freqlstm.decider import Decider
from freqlstm.demo import demo_candles
from freqlstm.errors import FreqlstmError, PluginError
from freqlstm.indicators import rsi_warmup
from freqlstm.memo import OVERHEAD, Memo
from freqlstm.plugins import shipped
from freqlstm.strategy import Decisions, Strategy, decide

SHIPPED: dict[str, list[dict[str, Any]]] = {
    "lstm_rsi": [{"threshold": 1e-3, "rsi_period": 3}, {"oversold": 45, "overbought": 60}],
    "lstm_macd": [{"fast": 3, "slow": 7, "smoothing": 4}, {"threshold": 5e-4}],
    "lstm_bollinger": [{"period": 10, "deviations": 1.5}, {"threshold": 5e-4}],
    "lstm_volatility_gate": [{"worth": 1.0, "usual_move": 0.001}, {"oversold": 50, "deviations": 1.0}],
    "rsi_bollinger": [{"rsi_period": 5, "oversold": 45, "deviations": 1.0}, {"overbought": 55}],
    "boosted_confluence": [{"quorum": 1.0, "move": 1e-3}, {"oversold": 45, "overbought": 55, "quorum": 2.5}],
    "buy_and_hold": [{"exposure": 0.5}],
}  # fmt: skip


def market(rows: int, seed: int = 3, gap: bool = True) -> Candles:
    whole = make_candles(rows, seed)
    missing = whole.time[rows // 2 : rows // 2 + 7] if gap else []
    return Candles.from_frame(whole.frame.drop(missing), whole.symbol, "1m")


def predicted(candles: Candles, seed: int = 1) -> pd.DataFrame:
    """Predictions, some of them missing, of every name that shipped strategies read."""
    random = np.random.default_rng(seed)
    table = {"prediction": random.normal(0, 1e-3, len(candles)), "volatility": random.normal(-12, 1, len(candles))}
    for values in table.values():
        values[random.random(len(candles)) < 0.1] = np.nan
    return pd.DataFrame(table, index=candles.time)


def over(strategy: type[Strategy], candles: Candles, first: int, **settings: Any) -> Decider:
    """A decider whose history is the ``first`` candles."""
    traded = candles.rows(first, len(candles))
    end = candles.time[-1] + candles.step
    return Decider(strategy, candles, predicted(traded), candles.time[first], end, **settings)


def alone(
    strategy: type[Strategy], candles: Candles, first: int, parameters: dict[str, Any], **settings: Any
) -> Decisions:
    predictions = predicted(candles.rows(first, len(candles))).reindex(candles.time)
    return decide(strategy, parameters, Bars(candles, predictions, **settings)).since(first)


def assert_same(got: Decisions, expected: Decisions) -> None:
    for name in CONDITIONS:
        assert getattr(got, name).dtype == np.bool_
        np.testing.assert_array_equal(getattr(got, name), getattr(expected, name), err_msg=name)
    assert got.offset == expected.offset
    assert (got.share is None) == (expected.share is None)
    if got.share is not None:
        np.testing.assert_array_equal(got.share, expected.share)


@pytest.fixture
def no_second_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails where the decider falls back to the ordinary way."""

    def refuse(*args: Any) -> None:
        raise AssertionError("the ordinary way was taken")

    monkeypatch.setattr(module, "decide", refuse)


@pytest.mark.parametrize("without", [frozenset(), frozenset({"prediction", "volatility"})], ids=["with", "without"])
@pytest.mark.parametrize("name", SHIPPED)
@pytest.mark.usefixtures("no_second_way")
def test_every_shipped_strategy_decides_as_on_its_own(name: str, without: frozenset[str]) -> None:
    candles, strategy = market(3000), shipped("strategy", name).load()
    decider, trades = over(strategy, candles, 600, without=without), False
    for parameters in ({}, *SHIPPED[name], *SHIPPED[name], {}):
        expected = alone(strategy, candles, 600, parameters, without=without)
        assert_same(decider.decide(parameters), expected)
        trades = trades or expected.enter_long.any()
    assert trades


# Any expression


COLUMNS = (
    "bars.close", "bars.open", "bars.volume", "bars.prediction", "bars.volatility", "bars.rsi(self.p.n)", "bars.macd(2, 4, 2).histogram",
    "bars.bollinger(self.p.n, 1.5).lower", "bars.bollinger(4, self.p.deviations).upper", "bars.ta.mom(length=3)",
    "bars.ta.stoch(k=self.p.n)['STOCHd_%d_3_3' % self.p.n]", "pd.Series(bars.high)",
)  # fmt: skip
NUMBERS = (
    "({0} + {1})", "({0} - {1})", "({0} * self.p.level)", "({0} / {1})", "(2 / {0})", "({0} // 3)", "({0} ** 2)", "(-{0})", "abs({0})",
    "{0}.abs()", "{0}.shift(1)", "{0}.shift(self.p.n, fill_value=1.0)", "{0}.diff(2)", "{0}.pct_change()", "{0}.rolling(self.p.n).mean()",
    "{0}.rolling(3, min_periods=1).max()", "{0}.ewm(span=4).mean()", "{0}.expanding().min()", "{0}.rolling('3min').sum()",
    "{0}.clip(upper=self.p.level)", "{0}.clip(-1.0, 1.0)", "{0}.fillna(0.0)", "np.exp({0} * 1e-3)", "np.sign({0})", "np.maximum({0}, {1})",
    "{0}.where({2})", "{0}.rank()", "{0}.cumsum()", "vote(a=(2.0, {2}), b=(self.p.level, {3}), c=(-0.5, {2}))",
)  # fmt: skip
CONDITIONS_MADE = (
    "({0} > {1})", "({0} <= self.p.level)", "(self.p.level < {0})", "({0} != 1)", "({0} == {1})", "({0} >= -self.p.level)",
    "({0} < float('inf'))", "({0} > np.float64(0.5))", "(np.float64(0.5) < {0})", "((np.float64(2) - {0}) > 1)", "({0} > {1}.to_numpy())", "{0}.between(-1, self.p.level)", "{0}.isna()",
    "{0}.gt({1})",
)  # fmt: skip
JOINED = (
    "({0} & {1})", "({0} | {1})", "(~{0})", "({0} ^ {1})", "({0} == {1})", "{0}.shift(1, fill_value=False)",
    "({0} & np.asarray({1}))", "(pd.Series({0}) | {1})", "(vote(a=(1.5, {0}), b=(self.p.level, {1}), c=(1, {2})) >= self.p.quorum)",
    "(vote(a=(1.5, {0}), b=(1, {1})) != 1)", "(vote(a=(1.5, {0}), b=(1, {1})).shift(1) > 0)",
)  # fmt: skip


@st.composite
def numbers(draw: st.DrawFn, depth: int) -> str:
    if not depth or draw(st.booleans()):
        return draw(st.sampled_from(COLUMNS))
    given_ = [draw(numbers(depth - 1)), draw(numbers(depth - 1)), "{2}", "{3}"]
    form = draw(st.sampled_from(NUMBERS))
    if "{2}" in form:
        given_[2:] = [draw(conditions(0)), draw(conditions(0))]
    return form.format(*given_)


@st.composite
def conditions(draw: st.DrawFn, depth: int) -> str:
    if not depth or draw(st.integers(0, 3)) == 0:
        return draw(st.sampled_from(CONDITIONS_MADE)).format(draw(numbers(depth)), draw(numbers(depth)))
    return draw(st.sampled_from(JOINED)).format(*(draw(conditions(depth - 1)) for _ in range(3)))


def written(*, pure: bool, **methods: str) -> type[Strategy]:
    """A strategy of the methods with these expressions; an impure one also keeps something in itself."""
    lines = ["class Written(Strategy):", "    signals = dict(prediction='lstm', volatility='lstm')"]
    lines += ["    params = dict(n=3, level=0.5, deviations=1.0, quorum=1.5)"]
    for name, expression in methods.items():
        lines += [
            f"    def {name}(self, bars):",
            *([] if pure else ["        self.seen = bars"]),
            f"        return {expression}",
        ]
    names: dict[str, Any] = {"Strategy": Strategy, "np": np, "pd": pd, "vote": vote, "__name__": __name__}
    exec("\n".join(lines), names)  # noqa: S102
    return names["Written"]  # type: ignore[no-any-return]


SETS: list[dict[str, Any]] = [
    {},
    {"n": 5, "level": -1.0},
    {"deviations": 2, "quorum": 1, "level": 100},
    {"level": 0},
    {},
]
BROKEN = market(260)
TABLE = predicted(BROKEN)


def outcome(decided: Any) -> Any:
    """What was decided, or how it failed."""
    try:
        return decided()
    except PluginError as error:
        return re.sub(r"0x[0-9a-f]+|at line \d+ of its file ", "", str(error))


@settings(max_examples=120, deadline=None)
@given(
    enter=conditions(2), leave=conditions(2), taken=st.none() | numbers(1), pure=st.booleans(),
    without=st.sampled_from([frozenset(), frozenset({"prediction"})]),
)  # fmt: skip
@pytest.mark.filterwarnings("ignore")
def test_any_expression_decides_as_on_its_own(
    enter: str, leave: str, taken: str | None, pure: bool, without: frozenset[str]
) -> None:
    methods = {"enter_long": enter, "exit_long": leave}
    if taken is not None:
        methods["share"] = f"({taken}).clip(0, 1)"
    strategy = written(pure=pure, **methods)
    decider = Decider(
        strategy, BROKEN, TABLE.iloc[90:], BROKEN.time[90], BROKEN.time[-1] + BROKEN.step, without, memory=200_000
    )
    for parameters in SETS:
        bars = Bars(BROKEN, TABLE.iloc[90:].reindex(BROKEN.time), without)
        expected = outcome(lambda: decide(strategy, parameters, bars).since(90))  # noqa: B023
        got = outcome(lambda: decider.decide(parameters))  # noqa: B023
        assert isinstance(got, str) == isinstance(expected, str), (got, expected)
        if isinstance(expected, str):
            assert got == expected
        else:
            assert_same(got, expected)


# What is remembered, and what is not


class Choosing(Strategy):
    """Reads other parameters on one way through its code than on the other."""

    signals = dict(prediction="lstm")
    params = dict(threshold=0.0, period=5, oversold=40, choice="rsi", unread=1)

    def enter_long(self, bars: Bars) -> Any:
        if self.p.choice == "rsi":
            return (bars.prediction > self.p.threshold) & (bars.rsi(self.p.period) < self.p.oversold)
        return bars.close < bars.bollinger(self.p.period).lower

    def exit_long(self, bars: Bars) -> Any:
        return bars.prediction < -self.p.threshold


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The conditions that a decider asked a strategy for, in order."""
    names: list[str] = []
    answer = Decider._answer

    def noted(self: Decider, name: str, *args: Any) -> Any:
        names.append(name)
        return answer(self, name, *args)

    monkeypatch.setattr(Decider, "_answer", noted)
    return names


@pytest.mark.usefixtures("no_second_way")
def test_a_condition_is_asked_once_for_the_parameters_that_it_read(asked: list[str]) -> None:
    candles = market(900)
    decider = over(Choosing, candles, 200)

    def decided(**parameters: Any) -> list[str]:
        asked.clear()
        assert_same(decider.decide(parameters), alone(Choosing, candles, 200, parameters))
        return list(asked)

    assert decided() == ["enter_long", "exit_long"]
    assert decided(unread=2, max_holding=7) == []
    assert decided(oversold=45) == ["enter_long"]
    assert decided(oversold=40.0) == ["enter_long"]  # which might not be the same as 40
    assert decided(threshold=1e-4, oversold=45) == ["enter_long", "exit_long"]
    assert decided(threshold=1e-4, choice="bands") == ["enter_long"]
    assert decided(threshold=1e-4, choice="bands", oversold=3) == []
    assert decided(choice="bands", period=8) == ["enter_long"]
    assert decided(oversold=45, unread="x") == []


@pytest.mark.parametrize("value", [[20.0], np.array(20.0), (20.0,)], ids=["list", "array", "tuple"])
@pytest.mark.usefixtures("no_second_way")
def test_a_parameter_that_is_no_plain_value_is_not_remembered(value: Any, asked: list[str]) -> None:
    class Odd(Strategy):
        params = dict(level=30.0)

        def enter_long(self, bars: Bars) -> Any:
            return bars.rsi(5) < float(np.asarray(self.p.level).sum())

    decider = over(Odd, market(600), 200)
    first, second = decider.decide({"level": value}), decider.decide({"level": value})
    assert asked == ["enter_long"] * 2
    assert_same(first, second)


class Remembering(Strategy):
    """Keeps what one condition saw for the next one, in every place that there is."""

    params = dict(level=30.0, kind="self")
    last: Any = None

    def enter_long(self, bars: Bars) -> Any:
        level = vars(self.p).get("level", 30.0) if self.p.kind == "vars" else getattr(self.p, "level")  # noqa: B009
        KEPT["level"] = type(self).last = self.level = bars.level = level  # type: ignore[attr-defined]
        close = bars.close
        close += level
        return bars.rsi(5) < level

    def exit_long(self, bars: Bars) -> Any:
        level = {
            "self": getattr(self, "level", 0),
            "class": type(self).last,
            "global": KEPT["level"],
            "bars": bars.level,
        }  # type: ignore[attr-defined]
        if self.p.kind == "warmup":
            return (bars.rsi(5) > bars.warmup / 2) & bars.ready()
        if self.p.kind == "close":
            return bars.close > 50 + level["self"]
        return bars.rsi(5) > level.get(self.p.kind, 50.0)

    def share(self, bars: Bars) -> Any:
        return bars.close * 0 + sum(1 for _ in dict(self.p._getitems())) / 100


KEPT: dict[str, Any] = {"level": 0.0}


@pytest.mark.usefixtures("no_second_way")
def test_what_a_strategy_keeps_between_its_conditions_reaches_them_as_ever() -> None:
    candles = market(600)
    decider = over(Remembering, candles, 200)
    for kind in ("self", "class", "global", "bars", "warmup", "close", "vars"):
        for level in (30.0, 55.0, 30.0):
            parameters = {"kind": kind, "level": level}
            got, expected = decider.decide(parameters), alone(Remembering, candles, 200, parameters)
            assert_same(got, expected)
            assert got.enter_long.any()
            assert got.exit_long.any()


LEVEL = 30.0


class Constant(Strategy):
    def enter_long(self, bars: Bars) -> Any:
        return bars.rsi(5) < LEVEL


@pytest.mark.usefixtures("no_second_way")
def test_a_constant_of_the_module_that_changes_is_noticed(monkeypatch: pytest.MonkeyPatch, asked: list[str]) -> None:
    candles = market(600)
    decider = over(Constant, candles, 200)
    for level in (30.0, 60.0, 30.0):
        monkeypatch.setitem(globals(), "LEVEL", level)
        assert_same(decider.decide({}), alone(Constant, candles, 200, {}))
    assert asked == ["enter_long"] * 2


@pytest.mark.usefixtures("no_second_way")
def test_a_condition_that_is_changed_after_it_was_returned_is_what_it_became() -> None:
    class Late(Strategy):
        def enter_long(self, bars: Bars) -> Any:
            self.made = bars.rsi(5) < 50
            return self.made

        def exit_long(self, bars: Bars) -> Any:
            self.made.iloc[-100:] = False
            return bars.rsi(5) > 50

    candles = market(600)
    got = over(Late, candles, 200).decide({})
    assert_same(got, alone(Late, candles, 200, {}))
    assert got.enter_long[:-100].any()
    assert not got.enter_long[-100:].any()


@pytest.mark.usefixtures("no_second_way")
def test_a_method_that_is_replaced_while_deciding_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    class Helped(Strategy):
        def level(self, bars: Bars) -> Any:
            return bars.rsi(5)

        def enter_long(self, bars: Bars) -> Any:
            return self.level(bars) < 40

    candles = market(600)
    decider = over(Helped, candles, 200)
    before = decider.decide({})
    monkeypatch.setattr(Helped, "level", lambda self, bars: bars.rsi(9))
    assert_same(decider.decide({}), alone(Helped, candles, 200, {}))
    assert (decider.decide({}).enter_long != before.enter_long).any()


def test_what_is_wrong_with_a_parameter_is_said_as_ever() -> None:
    decider, candles = over(Choosing, market(300), 100), market(300)
    for parameters in ({"treshold": 1}, {"period": 0}, {"period": 2.5}, {"threshold": "high"}):
        with pytest.raises(FreqlstmError) as expected:
            alone(Choosing, candles, 100, parameters)
        with pytest.raises(type(expected.value)) as error:
            decider.decide(parameters)
        assert str(error.value) == str(expected.value)


def test_a_strategy_without_conditions_decides_nothing() -> None:
    decisions = over(Strategy, market(50), 10).decide({})
    assert not any(getattr(decisions, name).any() for name in CONDITIONS)
    assert decisions.share is None


# Memory, threads, history


@pytest.mark.usefixtures("no_second_way")
def test_memory_does_not_grow_with_the_number_of_parameter_sets() -> None:
    candles, limit = market(4000), 100_000
    decider = over(Choosing, candles, 500, memory=limit)
    sizes = []
    for number in range(600):
        parameters = {"threshold": number * 1e-6, "oversold": 30 + number / 100, "period": 3 + number % 4}
        got = decider.decide(parameters)
        sizes.append(decider.size)
        if number % 50 == 0:
            assert_same(got, alone(Choosing, candles, 500, parameters))
    assert max(sizes) <= limit
    assert sizes[-1] > limit / 2


@pytest.mark.parametrize("name", ["rsi_bollinger", "boosted_confluence"])
def test_what_one_set_needs_is_kept_for_the_next_however_many_bars_there_are(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import freqlstm.decider

    strategy = shipped("strategy", name).load()
    whole = over(strategy, market(3000), 1000)
    whole.decide({})
    monkeypatch.setattr(freqlstm.decider, "MEMORY", 0)  # as if there were a hundred million
    tight = over(strategy, market(3000), 1000)
    tight.decide({})
    assert tight.size == whole.size > 3000 * 8


def test_all_that_a_decider_keeps_goes_with_it() -> None:
    decider = over(shipped("strategy", "rsi_bollinger").load(), market(3000), 1000)
    decider.decide({})
    memo = ref(decider._shelf.memo)
    gc.disable()
    try:
        del decider
        assert memo() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("strategy", [Choosing, Remembering])
@pytest.mark.usefixtures("no_second_way")
def test_threads_may_ask_at_once(strategy: type[Strategy]) -> None:
    candles = market(1500)
    decider = over(strategy, candles, 300, memory=60_000)
    name = "threshold" if strategy is Choosing else "level"
    sets = [{name: value} for value in (1e-4, 2e-4, 3e-4, 30.0, 40.0, 50.0)] * 20
    expected = {str(each): alone(strategy, candles, 300, each) for each in sets[:6]}
    with ThreadPoolExecutor(4) as pool:
        for each, got in zip(sets, pool.map(decider.decide, sets), strict=True):
            assert_same(got, expected[str(each)])


def test_of_threads_that_want_the_same_at_once_one_makes_it() -> None:
    memo, made, wait = Memo(1000), [], Barrier(2)

    def ask() -> Any:
        wait.wait()
        return memo.once("key", lambda: (made.append(sleep(0.02)) or "value", 1))

    with ThreadPoolExecutor(2) as pool:
        assert [each.result() for each in [pool.submit(ask), pool.submit(ask)]] == ["value", "value"]
    assert len(made) == 1


def test_a_memo_forgets_what_was_not_used_for_longest() -> None:
    memo = Memo(3 * 1000 + 3 * OVERHEAD)
    for key in "abc":
        memo.keep(key, key.upper(), 1000)
    assert memo.recall("a") == "A"
    memo.keep("d", "D", 1000)
    assert [memo.recall(key) for key in "abcd"] == ["A", None, "C", "D"]
    memo.keep("e", "E", 10**6)  # which is more than there is room for
    assert memo.recall("e") is None
    assert memo.recall("a") == "A"
    assert memo.size <= memo.limit


def test_the_history_is_the_same_for_all_parameters_and_each_set_waits_for_its_own_warm_up() -> None:
    candles = market(1200, gap=False)
    for history in (None, 0, 40, 5000):
        traded = candles.rows(300, 1100)
        decider = Decider(Choosing, candles, predicted(traded), candles.time[300], candles.time[1100], history=history)
        before = decider.history
        assert before == {None: 300, 0: 0, 40: 40, 5000: 300}[history]
        whole = candles.rows(300 - before, 1100)
        for period in (3, 20):
            bars = Bars(whole, predicted(traded).reindex(whole.time))
            expected = decide(Choosing, {"period": period, "oversold": 60}, bars).since(before)
            got = decider.decide({"period": period, "oversold": 60})
            assert_same(got, expected)
            assert len(got.enter_long) == 800
            first_row = max(0, rsi_warmup(period) - before)
            assert not got.enter_long[:first_row].any()
            assert got.enter_long[first_row : first_row + 60].any()


@pytest.mark.usefixtures("no_second_way")
def test_shipped_strategies_decide_as_on_their_own_on_recorded_candles(real_data: Path) -> None:
    candles = read_real(real_data, "BINANCE_ADAUSDT_1m_20210402_20210615.parquet", "ADA/USDT", "1m").rows(0, 30_000)
    for name, sets in SHIPPED.items():
        strategy = shipped("strategy", name).load()
        decider = over(strategy, candles, 2000)
        for parameters in ({}, *sets):
            assert_same(decider.decide(parameters), alone(strategy, candles, 2000, parameters))


@pytest.mark.usefixtures("no_second_way")
def test_shipped_strategies_decide_as_on_their_own_on_the_demo_market() -> None:
    candles = demo_candles().rows(0, 12_000)
    for name, sets in SHIPPED.items():
        strategy = shipped("strategy", name).load()
        decider = over(strategy, candles, 2000)
        for parameters in ({}, *sets):
            assert_same(decider.decide(parameters), alone(strategy, candles, 2000, parameters))


@pytest.mark.usefixtures("no_second_way")
def test_another_level_costs_a_fraction_of_the_ordinary_way() -> None:
    candles, strategy = make_candles(1_000_000), shipped("strategy", "lstm_rsi").load()
    decider = over(strategy, candles, 2000)
    sets = [{"threshold": t * 1e-5, "oversold": level} for t in range(1, 8) for level in range(20, 30)]
    bars = Bars(candles, predicted(candles))

    def seconds(way: Callable[[dict[str, object]], object]) -> float:
        """Of the quickest: what else the machine does makes the others slower."""
        way({})
        took = []
        for parameters in sets:
            begun = process_time()
            way(parameters)
            took.append(process_time() - begun)
        return min(took)

    assert seconds(lambda parameters: decide(strategy, parameters, bars)) > 10 * seconds(decider.decide)
