"""Columns, conditions with a memory, votes, and signals that are switched off."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from freqlstm.absent import SignalNeeded
from freqlstm.columns import Absent, Column, vote
from freqlstm.errors import PluginError
from freqlstm.stretches import Stretches

TIMES = pd.date_range("2024-01-01", periods=4, freq="min", tz="UTC")
NAN = float("nan")


def column(*values: float, name: str = "x") -> Column:
    return Column.of(pd.Series(values, index=TIMES[: len(values)], dtype=float), name)


def truth(condition: Any) -> list[bool]:
    assert condition.dtype == np.bool_
    return list(condition)


def test_a_comparison_remembers_its_text_and_truth() -> None:
    condition = column(1, 2, 3, 4) > 2
    assert {text: list(values) for text, values in condition.terms.items()} == {"x > 2": [False, False, True, True]}


@pytest.mark.parametrize(
    ("made", "text"),
    [
        (lambda x, y: x <= y, "x <= y"), (lambda x, y: x == 2, "x == 2"), (lambda x, y: x != 0.0002, "x != 0.0002"),
        (lambda x, y: 3 > x, "x < 3"),  # noqa: SIM300
        (lambda x, y: x > y * 1.01, "x > (y * 1.01)"), (lambda x, y: 2 - x < y, "(2 - x) < y"),
        (lambda x, y: x > x.shift(1), "x > x.shift(1)"), (lambda x, y: x / y - 1 > 0, "((x / y) - 1) > 0"),
        (lambda x, y: x > y.to_numpy(), "x > expression"), (lambda x, y: ~(x > 1), "not (x > 1)"),
    ],
)  # fmt: skip
def test_the_text_of_a_comparison_reads_like_its_source(made: Any, text: str) -> None:
    condition = made(column(1, 2, 3, 4), column(4, 3, 2, 1, name="y"))
    assert list(condition.terms) == [text]
    assert condition.name == text


def test_and_and_or_keep_the_terms_of_both_sides() -> None:
    x, y = column(1, 2, 3, 4), column(4, 3, 2, 1, name="y")
    both = ((x > 1) & (y > 1)) | (x == 4)
    assert truth(both) == [False, True, True, True]
    assert list(both.terms) == ["x > 1", "y > 1", "x == 4"]
    assert truth(both.terms["x == 4"]) == [False, False, False, True]


def test_numpy_arrays_and_plain_series_join_from_either_side() -> None:
    condition, mask = column(1, 2, 3, 4) > 1, np.array([True, True, False, False])
    for joined in (condition & mask, mask & condition, condition & pd.Series(mask, index=TIMES)):
        assert truth(joined) == [False, True, False, False]
        assert "x > 1" in joined.terms
    for joined in (condition | mask, mask | condition):
        assert truth(joined) == [True, True, True, True]


def test_between_remembers_both_comparisons() -> None:
    assert list(column(1, 2, 3, 4).between(2, 3).terms) == ["x >= 2", "x <= 3"]


def test_a_shifted_condition_keeps_no_terms_of_other_bars() -> None:
    shifted = (column(1, 2, 3, 4) > 2).shift(1, fill_value=False)
    assert shifted.terms is None
    joined = shifted & (column(1, 2, 3, 4) > 0)
    assert truth(joined.terms["(x > 2).shift(1, fill_value=False)"]) == [False, False, False, True]


def test_nan_is_neither_true_nor_false() -> None:
    x = column(NAN, 1, 2, 3)
    for condition in (
        x > 1.5,
        ~(x > 1.5),
        x == 1,
        x != 1,
        ~(x != 1),
        ~~(x < 2),
        ~((x > 1) & (x < 3)),
        (x > 1) != (x > 2),
    ):
        assert not condition.iloc[0]
    assert truth(~(x > 1.5)) == [False, True, False, False]
    assert truth(x != 1) == [False, False, True, True]


KLEENE = {"true": (2.0, True), "false": (0.0, False), "unknown": (NAN, None)}


@pytest.mark.parametrize("right", KLEENE)
@pytest.mark.parametrize("left", KLEENE)
def test_what_is_unknown_follows_the_logic_of_kleene(left: str, right: str) -> None:
    (a, a_truth), (b, b_truth) = KLEENE[left], KLEENE[right]
    known: dict[str, bool | None] = {
        "and": False if False in (a_truth, b_truth) else None if None in (a_truth, b_truth) else True,
        "or": True if True in (a_truth, b_truth) else None if None in (a_truth, b_truth) else False,
    }
    made = {"and": (column(a) > 1) & (column(b, name="y") > 1), "or": (column(a) > 1) | (column(b, name="y") > 1)}
    for name, condition in made.items():
        assert truth(condition) == [known[name] is True]
        assert truth(~condition) == [known[name] is False]
        assert (condition.unknown is not None and bool(condition.unknown[0])) == (known[name] is None)


@given(st.lists(st.lists(st.sampled_from([0.0, 2.0, NAN]), min_size=3, max_size=3), min_size=1, max_size=4))
def test_de_morgan_holds_also_where_values_are_missing(rows: list[list[float]]) -> None:
    a, b, c = (column(*values) > 1 for values in zip(*rows, strict=True))
    assert truth(~(a & b & c)) == truth(~a | ~b | ~c)
    assert truth(~(a | b | c)) == truth(~a & ~b & ~c)


def test_a_column_cannot_be_changed_in_place() -> None:
    frame = pd.DataFrame({"close": [1.0, 2.0]})
    column = Column.of(frame["close"], "close")
    with pytest.raises(ValueError, match="read-only"):
        column.iloc[0] = 5.0
    assert frame["close"].iloc[0] == 1.0


def test_a_vote_adds_the_weights_of_what_holds_and_shows_its_ballots() -> None:
    x, y = column(1, 2, 3, 4), column(1, 0, 0, 1, name="y")
    passed = vote(lstm=(2.0, x > 2), rsi=(1.0, y > 0), bad=(-0.5, y.to_numpy() < 1)) >= 2
    assert truth(passed) == [False, False, False, True]
    assert list(passed.votes) == [1.0, -0.5, 1.5, 3.0]
    assert list(passed.terms) == ["lstm +2", "rsi +1", "bad -0.5"]
    joined = passed & (x > 0)
    assert list(joined.terms) == ["lstm +2", "rsi +1", "bad -0.5", "x > 0"]
    assert list(joined.votes) == [1.0, -0.5, 1.5, 3.0]
    assert list((~passed).votes) == [1.0, -0.5, 1.5, 3.0]


def test_a_vote_with_an_unknown_ballot_passes_no_quorum_whatever_is_asked() -> None:
    points = vote(lstm=(2.0, column(NAN, 1, 1, 1) > 0), rsi=(1.0, column(1, 1, 0, 1, name="y") > 0))
    assert truth(points >= 1) == [False, True, True, True]
    assert truth(~(points >= 3)) == [False, False, True, False]
    assert truth(points < 3) == [False, False, True, False]


def test_a_vote_of_numpy_conditions_counts_too() -> None:
    assert truth(vote(a=(1.0, np.array([True, False]))) >= 1) == [True, False]


@pytest.mark.parametrize(
    ("ballot", "kind"),
    [
        (column(1, 2) > 1, "Column"), ((1.0, column(1, 2)), "tuple"), ((column(1, 2) > 1, 1.0), "tuple"),
        ((True, column(1, 2) > 1), "tuple"), ((NAN, column(1, 2) > 1), "tuple"), ((1.0, None), "tuple"), (2.0, "float"),
    ],
)  # fmt: skip
def test_what_is_no_ballot_is_refused(ballot: Any, kind: str) -> None:
    with pytest.raises(PluginError) as error:
        vote(rsi=ballot)
    assert str(error.value) == (
        f"The ballot 'rsi' of a vote is a {kind} that holds no weight and condition. "
        "Write it like rsi=(1.0, bars.rsi(14) < 30)."
    )


@pytest.mark.parametrize(
    "made",
    [
        lambda a, x: a > 1, lambda a, x: x > a, lambda a, x: a < x, lambda a, x: ~(a != 1), lambda a, x: (a * 2 + x) ** 2 > 0,
        lambda a, x: x / a > 1, lambda a, x: x % a > 1, lambda a, x: a.rolling(3).mean() > x, lambda a, x: abs(-a) > 1,
        lambda a, x: np.log(a) > 0, lambda a, x: np.maximum(x, a) > 0, lambda a, x: x.to_numpy() - a > 0,
        lambda a, x: a.shift(1) > a, lambda a, x: a & a, lambda a, x: vote(lstm=(1.0, a > 0)) >= 1,
    ],
)  # fmt: skip
def test_what_is_made_of_an_absent_column_is_absent(made: Any) -> None:
    assert isinstance(made(Absent(), column(1, 2, 3, 4)), Absent)


@pytest.mark.parametrize(
    "plain", [column(1, 2, 3, 4) > 2, np.array([False, False, True, True]), pd.Series([False, False, True, True])]
)
def test_a_condition_goes_on_without_an_absent_one(plain: Any) -> None:
    absent = Absent() > 0
    for joined in (plain & absent, absent & plain, plain | absent, absent | plain, plain & ~absent):
        assert list(joined) == [False, False, True, True]
        assert np.asarray(joined).dtype == np.bool_


def test_an_absent_ballot_is_not_cast() -> None:
    points = vote(lstm=(2.0, Absent() > 0), rsi=(1.0, column(1, 2) > 1))
    assert list(points) == [0.0, 1.0]
    assert list((points >= 1).terms) == ["rsi +1"]


RULES = "The rules cannot be run without the signal, because {}, so no comparison is made. "


@pytest.mark.parametrize(
    ("made", "why"),
    [
        (lambda a, x: a.to_numpy() > 0, ".to_numpy asks for its values"),
        (lambda a, x: a.values > 0, ".values asks for its values"),
        (lambda a, x: np.asarray(a) > 0, "NumPy or pandas asks for its values"),
        (lambda a, x: np.where(a > 0, x > 1, False), "NumPy or pandas asks for its values"),
        (lambda a, x: (x > 1) * (a > 0), "arithmetic mixes a condition on it with another column"),
        (lambda a, x: (a > 0) * (x > 1), "arithmetic mixes a condition on it with another column"),
        (lambda a, x: (x > 1) * a, "arithmetic mixes a condition on it with another column"),
        (lambda a, x: pd.Series(x > 1) * (a > 0), "arithmetic mixes a condition on it with another column"),
        (lambda a, x: np.asarray(x > 1) * (a > 0), "arithmetic mixes a condition on it with another column"),
        (lambda a, x: (x > 1).astype(int) + a.gt(0).astype(int), "arithmetic mixes a condition on it with another column"),
        (lambda a, x: (x > 1) ^ (a > 0), "^ asks whether it differs from another condition"),
        (lambda a, x: (a > 0) ^ (x > 1), "^ asks whether it differs from another condition"),
        (lambda a, x: (x > 1) == (a > 0), "a condition on it is compared with another column"),
        (lambda a, x: np.equal(np.asarray(x > 1), a > 0), "a condition on it is compared with another column"),
        (lambda a, x: a.where(x > 1, 0.0) > 0, "a method of its column is given another condition"),
        (lambda a, x: a[x > 1], "a method of its column is given another condition"),
        (lambda a, x: x.where(a > 0), "one value is asked of its column"),
        (lambda a, x: x if a.mean() > 0 else -x, "one value is asked of its column"),
        (lambda a, x: float(a), "one value is asked of its column"),
    ],
)  # fmt: skip
def test_what_would_lose_more_than_the_signal_says_that_there_is_no_comparison(made: Any, why: str) -> None:
    with pytest.raises(SignalNeeded) as error:
        made(Absent(), column(1, 2, 3, 4))
    assert str(error.value).startswith(RULES.format(why))
    assert isinstance(error.value, PluginError)


def test_what_pandas_makes_of_a_column_does_not_read_like_the_column() -> None:
    x = column(1, 3, 2, 4)
    both = (x > x.rolling(2).mean()) & (x > x.rolling(3, min_periods=1).mean()) & (x.diff() > 0)
    assert list(both.terms) == ["x > x.rolling(2).mean()", "x > x.rolling(3, min_periods=1).mean()", "x.diff() > 0"]
    assert (x.ewm(span=3).mean() > (x + 1).expanding().max()).name == "x.ewm(span=3).mean() > (x + 1).expanding().max()"
    assert (x > x.rank()).name == "x > f(x)"
    assert (x > x.rank().rename("rank")).name == "x > rank"
    assert x.rolling(2).corr(x.shift(1)).name == "x.rolling(2).corr(x.shift(1))"


def test_of_two_terms_that_read_alike_neither_is_lost() -> None:
    x = column(1, 3, 2, 4)
    joined = (x > x.rank()) & (x > x.cummax() - 1) & (x >= 1) & (x > x.cummin())
    assert {text: truth(values) for text, values in joined.terms.items()} == {
        "x > f(x)": [False, False, False, False],
        "x > (f(x) - 1)": [True, True, False, True],
        "x >= 1": [True, True, True, True],
        "x > f(x) (2)": [False, True, True, True],
    }
    assert list(((x > 1) & (x > 1)).terms) == ["x > 1"]


@pytest.mark.parametrize(
    "made",
    [
        lambda x: x.shift(1), lambda x: x.diff(2), lambda x: x.pct_change(), lambda x: x.rolling(2).mean(),
        lambda x: x.rolling("2min").max(), lambda x: x.ewm(span=2).mean(), lambda x: x.expanding().max(),
        lambda x: x.rolling(2).corr(-x), lambda x: x.rolling(2).apply(np.ptp), lambda x: (x + 0).shift(1),
        lambda x: x.rolling(2).agg(["min", "max"]), lambda x: (x > 2).shift(1, fill_value=False),
    ],
)  # fmt: skip
def test_what_looks_back_is_that_of_each_stretch_on_its_own(made: Any) -> None:
    x = column(1, 3, 2, 4, name="x")
    for cut in ([0, 0, 1, 1], [0, 1, 1, 1], [0, 1, 2, 2]):
        broken = Column.of(x, "x", Stretches(TIMES, np.array(cut)))
        parts = [made(x.iloc[rows]) for rows in np.split(np.arange(4), np.flatnonzero(np.diff(cut)) + 1)]
        got = made(broken)
        pd.testing.assert_index_equal(got.index, TIMES)
        np.testing.assert_array_equal(got, np.concatenate([np.asarray(part) for part in parts]))


def test_a_selection_of_rows_still_knows_its_stretches() -> None:
    x = Column.of(column(1, 3, 2, 4), "x", Stretches(TIMES, np.array([0, 0, 1, 1])))
    assert list(x[x > 1].diff().fillna(-9.0)) == [-9.0, -9.0, 2.0]
    assert list(x.iloc[::2].shift(1).fillna(-9.0)) == [-9.0, -9.0]
