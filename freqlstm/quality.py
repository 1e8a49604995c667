"""What is wrong with a table of candles, counted and located; nothing is repaired."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from freqlstm.candles import COLUMNS, off_grid, ohlc_violations, step_of
from freqlstm.errors import CandleError

WICK_FACTOR = 20.0  # a wick this many times the usual range of a candle is an outlier
WICK_BLOCK = 1440  # candles over which the usual range is taken
WICK_FLOOR = (
    1e-4  # the usual range counts as at least this (log price), or quiet hours would make every tick an outlier
)


@dataclass(frozen=True)
class Gap:
    """A hole between two candles: [start, end) is the time in which no candle opened."""

    start: pd.Timestamp
    end: pd.Timestamp
    missing: int  # candles


@dataclass(frozen=True)
class Quality:
    """Counts are rows unless said otherwise; one row can be counted under several headings.

    Gaps are measured by the distance between neighbours, not by the grid, so off-grid candles are not called missing.
    ``score`` is 100 x coverage x (1 - unusable) x (1 - off grid / 2) x (1 - doubtful / 2), each a share of the rows, rounded down
    to a tenth: unusable rows are duplicates, out of order, not finite, not positive or violate OHLC; doubtful rows have
    no volume, are frozen or have an outlier wick.
    """

    symbol: str
    timeframe: str
    rows: int
    first: pd.Timestamp | None
    last: pd.Timestamp | None
    expected: int  # candles that an unbroken series from first to last would have
    missing: int  # candles
    gaps: list[Gap]
    duplicates: int  # rows whose open time occurred before
    out_of_order: int  # rows that open before the row above them
    off_grid: int  # rows that do not open on a multiple of the timeframe
    first_off_grid: pd.Timestamp | None
    ohlc_violations: int  # high or low does not enclose open and close
    non_positive: int  # a price that is zero or negative, or a negative volume
    not_finite: int  # NaN or infinite
    zero_volume: int
    longest_zero_volume_run: int  # candles, one after the other
    frozen: int  # open = high = low = close, and no volume or the same price as the candle before
    outlier_wicks: int  # a wick longer than 20 times the median range of the 1,440 candles around
    coverage: float  # share of the expected candles that are there, 0 to 1
    score: float  # 0 to 100

    def as_dict(self) -> dict[str, Any]:
        """The report in JSON's own types, times as ISO 8601."""
        return {name: _plain(value) for name, value in asdict(self).items()}

    def findings(self) -> list[str]:
        """One sentence for everything that was found, the gaps longest first; empty if nothing was."""
        what = f"{self.symbol} {self.timeframe}"
        longest = sorted(self.gaps, key=lambda gap: (-gap.missing, gap.start))
        found = [
            f"{gap.missing:,} candles of {what} are missing between {gap.start:%Y-%m-%d %H:%M} and {gap.end:%Y-%m-%d %H:%M} UTC."
            for gap in longest[:10]
        ]
        if len(longest) > 10:
            rest = sum(gap.missing for gap in longest[10:])
            found.append(f"{rest:,} more candles are missing in {len(longest) - 10:,} shorter gaps.")
        counts = {
            "have an open time that occurred before": self.duplicates,
            "are out of order": self.out_of_order,
            f"do not open on the {self.timeframe} grid": self.off_grid,
            "have a high or low that does not enclose open and close": self.ohlc_violations,
            "have a price that is not positive or a negative volume": self.non_positive,
            "have a value that is not a number or infinite": self.not_finite,
            f"have no volume, up to {self.longest_zero_volume_run:,} in a row": self.zero_volume,
            "are frozen at one price": self.frozen,
            f"have a wick longer than {WICK_FACTOR:.0f} times the usual range": self.outlier_wicks,
        }
        return found + [f"{count:,} rows of {what} {text}." for text, count in counts.items() if count]


