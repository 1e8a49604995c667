"""Columns as bits are the columns that the same expression makes in the ordinary way."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freqlstm.absent import Absent
from freqlstm.bits import Bits
from freqlstm.columns import Column, vote
from freqlstm.memo import Memo
from freqlstm.shelf import Shelf, Truth, Values
from freqlstm.stretches import Stretches

ROWS = 21
TIMES = pd.date_range("2024-01-01", periods=ROWS, freq="min", tz="UTC", unit="ms")
STRETCHES = Stretches(TIMES, np.repeat([0, 1], [9, 12]))
NAN = float("nan")


def table(seed: int) -> dict[str, pd.Series[float]]:
    """Small numbers, so that they are often equal, some of them missing."""
    random = np.random.default_rng(seed)
    return {name: pd.Series(random.choice([-1.0, 0.0, 1.0, 2.0, NAN], ROWS), index=TIMES) for name in "xyz"}


def columns(seed: int) -> dict[str, Any]:
    return {name: Column.of(values, name, STRETCHES) for name, values in table(seed).items()}


def bits(seed: int, shelf: Shelf | None = None) -> dict[str, Any]:
    shelf = shelf or Shelf(TIMES, Memo(100_000))
    return {
        name: Bits.on(shelf, Values(shelf, name, lambda column=column: column))  # type: ignore[misc]
        for name, column in columns(seed).items()
    }


def made(expression: str, names: dict[str, Any]) -> Any:
    with np.errstate(all="ignore"):
        return eval(expression, {"np": np, "pd": pd, "vote": vote, **names})


def assert_alike(got: Any, expected: Any) -> None:
    """The same column, also in what it remembers; looked at as bits first, if it is."""
    if type(got) is Bits:
        node, shelf = got.__dict__["_node"], got.__dict__["_shelf"]
        assert len(got) == len(expected)
        assert got.shape == expected.shape
        assert got.dtype == expected.dtype
        assert got.index.equals(expected.index)
        if type(node) is Truth:
            missing = node.unknown()
            unknown = np.zeros(ROWS, dtype=bool) if missing is None else shelf.unpack(missing)
            np.testing.assert_array_equal(unknown, np.zeros(ROWS) if expected.unknown is None else expected.unknown)
            np.testing.assert_array_equal(shelf.unpack(node.bits), expected)
    pd.testing.assert_series_equal(pd.Series(got), pd.Series(expected), check_index_type=False)
    assert type(got) is Column
    assert (got.name, got.text, got.stretches) == (expected.name, expected.text, expected.stretches)
    np.testing.assert_equal(got.terms, expected.terms)
    np.testing.assert_equal(got.votes, expected.votes)


COMPARED = st.sampled_from(
    ["x > 0", "x >= y", "x < y.shift(1)", "y <= 1", "z == x", "z != 1", "x != y", "0.5 < z", "x * 2 > 2 / y", "abs(z) > x.diff()",
     "x.between(0, 1)", "np.sign(x) + 1 > y.rolling(3).mean()"]
)  # fmt: skip
LOGIC = st.recursive(
    COMPARED.map("({})".format),
    lambda inner: st.one_of(
        st.tuples(inner, inner).map("({0[0]} & {0[1]})".format),
        st.tuples(inner, inner).map("({0[0]} | {0[1]})".format),
        inner.map("(~{})".format),
        st.tuples(inner, inner, st.sampled_from([">=", "<", "!=", "=="]), st.sampled_from([-1, 0, 1.5, 2])).map(
            "(vote(a=(1.5, {0[0]}), b=(-1, {0[1]}), c=(0.5, x > 1)) {0[2]} {0[3]})".format
        ),
    ),
    max_leaves=6,
)


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 10_000), expression=LOGIC)
def test_conditions_are_alike_in_truth_and_in_what_is_unknown(seed: int, expression: str) -> None:
    got = made(expression, bits(seed))
    assert type(got) is Bits
    assert_alike(got, made(expression, columns(seed)))


@pytest.mark.parametrize(
    "expression",
    [
        "x + y", "2 - x", "x / 2", "2 / x", "x * -0.0", "x / -0.0", "-x", "abs(x)", "x.abs()", "x.clip(0, 1)", "x.clip(upper=y)", "x.shift(1)",
        "x.shift(2, fill_value=0.0)", "x.diff(2)", "x.pct_change()", "x.rolling(3).mean()", "x.rolling(3, min_periods=1).std()",
        "x.rolling('2min').sum()", "x.rolling(2).apply(np.ptp)", "x.rolling(2).corr(y)", "x.ewm(span=3, adjust=False).mean()",
        "x.expanding().max()", "np.exp(x)", "np.sqrt(abs(x))", "np.maximum(x, y)", "np.negative(x)", "x // 2", "x % 2", "x ** 2", "y ** x",
        "x.fillna(0.0)", "x.where(y > 0)", "x.rename('new')", "x[x > 0]", "x.iloc[3:7]", "x > 1e30", "x > 2**70", "x > float('inf')",
        "x == float('nan')", "x > True", "(x > 0) == (y > 0)", "(x > 0) ^ (y > 0)", "(x > 0) & np.array(y > 0)", "(x > 0) & pd.Series(y > 0)",
        "pd.Series(x > 0) | (y > 0)", "(x > 0).shift(1, fill_value=False)", "(x > 0) != True", "vote(a=(1.0, x > 0), b=(2, y > 0))",
        "vote(a=(1.0, x > 0), b=(2, np.array(y > 0))) > 1", "vote(a=(1.0, x > 0)).shift(1)", "vote(a=(1.0, x > 0)) > x",
        "vote(a=(1.0, x > 0)) * 2", "vote(**{letter: (1.0, x > number) for number, letter in enumerate('abcdefghij')}) >= 3",
        "x.gt(1)", "x.cumsum()", "x.rank()", "np.less(x, y)", "x.astype(int, errors='ignore')",
    ],
)  # fmt: skip
def test_what_else_pandas_offers_is_what_pandas_makes(expression: str) -> None:
    for seed in range(3):
        names = bits(seed)
        assert_alike(made(expression, names), made(expression, columns(seed)))


def test_what_is_alike_but_not_the_same_is_kept_apart() -> None:
    names, plain = bits(1), columns(1)
    for expression in (
        "x / 2", "2 / x", "2 - x", "x - 2", "x / 0.0", "x / -0.0", "x.shift(1)", "x.shift(2)", "x.rolling(2).mean()", "x.rolling(3).mean()",
        "x.rolling(2).max()", "x.ewm(span=2).mean()", "x.ewm(com=2).mean()", "x.clip(0)", "x.clip(upper=0)", "x.rolling(2, min_periods=1).mean()",
    ):  # fmt: skip
        np.testing.assert_array_equal(made(expression, names), made(expression, plain), err_msg=expression)


def test_a_column_changed_in_place_changes_nothing_else() -> None:
    shelf = Shelf(TIMES, Memo(100_000))
    first, second = bits(1, shelf), bits(1, shelf)
    doubled, condition = first["x"] * 2, first["x"] > 0
    doubled.iloc[:] = 7.0
    condition.iloc[:] = True
    assert (np.asarray(doubled) == 7.0).all()
    assert np.asarray(condition).all()
    np.testing.assert_array_equal(second["x"] * 2, columns(1)["x"] * 2)
    np.testing.assert_array_equal(second["x"] > 0, columns(1)["x"] > 0)
    with pytest.raises(ValueError, match="read-only"):
        first["x"].iloc[0] = 5.0


def test_a_column_of_bits_is_a_column_and_a_series() -> None:
    x = bits(1)["x"]
    assert isinstance(x, Column)
    assert isinstance(x > 0, pd.Series)
    with pytest.raises(ValueError, match="Between conditions write & for and"):
        bool(x > 0)
    with pytest.raises(AttributeError):
        x.nothing  # noqa: B018
    x.name = "other"
    assert x.name == "other"


def test_conditions_go_on_without_an_absent_one() -> None:
    names, plain, absent = bits(2), columns(2), Absent()
    for expression in ("(x > 0) & (a > 1)", "(a > 1) | (x > 0)", "vote(q=(1.0, a > 0), b=(2.0, x > 0)) >= 2"):
        assert_alike(made(expression, {**names, "a": absent}), made(expression, {**plain, "a": absent}))
    for expression in ("x > a", "a < x", "x * a > 0", "a - x"):
        assert isinstance(made(expression, {**names, "a": absent}), Absent)


def test_a_wrong_window_is_told_at_once() -> None:
    with pytest.raises(ValueError, match="window must be an integer 0 or greater"):
        bits(1)["x"].rolling(-1)
    with pytest.raises(AttributeError, match="nothing"):
        bits(1)["x"].rolling(2).nothing()


def test_a_number_of_numpy_on_the_left_is_a_number() -> None:
    for expression in (
        "np.float64(1) > x",
        "np.float64(1) != x",
        "np.int64(1) <= x",
        "np.float64(2) / x",
        "np.float64(2) - x",
        "np.greater(1, x)",
    ):
        got = made(expression, bits(1))
        assert type(got) is Bits
        np.testing.assert_array_equal(got, made(expression, columns(1)))
