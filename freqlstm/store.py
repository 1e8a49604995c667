"""Where candles, models and results live; every write atomic."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from freqlstm.candles import COLUMNS, TIMEFRAMES, Candles, check_symbol, step_of
from freqlstm.errors import NoCandles, StoreError, UsageError
from freqlstm.files import (
    atomic_folder,
    explained,
    jsonable,
    publish,
    read_json,
    temporary_name,
    write_bytes,
    write_json,
    write_text,
)
from freqlstm.place import Place
from freqlstm.project import Project

__all__ = [
    "CandleStore", "Project", "StoredSeries", "atomic_folder", "read_json", "read_table", "write_json", "write_table",
    "write_tables", "write_text",
]  # fmt: skip

GROUP = 65_536  # rows

SCHEMA = pa.schema([("time", pa.timestamp("ms", "UTC")), *((name, pa.float64()) for name in COLUMNS)])

Span = tuple[pd.Timestamp, pd.Timestamp]  # half-open: [start, end)


def write_table(path: Path | str, table: pd.DataFrame) -> None:
    """Write a Parquet file, whole or not at all, with its index, its ``attrs`` and a checksum of every page."""
    buffer = io.BytesIO()
    table.to_parquet(buffer, engine="pyarrow", compression="zstd", write_page_checksum=True)
    write_bytes(path, buffer.getvalue())


def write_tables(path: Path | str, pieces: Iterable[pd.DataFrame]) -> None:
    """Write a Parquet file, whole or not at all, piece by piece: a row group of each few, without an index."""
    target = Path(path)
    temporary = temporary_name(target)
    writer: pq.ParquetWriter | None = None
    try:
        with explained(path):
            for group in _joined(pieces):
                if writer is None:
                    writer = pq.ParquetWriter(temporary, group.schema, compression="zstd", write_page_checksum=True)
                writer.write_table(group.cast(writer.schema))
            if writer is not None:
                writer.close()
                publish(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


def _joined(pieces: Iterable[pd.DataFrame]) -> Iterator[pa.Table]:
    """The pieces as tables of about :data:`GROUP` rows."""
    waiting: list[pa.Table] = []
    for piece in pieces:
        waiting.append(pa.Table.from_pandas(piece, preserve_index=False).replace_schema_metadata(None))
        if sum(map(len, waiting)) >= GROUP:
            yield pa.concat_tables(waiting).combine_chunks()
            waiting = []
    if waiting:
        yield pa.concat_tables(waiting).combine_chunks()


def read_table(path: Path | str) -> pd.DataFrame:
    """What :func:`write_table` wrote; a StoreError that names the file if it is absent or damaged."""
    try:
        return pd.read_parquet(io.BytesIO(Path(path).read_bytes()), engine="pyarrow", page_checksum_verification=True)
    except FileNotFoundError:
        raise StoreError(f"There is no file {path}.") from None
    except (OSError, pa.ArrowException, ValueError) as error:
        raise StoreError(
            f"{path} is damaged ({_brief(error)}). Delete it, and what wrote it will write it again."
        ) from error


@dataclass(frozen=True)
class StoredSeries:
    """What is stored of one exchange, symbol and timeframe: the open times of the first and last candle, and the rows."""

    exchange: str
    symbol: str
    timeframe: str
    first: pd.Timestamp
    last: pd.Timestamp
    rows: int


class CandleStore:
    """Candles in one Parquet file a month, ``EXCHANGE/BTC-USDT/1m/2021-01.parquet``, in a folder or behind an fsspec URL.

    A month is written whole or not at all, and a call whose write fails changes no month. Processes of one machine
    take turns per series; let only one machine at a time write to an object store.
    """

    def __init__(self, url: str | Path) -> None:
        self._place = Place(url)

    def write(self, candles: Candles, replace: bool = False) -> int:
        """Add candles to what is stored; returns how many rows were added or changed.

        Rows that are stored already with the same values are left alone. A row that is stored with other values is a
        StoreError, and nothing at all is written, unless ``replace``.
        """
        folder = _folder(candles.exchange, candles.symbol, candles.timeframe)
        files: dict[str, bytes] = {}
        count = 0
        if len(candles):
            with self._place.locked(folder):
                stored = self._months(folder)
                for month, rows in _by_month(candles.frame):
                    path = f"{folder}/{month}.parquet"
                    fresh = len(rows)
                    if month in stored:
                        rows, fresh = _merge(self._read([path]), rows, _name(candles), replace)
                    if fresh:
                        files[path] = _encode(rows)
                        count += fresh
                self._place.write(files)
        return count

    def read(
        self,
        exchange: str,
        symbol: str,
        timeframe: str,
        start: pd.Timestamp | None = None,
        end: pd.Timestamp | None = None,
    ) -> Candles:
        """The stored candles that opened in [start, end); NoCandles, saying what there is, if there are none."""
        folder = _folder(exchange, symbol, timeframe)
        months = self._months(folder)
        if not months:
            raise NoCandles(self._nothing(exchange, symbol, timeframe))
        paths = [f"{folder}/{month}.parquet" for month in _within(months, start, end)]
        if paths:
            candles = Candles.from_frame(self._read(paths), check_symbol(symbol), timeframe, exchange).between(
                start, end
            )
            if len(candles):
                return candles
        first, last, _ = self._extent(folder, months)
        inside = (start is None or start <= last) and (end is None or end > first)
        raise NoCandles(
            f"The time range {_day(start, 'beginning')} to {_day(end, 'end')} is {'in a gap of' if inside else 'outside'} "
            f"the stored {timeframe} candles of {symbol} from {exchange}, which open from {_day(first)} to {_day(last)} UTC. "
            f"Ask for a time within, or bring more with `freqlstm download`."
        )

    def series(self) -> list[StoredSeries]:
        """Everything that is stored, in order of exchange, symbol and timeframe."""
        found = []
        for exchange in self._place.names():
            for pair in self._place.names(exchange):
                known = [name for name in self._place.names(f"{exchange}/{pair}") if name in TIMEFRAMES]
                for timeframe in sorted(known, key=TIMEFRAMES.__getitem__):
                    folder = f"{exchange}/{pair}/{timeframe}"
                    if months := self._months(folder):
                        symbol = pair.replace("-", "/").replace("_", ":")
                        found.append(StoredSeries(exchange, symbol, timeframe, *self._extent(folder, months)))
        return found

    def spans_missing(
        self, exchange: str, symbol: str, timeframe: str, start: pd.Timestamp, end: pd.Timestamp
    ) -> list[Span]:
        """The half-open spans of [start, end) to ask the exchange for: before, inside and after what is stored.

        Those that :meth:`note_absent` recorded are left out. Both times are rounded up to the grid of the timeframe.
        A stored candle covers one timeframe from its own open time, so off-grid candles leave no splinters.
        """
        folder = _folder(exchange, symbol, timeframe)
        step = step_of(timeframe).value
        low, high = (-(-moment.as_unit("ns").value // step) * step for moment in (start, end))
        months = _within(self._months(folder), _moment(low - step), end)
        opens = self._opens([f"{folder}/{month}.parquet" for month in months])
        opens = opens[(opens > low - step) & (opens < high)]
        begins, ends = np.append(low, opens + step), np.append(opens, high)
        uncovered = ends - begins >= step
        holes = list(zip(begins[uncovered].tolist(), ends[uncovered].tolist(), strict=True))
        for first, last in self._absent(folder):
            holes = [piece for a, b in holes for piece in ((a, min(b, first)), (max(a, last), b))]
        return [(_moment(a), _moment(b)) for a, b in holes if b - a >= step]

    def note_absent(self, exchange: str, symbol: str, timeframe: str, start: pd.Timestamp, end: pd.Timestamp) -> None:
        """Remember that the exchange has no candles that open in [start, end), so that nobody asks for them again."""
        folder = _folder(exchange, symbol, timeframe)
        with self._place.locked(folder):
            joined: list[tuple[int, int]] = []
            for first, last in sorted([*self._absent(folder), (start.as_unit("ns").value, end.as_unit("ns").value)]):
                if joined and first <= joined[-1][1]:
                    first, last = joined[-1][0], max(last, joined.pop()[1])
                joined.append((first, last))
            self._put(f"{folder}/absent.json", [[_moment(first), _moment(last)] for first, last in joined])

    def write_market_rules(self, exchange: str, symbol: str, rules: Mapping[str, Any]) -> None:
        """Keep lot step, minimum notional, tick and the like of one symbol."""
        folder = _folder(exchange, symbol)
        with self._place.locked(folder):
            self._put(f"{folder}/market.json", rules)

    def market_rules(self, exchange: str, symbol: str) -> dict[str, Any] | None:
        """What :meth:`write_market_rules` kept, or None."""
        rules = self._get(f"{_folder(exchange, symbol)}/market.json")
        return None if rules is None else dict(rules)

    def _months(self, folder: str) -> list[str]:
        names = (re.fullmatch(r"(\d{4}-\d\d)\.parquet", name) for name in self._place.names(folder))
        return [match[1] for match in names if match]

    def _read(self, paths: Sequence[str]) -> pd.DataFrame:
        table: pd.DataFrame = pa.concat_tables([self._table(path) for path in paths]).to_pandas().set_index("time")
        return table

    def _opens(self, paths: Sequence[str]) -> np.ndarray:
        """Open times in nanoseconds since 1970 UTC."""
        columns = [self._table(path, ["time"])["time"].cast(pa.int64()).to_numpy() for path in paths]
        return np.concatenate(columns) * 1_000_000 if columns else np.zeros(0, dtype=np.int64)

    def _table(self, path: str, columns: Sequence[str] = SCHEMA.names) -> pa.Table:
        source = io.BytesIO(self._place.read(path) or b"")
        try:
            # one thread: a month is small, and a process that forks later must not inherit a pool
            table = pq.read_table(source, columns=columns, page_checksum_verification=True, use_threads=False)
            return table.cast(pa.schema([SCHEMA.field(name) for name in columns]))
        except (OSError, pa.ArrowException, ValueError) as error:
            raise self._damaged(path, error) from error

    def _extent(self, folder: str, months: Sequence[str]) -> tuple[pd.Timestamp, pd.Timestamp, int]:
        """Open times of the first and last candle, and the rows."""
        opens = self._opens([f"{folder}/{months[0]}.parquet", f"{folder}/{months[-1]}.parquet"])
        return (
            _moment(int(opens[0])),
            _moment(int(opens[-1])),
            sum(self._count(f"{folder}/{month}.parquet") for month in months),
        )

    def _count(self, path: str) -> int:
        try:
            return int(pq.read_metadata(io.BytesIO(self._place.read(path) or b"")).num_rows)
        except (OSError, pa.ArrowException) as error:
            raise self._damaged(path, error) from error

    def _damaged(self, path: str, error: Exception) -> StoreError:
        return StoreError(
            f"{self._place.path(path)} is damaged ({_brief(error)}). Delete it and download or import that month again."
        )

    def _absent(self, folder: str) -> list[tuple[int, int]]:
        return [(pd.Timestamp(a).value, pd.Timestamp(b).value) for a, b in self._get(f"{folder}/absent.json") or []]

    def _put(self, path: str, value: object) -> None:
        self._place.write({path: json.dumps(jsonable(value), indent=2).encode()})

    def _get(self, path: str) -> Any:
        content = self._place.read(path)
        try:
            return None if content is None else json.loads(content)
        except ValueError as error:
            raise StoreError(
                f"{self._place.path(path)} is not JSON ({error}). Delete it: it will be written again."
            ) from None

    def _nothing(self, exchange: str, symbol: str, timeframe: str) -> str:
        known = [f"{one.symbol} {one.timeframe} from {one.exchange}" for one in self.series()]
        there = f"Stored: {', '.join(known[:8])}{', …' if len(known) > 8 else ''}" if known else "Nothing is stored yet"
        return (
            f"No {timeframe} candles of {symbol} from {exchange} are stored. {there}. "
            f"Bring them with `freqlstm download` or `freqlstm import`."
        )


def _folder(exchange: str, symbol: str, timeframe: str | None = None) -> str:
    if not re.fullmatch(r"[a-z0-9][a-z0-9_]*", exchange):
        raise UsageError(f"Exchange {exchange!r} is not written in lower-case letters and digits, as in 'binance'.")
    pair = check_symbol(symbol).replace("/", "-").replace(":", "_")
    if timeframe is None:
        return f"{exchange}/{pair}"
    step_of(timeframe)
    return f"{exchange}/{pair}/{timeframe}"


def _by_month(frame: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    index = pd.DatetimeIndex(frame.index)
    edges = np.flatnonzero(np.diff(index.year * 12 + index.month)) + 1
    bounds = [0, *edges.tolist(), len(frame)]
    for first, last in pairwise(bounds):
        yield f"{index[first]:%Y-%m}", frame.iloc[first:last]


def _within(months: Sequence[str], start: pd.Timestamp | None, end: pd.Timestamp | None) -> list[str]:
    """The months that can hold candles that opened in [start, end)."""
    return [
        month for month in months
        if (start is None or month >= f"{start:%Y-%m}") and (end is None or month <= f"{end:%Y-%m}")
    ]  # fmt: skip


def _merge(stored: pd.DataFrame, rows: pd.DataFrame, what: str, replace: bool) -> tuple[pd.DataFrame, int]:
    """The union of both by open time, and how many of its rows are not in ``stored``."""
    both = stored.index.intersection(rows.index)
    old, new = stored.loc[both].to_numpy(), rows.loc[both].to_numpy()
    differ = (old != new).any(axis=1)
    if differ.any() and not replace:
        row = int(differ.argmax())
        column = int((old[row] != new[row]).argmax())
        raise StoreError(
            f"{int(differ.sum()):,} candles of {what} are stored with other values, the first at {_day(both[row])} UTC: "
            f"{COLUMNS[column]} {old[row, column]} is stored, {new[row, column]} was received. "
            f"Nothing was written: find out which is right, and pass --replace if it is the new one."
        )
    merged = pd.concat([stored.drop(both), rows]).sort_index()
    return merged, len(rows) - len(both) + int(differ.sum())


def _encode(frame: pd.DataFrame) -> bytes:
    buffer = io.BytesIO()
    table = pa.Table.from_pandas(frame.reset_index(), schema=SCHEMA, preserve_index=False).replace_schema_metadata(None)
    pq.write_table(table, buffer, compression="zstd", write_page_checksum=True)
    return buffer.getvalue()


def _moment(nanoseconds: int) -> pd.Timestamp:
    return pd.Timestamp(nanoseconds, unit="ns", tz="UTC")


def _day(moment: pd.Timestamp | None, otherwise: str = "") -> str:
    return otherwise if moment is None else f"{moment:%Y-%m-%d %H:%M:%S}".removesuffix(":00")


def _name(candles: Candles) -> str:
    return f"{candles.symbol} {candles.timeframe} from {candles.exchange}"


def _brief(error: Exception) -> str:
    return str(error).splitlines()[0].rstrip(".") if str(error) else type(error).__name__