def report(frame: pd.DataFrame, symbol: str, timeframe: str) -> Quality:
    """Measure a table of candles that may be as dirty as it likes, as long as it has OHLCV columns and open times."""
    absent = [name for name in COLUMNS if name not in frame.columns]
    if absent or not isinstance(frame.index, pd.DatetimeIndex):
        raise CandleError(
            f"{symbol} {timeframe}: {f'column {absent[0]!r} is missing' if absent else 'the index holds no times'}. "
            f"Candles need {', '.join(COLUMNS)} and an index of open times."
        )
    step = step_of(timeframe)
    index = frame.index if frame.index.tz is not None else frame.index.tz_localize("UTC")
    index = index.tz_convert("UTC")
    known = ~np.asarray(index.isna())
    stamps = index[known].as_unit("ns").asi8
    numbers = _numbers(frame)
    opens, values = stamps, numbers
    if not (known.all() and (np.diff(stamps) > 0).all()):
        opens, rows = np.unique(stamps, return_index=True)  # the first row of each open time, in order of time
        values = numbers[known][rows]

    distance = np.diff(opens)
    lacking = np.maximum(np.rint(distance / step.value).astype(np.int64) - 1, 0)
    gaps = [
        Gap(_moment(int(opens[row]) + step.value), _moment(int(opens[row + 1])), int(lacking[row]))
        for row in np.flatnonzero(lacking)
    ]
    missing = int(lacking.sum())
    expected = len(opens) + missing
    astray = off_grid(index[known], step)

    finite = np.isfinite(numbers).all(axis=1) & known
    non_positive = (numbers[:, :4] <= 0).any(axis=1) | (numbers[:, 4] < 0)
    violations = ohlc_violations(numbers)
    duplicated = np.asarray(index.duplicated()) & known
    backwards = np.zeros(len(index), dtype=bool)
    backwards[np.flatnonzero(known)[1:]] = np.diff(stamps) < 0

    idle = values[:, 4] == 0
    frozen = _frozen(values, idle)
    wicks = _outlier_wicks(values)

    count = max(len(frame), 1)
    coverage = len(opens) / expected if expected else 0.0
    unusable = (duplicated | backwards | ~finite | non_positive | violations).sum() / count
    doubtful = (idle | frozen | wicks).sum() / count
    score = 100 * coverage * (1 - unusable) * (1 - astray.sum() / count / 2) * (1 - doubtful / 2)
    return Quality(
        symbol=symbol,
        timeframe=timeframe,
        rows=len(frame),
        first=_moment(int(opens[0])) if len(opens) else None,
        last=_moment(int(opens[-1])) if len(opens) else None,
        expected=expected,
        missing=missing,
        gaps=gaps,
        duplicates=int(duplicated.sum()),
        out_of_order=int(backwards.sum()),
        off_grid=int(astray.sum()),
        first_off_grid=index[known][astray].min() if astray.any() else None,
        ohlc_violations=int(violations.sum()),
        non_positive=int(non_positive.sum()),
        not_finite=int((~finite).sum()),
        zero_volume=int(idle.sum()),
        longest_zero_volume_run=_longest_run(idle),
        frozen=int(frozen.sum()),
        outlier_wicks=int(wicks.sum()),
        coverage=float(coverage),
        score=math.floor(score * 10) / 10,
    )


def _numbers(frame: pd.DataFrame) -> np.ndarray:
    """Shape (rows, 5), float64: NaN for what is no number."""
    columns = frame[list(COLUMNS)]
    if not all(kind == np.float64 for kind in columns.dtypes):
        columns = columns.apply(pd.to_numeric, errors="coerce")
    return columns.to_numpy(np.float64)


def _frozen(values: np.ndarray, idle: np.ndarray) -> np.ndarray:
    flat = (values[:, :4] == values[:, :1]).all(axis=1)
    same = np.zeros(len(values), dtype=bool)
    same[1:] = (values[1:, :4] == values[:-1, :4]).all(axis=1)
    return np.asarray(flat & (idle | same))


def _outlier_wicks(values: np.ndarray) -> np.ndarray:
    """A hundred blocks at a time, to need little memory."""
    size = 100 * WICK_BLOCK
    pieces = [_wicks_of_blocks(values[first : first + size]) for first in range(0, len(values), size)]
    return np.concatenate([*pieces, np.zeros(0, dtype=bool)])


def _wicks_of_blocks(values: np.ndarray) -> np.ndarray:
    usable = np.isfinite(values[:, :4]).all(axis=1) & (values[:, :4] > 0).all(axis=1)
    prices = np.log(np.where(usable[:, None], values[:, :4], 1.0))
    spread = prices[:, 1] - prices[:, 2]
    body = prices[:, [0, 3]]
    wick = np.maximum(prices[:, 1] - body.max(axis=1), body.min(axis=1) - prices[:, 2])
    block = np.arange(len(values)) // WICK_BLOCK
    usual = pd.Series(spread).groupby(block).transform("median").to_numpy()
    return np.asarray(wick > WICK_FACTOR * np.maximum(usual, WICK_FLOOR))


def _longest_run(marked: np.ndarray) -> int:
    edges = np.flatnonzero(np.diff(marked.astype(np.int8), prepend=0, append=0))
    return int((edges[1::2] - edges[::2]).max(initial=0))


def _moment(nanoseconds: int) -> pd.Timestamp:
    return pd.Timestamp(nanoseconds, unit="ns", tz="UTC")


def _plain(value: Any) -> Any:
    if isinstance(value, pd.Timestamp):
        return value.isoformat()
    if isinstance(value, list):
        return [{name: _plain(item) for name, item in entry.items()} for entry in value]
    return value
