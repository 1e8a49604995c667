"""Folds: train before test, purged, and the same whatever the end of the range."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from conftest import make_candles
from hypothesis import given, settings
from hypothesis import strategies as st

from freqlstm.errors import TooFewCandles, UsageError
from freqlstm.folds import Fold, FoldPlan, duration, first_validation_bar, validation_split
from freqlstm.labels import forward_return


def utc(text: str) -> pd.Timestamp:
    return pd.Timestamp(text, tz="UTC")


def spans(fold: Fold) -> tuple[str, ...]:
    return tuple(f"{moment:%m-%d %H}" for moment in (fold.train_start, fold.train_end, fold.test_start, fold.test_end))


def test_folds_are_worked_out_by_hand() -> None:
    plan = FoldPlan(train="20d", test="7d", min_train="10d", embargo="12h")
    made = plan.folds(utc("2024-02-01"), utc("2024-02-20"), first_candle=utc("2024-01-15"))
    assert [spans(fold) for fold in made] == [
        ("01-15 00", "01-31 12", "02-01 00", "02-08 00"),  # 16.5 days: fewer than 20, since candles begin there
        ("01-18 12", "02-07 12", "02-08 00", "02-15 00"),
        ("01-25 12", "02-14 12", "02-15 00", "02-20 00"),  # cut at the end of the range
    ]
    assert [fold.number for fold in made] == [0, 1, 2]


def test_expanding_folds_all_begin_at_the_first_candle() -> None:
    plan = FoldPlan(train="20d", test="7d", min_train="10d", expanding=True)
    made = plan.folds(utc("2024-02-01"), utc("2024-02-20"), first_candle=utc("2024-01-15"))
    assert {fold.train_start for fold in made} == {utc("2024-01-15")}
    assert [fold.train_end for fold in made] == [utc("2024-02-01"), utc("2024-02-08"), utc("2024-02-15")]


def test_test_spans_with_too_little_before_them_are_left_out() -> None:
    plan = FoldPlan(train="20d", test="7d", min_train="20d")
    made = plan.folds(utc("2024-02-01"), utc("2024-02-20"), first_candle=utc("2024-01-15"))
    assert [spans(fold) for fold in made] == [
        ("01-19 00", "02-08 00", "02-08 00", "02-15 00"),
        ("01-26 00", "02-15 00", "02-15 00", "02-20 00"),
    ]
    assert [fold.number for fold in made] == [0, 1]


def test_no_fold_at_all_is_an_error_that_says_when_the_first_could_start() -> None:
    with pytest.raises(TooFewCandles) as refused:
        FoldPlan(embargo="1d").folds(utc("2024-01-20"), utc("2024-01-27"), first_candle=utc("2024-01-01 06:30"))
    assert str(refused.value) == (
        "No fold of 2024-01-20 00:00 to 2024-01-27 00:00 UTC has 30d of candles to train on: the first candle is of "
        "2024-01-01 06:30. Start at 2024-02-01 06:30 or later, or provide earlier candles."
    )
    start = utc("2024-02-01 06:30")  # what the message advises
    assert len(FoldPlan(embargo="1d").folds(start, start + pd.Timedelta(days=1), utc("2024-01-01 06:30"))) == 1


hours = st.integers(1, 24 * 40)


@settings(max_examples=200, deadline=None)
@given(
    train=hours, test=hours, least=hours, embargo=st.integers(0, 48), expanding=st.booleans(),
    before=st.integers(0, 24 * 60), length=st.integers(1, 24 * 200), longer=st.integers(0, 24 * 50),
)  # fmt: skip
def test_train_ends_before_test_test_spans_tile_the_range_and_the_end_changes_no_earlier_fold(
    train: int, test: int, least: int, embargo: int, expanding: bool, before: int, length: int, longer: int
) -> None:
    plan = FoldPlan(f"{max(train, least)}h", f"{test}h", f"{least}h", f"{embargo}h", expanding)
    start, hour = utc("2024-03-05 07:00"), pd.Timedelta(hours=1)
    first_candle, end = start - before * hour, start + length * hour
    try:
        folds = plan.folds(start, end, first_candle)
    except TooFewCandles:
        assert end - start + before * hour <= (least + embargo + test) * hour
        return
    for fold in folds:
        assert fold.train_end == fold.test_start - embargo * hour
        assert first_candle <= fold.train_start < fold.train_end <= fold.test_start < fold.test_end
        assert fold.train_end - fold.train_start >= least * hour
        assert expanding or fold.train_end - fold.train_start <= max(train, least) * hour
        assert (fold.test_start - start) % (test * hour) == pd.Timedelta(0)
    for fold, following in itertools.pairwise(folds):
        assert fold.test_end == following.test_start == fold.test_start + test * hour
    assert folds[-1].test_end == end
    for fold, same in zip(folds[:-1], plan.folds(start, end + longer * hour, first_candle), strict=False):
        assert fold == same


@settings(max_examples=100, deadline=None)
@given(rows=st.integers(2, 300), horizon=st.integers(0, 60), fraction=st.floats(0.01, 0.99), seed=st.integers(0, 99))
def test_the_label_of_every_fit_bar_ends_before_the_first_validation_bar(
    rows: int, horizon: int, fraction: float, seed: int
) -> None:
    bars = np.flatnonzero(np.random.default_rng(seed).random(rows * 2) < 0.5)  # some bars have no window
    if not len(bars):
        return
    fit, validation = validation_split(bars, horizon, fraction)
    assert len(validation) >= 1
    assert set(fit) | set(validation) <= set(bars)
    assert (validation[:, None] > fit[None, :] + horizon).all()
    purged = len(bars) - len(fit) - len(validation)
    assert purged <= horizon
    assert len(validation) == len(bars) - min(int(len(bars) * (1 - fraction)), len(bars) - 1)


def test_a_split_of_ten_bars_is_worked_out_by_hand() -> None:
    fit, validation = validation_split(np.arange(10), horizon=3, fraction=0.2)
    assert validation.tolist() == [8, 9]
    assert fit.tolist() == [0, 1, 2, 3, 4]  # the label of 4 ends at 7; that of 5 would end at 8
    assert first_validation_bar(np.arange(10)) == 8


def test_pooled_symbols_are_split_at_one_moment() -> None:
    pooled = np.concatenate([np.arange(100), np.arange(50, 100)])  # the second symbol was listed later
    fit, validation = validation_split(pooled, horizon=5)
    assert fit.max() + 5 < validation.min()
    assert sorted(validation) == sorted(pooled[pooled >= validation.min()])


def test_a_fit_that_sees_the_train_span_only_has_no_label_that_ends_later() -> None:
    candles = make_candles(3 * 1440)
    plan = FoldPlan(train="1d", test="1d", min_train="12h")
    for fold in plan.folds(candles.time[1440], candles.time[-1] + candles.step, candles.time[0]):
        seen = candles.between(fold.train_start, fold.train_end)
        labels = forward_return(seen, 15)
        assert labels.iloc[-15:].isna().all()
        assert labels.iloc[:-15].notna().all()
        assert seen.time[-1] < fold.test_start


@pytest.mark.parametrize(
    ("text", "seconds"), [("90d", 7_776_000), ("12h", 43_200), ("30m", 1800), ("2w", 1_209_600), ("45s", 45), ("0d", 0)]
)
def test_durations_are_a_number_and_a_unit(text: str, seconds: int) -> None:
    assert duration(text) == pd.Timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["90", "d", "9 d", "1.5d", "-1d", "1M", "1d2h", "", 90, None])
def test_what_is_not_a_duration_is_refused(text: str) -> None:
    with pytest.raises(UsageError) as refused:
        FoldPlan(train=text)
    assert str(refused.value) == (
        f"Duration {text!r} is not understood. Write a number and one of s, m, h, d, w, as in '90d'."
    )


def test_a_plan_that_could_never_be_fitted_is_refused() -> None:
    with pytest.raises(
        UsageError, match=r"min_train '30d' is longer than train '20d', so no fold could ever be fitted\."
    ):
        FoldPlan(train="20d")
    assert FoldPlan(train="20d", expanding=True).min_train == "30d"
    with pytest.raises(UsageError, match=r"test is '0d'\. It must be longer than nothing, as in '7d'\."):
        FoldPlan(test="0d")


def test_an_empty_range_is_refused() -> None:
    with pytest.raises(
        UsageError, match=r"The time range from .* to .* is empty\. Its start must lie before its end\."
    ):
        FoldPlan().folds(utc("2024-02-01"), utc("2024-02-01"), utc("2023-01-01"))


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.2, 2])
def test_a_fraction_that_leaves_nothing_is_refused(fraction: float) -> None:
    with pytest.raises(UsageError, match=r"The validation fraction is .*\. It must lie between 0 and 1, as in 0\.2\."):
        validation_split(np.arange(10), 1, fraction)


def test_nothing_cannot_be_split() -> None:
    with pytest.raises(
        TooFewCandles, match=r"There is no bar to split into training and validation\. Provide more candles"
    ):
        validation_split(np.zeros(0, dtype=int), 1)
