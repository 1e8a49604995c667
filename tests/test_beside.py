"""Features of other symbols and of external series: as of the same closed bar, and never a bar later."""

from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from conftest import make_candles
from hypothesis import given, settings
from hypothesis import strategies as st

from freqlstm.candles import Candles, resample
from freqlstm.errors import CandleError, NoCandles, NoSeries, UnknownName, UsageError
from freqlstm.external import ExternalSeries
from freqlstm.feature_base import Feature
from freqlstm.features import across, companions, compute, resolve, warmup

BTC, ETH = "BTC/USDT", "ETH/USDT"
MINUTE, HALF = pd.Timedelta(minutes=1), pd.Timedelta(seconds=30)


def without(candles: Candles, *spans: tuple[int, int]) -> Candles:
    """The candles with gaps."""
    kept = np.ones(len(candles), dtype=bool)
    for first, last in spans:
        kept[first:last] = False
    return replace(candles, frame=candles.frame[kept])


def series_of(rows: int = 40, every: int = 25, after: int = 40) -> ExternalSeries:
    """A value every few minutes from 2024-01-01 on, known so many minutes later."""
    time = pd.date_range("2024-01-01", periods=rows, freq=f"{every}min", tz="UTC")
    return ExternalSeries.of("mood", time, np.arange(rows, dtype=float), time + after * MINUTE)


@pytest.fixture
def other() -> Candles:
    return make_candles(1200, seed=3, symbol=BTC)


@pytest.fixture
def own(other: Candles) -> Candles:
    return make_candles(1000, seed=5, symbol=ETH).with_beside({BTC: other, "mood": series_of()})


# What lies beside candles


def test_what_is_beside_candles_holds_nothing_that_was_known_after_their_last_close(own: Candles) -> None:
    for candles in (own, own.rows(100, 400), own.between(None, own.time[77])):
        beside = candles.beside[BTC]
        assert isinstance(beside, Candles)
        assert (beside.time[0], beside.time[-1]) == (candles.time[0], candles.time[-1])
        known = candles.beside["mood"].known_at  # type: ignore[union-attr]
        assert not len(known) or known[-1] <= candles.time[-1] + MINUTE


def test_of_a_series_the_last_value_known_before_the_first_close_stays(own: Candles) -> None:
    mood = own.rows(500, 501).beside["mood"]
    assert isinstance(mood, ExternalSeries)
    assert mood.value.tolist() == [18.0]  # of minute 450, known at minute 490; the next becomes known at 515


def test_candles_without_rows_have_nothing_beside_them(own: Candles) -> None:
    empty = own.rows(5, 5)
    assert [len(each) for each in empty.beside.values()] == [0, 0]


def test_what_is_beside_other_candles_is_not_carried_along(own: Candles) -> None:
    assert not make_candles(10).with_beside({ETH: own}).beside[ETH].beside  # type: ignore[union-attr]


def test_nothing_beside_costs_nothing_and_leaves_the_digest_as_it_was(own: Candles) -> None:
    alone = make_candles(1000, seed=5, symbol=ETH)
    assert replace(own, beside={}).digest == alone.digest
    assert alone.rows(3, 9).beside == {}


def test_the_digest_tells_what_is_beside_and_only_as_far_as_it_was_known(own: Candles, other: Candles) -> None:
    later = replace(other, frame=other.frame.assign(close=other.close.where(other.time <= own.time[499], 1.0)))
    changed = own.with_beside({**own.beside, BTC: later})
    assert changed.digest != own.digest != replace(own, beside={}).digest
    assert changed.rows(0, 500).digest == own.rows(0, 500).digest
    assert changed.rows(0, 501).digest != own.rows(0, 501).digest


def test_what_is_beside_goes_through_a_process_boundary(own: Candles) -> None:
    assert pickle.loads(pickle.dumps(own)).digest == own.digest


def test_resampling_takes_along_what_is_beside(own: Candles, other: Candles) -> None:
    made = resample(own.rows(0, 992), "5m")
    assert made.beside[BTC].digest == resample(other, "5m").between(None, made.time[-1] + made.step).digest
    assert made.beside["mood"].known_at[-1] <= made.time[-1] + made.step  # type: ignore[union-attr]


