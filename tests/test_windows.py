"""Windows: unbroken, finite, ending at their row."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conftest import read_real
from hypothesis import given, settings
from hypothesis import strategies as st

from freqlstm.errors import UsageError
from freqlstm.features import compute
from freqlstm.windows import gather, rows_with_window

MATRIX = np.arange(12.0).reshape(6, 2)  # row t holds 2 t and 2 t + 1


def test_windows_need_so_many_rows_of_one_stretch() -> None:
    assert rows_with_window(MATRIX, np.array([0, 0, 0, 1, 1, 1]), 1).tolist() == [0, 1, 2, 3, 4, 5]
    assert rows_with_window(MATRIX, np.array([0, 0, 0, 1, 1, 1]), 2).tolist() == [1, 2, 4, 5]
    assert rows_with_window(MATRIX, np.array([0, 0, 0, 1, 1, 1]), 3).tolist() == [2, 5]
    assert rows_with_window(MATRIX, np.array([0, 0, 0, 0, 0, 1]), 3).tolist() == [2, 3, 4]
    assert rows_with_window(MATRIX, np.zeros(6, dtype=int), 7).tolist() == []
    assert rows_with_window(MATRIX[:0], np.zeros(0, dtype=int), 2).tolist() == []


def test_windows_hold_no_missing_and_no_infinite_feature() -> None:
    matrix = MATRIX.copy()
    matrix[1, 0], matrix[4, 1] = np.nan, np.inf
    assert rows_with_window(matrix, np.zeros(6, dtype=int), 1).tolist() == [0, 2, 3, 5]
    assert rows_with_window(matrix, np.zeros(6, dtype=int), 2).tolist() == [3]


def test_a_window_holds_its_row_last() -> None:
    made = gather(MATRIX, np.array([2, 5]), 3)
    assert made.shape == (2, 3, 2)
    assert made.dtype == np.float32
    assert made[:, :, 0].tolist() == [[0, 2, 4], [6, 8, 10]]
    assert gather(MATRIX, np.zeros(0, dtype=int), 3).shape == (0, 3, 2)


@settings(max_examples=200, deadline=None)
@given(
    stretches=st.lists(st.integers(1, 12), min_size=1, max_size=6),
    lookback=st.integers(1, 8),
    holes=st.sets(st.integers(0, 71), max_size=6),
)
def test_every_window_that_could_exist_does_and_no_other(stretches: list[int], lookback: int, holes: set[int]) -> None:
    segment = np.repeat(np.arange(len(stretches)), stretches)
    matrix = np.random.default_rng(0).normal(size=(len(segment), 2))
    matrix[[row for row in holes if row < len(segment)], 1] = np.nan
    expected = [
        t
        for t in range(lookback - 1, len(segment))
        if len(set(segment[t - lookback + 1 : t + 1])) == 1 and np.isfinite(matrix[t - lookback + 1 : t + 1]).all()
    ]
    rows = rows_with_window(matrix, segment, lookback)
    assert rows.tolist() == expected
    made = gather(matrix, rows, lookback)
    assert np.isfinite(made).all()
    for window, t in zip(made, rows, strict=True):
        np.testing.assert_array_equal(window, matrix[t - lookback + 1 : t + 1].astype(np.float32))


@settings(max_examples=50, deadline=None)
@given(t=st.integers(0, 99), lookback=st.integers(1, 8))
def test_windows_do_not_depend_on_later_rows(t: int, lookback: int) -> None:
    random = np.random.default_rng(t)
    matrix = np.where(random.random((100, 2)) < 0.05, np.nan, 1.0)
    segment = np.cumsum(random.random(100) < 0.05)
    whole = rows_with_window(matrix, segment, lookback)
    np.testing.assert_array_equal(rows_with_window(matrix[: t + 1], segment[: t + 1], lookback), whole[whole <= t])


@pytest.mark.parametrize("name", ["BTCUSDT_1m_20210101_20231231", "SOLUSDT_1m_20210402_20210615"])
def test_no_window_of_recorded_candles_spans_a_gap(real_data: Path, name: str) -> None:
    candles = read_real(real_data, f"BINANCE_{name}.parquet", name[:3] + "/USDT", "1m")
    matrix = compute(["close_position", "bollinger_z_20"], candles).to_numpy()
    rows = rows_with_window(matrix, candles.segment, 30)
    time = candles.time.as_unit("ns").asi8
    np.testing.assert_array_equal(time[rows] - time[rows - 29], 29 * candles.step.value)
    lost = sum(min(last - first, 19 + 29) for first, last in candles.segments())
    assert len(rows) == len(candles) - lost
    assert len(list(candles.segments())) > 1


def test_what_is_not_a_window_is_refused() -> None:
    with pytest.raises(
        UsageError, match=r"Row 1 has no window of 3 bars in a table of 6 rows\. Take rows from rows_with"
    ):
        gather(MATRIX, np.array([1, 4]), 3)
    with pytest.raises(UsageError, match="Row 6 has no window of 3 bars"):
        gather(MATRIX, np.array([4, 6]), 3)
    with pytest.raises(UsageError, match=r"The features have 6 rows and the segments 5\. They must be of one table\."):
        rows_with_window(MATRIX, np.zeros(5, dtype=int), 3)
    with pytest.raises(UsageError, match=r"lookback is 0\. It must be a whole number of bars, at least 1\."):
        rows_with_window(MATRIX, np.zeros(6, dtype=int), 0)