# Features of another symbol


def test_a_feature_of_another_symbol_is_its_own_at_the_same_closed_bar(own: Candles, other: Candles) -> None:
    table = compute(["momentum_5@BTC/USDT"], own)
    expected = compute(["momentum_5"], other)["momentum_5"].reindex(own.time)
    assert table["momentum_5@BTC/USDT"].notna().sum() == 1000 - warmup(["momentum_5"])
    pd.testing.assert_series_equal(table["momentum_5@BTC/USDT"], expected, check_names=False)


def test_of_the_symbol_itself_it_is_the_own_feature(other: Candles) -> None:
    table = compute(["rsi_14", "rsi_14@BTC/USDT"], other)
    np.testing.assert_array_equal(table["rsi_14"], table["rsi_14@BTC/USDT"])


def test_it_is_missing_in_and_after_a_gap_of_either_symbol(own: Candles, other: Candles) -> None:
    need = warmup(["momentum_5"])
    gapped = without(own, (400, 403)).with_beside({BTC: without(other, (410, 414))})
    known = compute(["momentum_5@BTC/USDT"], gapped).iloc[:, 0].notna().to_numpy()
    minute = (gapped.time - gapped.time[0]) // MINUTE
    np.testing.assert_array_equal(known, ((minute >= need) & (minute < 400)) | (minute >= 414 + need))


def test_no_value_changes_when_only_later_candles_of_the_other_symbol_do(own: Candles, other: Candles) -> None:
    names = ["momentum_5@BTC/USDT", "rsi_14@BTC/USDT", "volume_z_60@BTC/USDT"]
    later = replace(other, frame=other.frame * np.where(other.time > own.time[700], 2.0, 1.0)[:, None])
    one, two = compute(names, own), compute(names, own.with_beside({BTC: later}))
    pd.testing.assert_frame_equal(one.iloc[:701], two.iloc[:701])
    assert (one.iloc[701] != two.iloc[701]).all()


def test_names_tell_what_they_need() -> None:
    own = Feature("mine", lambda candles: candles.close, 3, beside=("SOL/USDT", "mood"))
    names = ["return_lag_0", "rsi_14@btc/usdt", "momentum_5@BTC/USDT", "series:fear_greed", own]
    assert companions(names) == (("BTC/USDT", "SOL/USDT"), ("fear_greed", "mood"))
    assert companions(["return_lag_0"]) == ((), ())
    assert resolve("rsi_14@btc/usdt").name == "rsi_14@BTC/USDT"
    assert warmup(["momentum_240@BTC/USDT"]) == warmup(["momentum_240"])


def test_a_feature_of_ones_own_can_be_taken_of_another_symbol(own: Candles, other: Candles) -> None:
    spread = Feature("spread", lambda candles: candles.high / candles.low - 1, 0)
    table = compute([across(spread, BTC)], own)
    np.testing.assert_array_equal(table["spread@BTC/USDT"], (other.high / other.low - 1).to_numpy()[:1000])


def test_what_is_not_there_is_told_with_what_stores_it(own: Candles) -> None:
    alone = replace(own, beside={})
    with pytest.raises(NoCandles) as no_candles:
        compute(["momentum_5@BTC/USDT"], alone)
    assert str(no_candles.value) == (
        "'momentum_5@BTC/USDT' needs the candles of BTC/USDT beside those of ETH/USDT, and they are not there. "
        "`freqlstm download -p BTC/USDT -i 1m` stores them; in code, candles.with_beside(...) adds them."
    )
    with pytest.raises(NoSeries) as no_series:
        compute(["series:fear_greed"], alone)
    assert str(no_series.value) == (
        "'series:fear_greed' needs the external series 'fear_greed' beside the candles of ETH/USDT, and it is not there. "
        "`freqlstm import-series fear_greed FILE --time COLUMN --known-after 1d` stores it; in code, candles.with_beside(...) adds it."
    )


def test_candles_of_another_timeframe_are_refused(own: Candles, other: Candles) -> None:
    with pytest.raises(CandleError) as refused:
        compute(["momentum_5@BTC/USDT"], own.with_beside({BTC: resample(other, "5m")}))
    assert str(refused.value) == (
        "'momentum_5@BTC/USDT': beside the 1m candles of ETH/USDT lie 5m candles of BTC/USDT. "
        "Both must be of one timeframe: use `freqlstm data resample`."
    )


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("momentun_5@BTC/USDT", UnknownName, "No feature named 'momentun_5'. Did you mean 'momentum_5'?"),
        ("momentum_5@BTC", UsageError, "Pair 'BTC' is not written BASE/QUOTE, as in 'BTC/USDT'."),
        ("series:Fear", UsageError, "Series name 'Fear' cannot be used."),
        ("rsi_14@BTC/USDT@ETH/USDT", UsageError, "Pair 'BTC/USDT@ETH/USDT' is not written BASE/QUOTE"),
    ],
)
def test_a_name_that_cannot_be_right_is_refused(name: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as refused:
        resolve(name)
    assert str(refused.value).startswith(message)


def test_there_is_no_feature_of_another_symbol_of_what_belongs_to_none() -> None:
    with pytest.raises(UsageError) as refused:
        across(resolve("series:mood"), BTC)
    assert str(refused.value) == (
        "'series:mood' is not of a symbol's own candles, so there is no series:mood@BTC/USDT. "
        "Put @ behind a feature of a symbol's own candles, as in 'momentum_5@BTC/USDT'."
    )
    with pytest.raises(UsageError, match=r"It must be a tuple of names, as in \(\"BTC/USDT\",\)\."):
        Feature("mine", lambda candles: candles.close, 0, beside="BTC/USDT")  # type: ignore[arg-type]


# External series


def test_a_series_is_joined_at_the_close_of_the_bar_after_which_it_was_known(own: Candles) -> None:
    column = compute(["series:mood"], own)["series:mood"]
    assert column.iloc[:39].isna().all()  # the first value is known at minute 40, the close of bar 39
    assert column.iloc[39:64].tolist() == [0.0] * 25
    assert column.iloc[64] == 1.0


@settings(max_examples=60, deadline=None)
@given(
    steps=st.lists(st.integers(1, 20), min_size=1, max_size=30),  # half minutes from one row to the next
    after=st.integers(0, 100),  # half minutes
    start=st.integers(-60, 120),  # half minutes from the first candle to the first row
    row=st.integers(0, 79),
    gap=st.tuples(st.integers(1, 60), st.integers(0, 10)),
    numbers=st.randoms(use_true_random=False),
)
def test_the_joined_value_of_a_bar_is_untouched_by_rows_known_after_its_close(
    steps: list[int], after: int, start: int, row: int, gap: tuple[int, int], numbers: object
) -> None:
    base = make_candles(90)
    candles = without(base, (gap[0], gap[0] + gap[1]))
    time = base.time[0] + pd.to_timedelta(30 * (start + np.cumsum(steps)), unit="s")
    known_at = time + HALF * after
    value = np.array([numbers.random() for _ in steps])  # type: ignore[attr-defined]
    series = ExternalSeries.of("mood", time, value, known_at)
    close = candles.time[row] + MINUTE
    known = known_at <= close
    changed = ExternalSeries.of("mood", time, np.where(known, value, -value - 1), known_at)
    removed = ExternalSeries.of("mood", time[known], value[known], known_at[known])

    one, *others = (
        compute(["series:mood"], candles.with_beside({"mood": each})) for each in (series, changed, removed)
    )
    newest = value[known][-1] if known.any() else np.nan
    np.testing.assert_array_equal(one["series:mood"].iloc[row], newest)
    for other in others:
        np.testing.assert_array_equal(one["series:mood"].iloc[: row + 1], other["series:mood"].iloc[: row + 1])
    cut = candles.with_beside({"mood": series}).rows(row, row + 1)
    np.testing.assert_array_equal(compute(["series:mood"], cut)["series:mood"], [newest])
