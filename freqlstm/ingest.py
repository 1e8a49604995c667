"""Candles from files: exchange dumps, freqtrade's data, CSV, Parquet, Feather and JSON."""

from __future__ import annotations

import gzip
import io
import json
import re
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from freqlstm.candles import COLUMNS, TIMEFRAMES, Candles, canonical, check_symbol, step_of, validate
from freqlstm.errors import CandleError, StoreError, UsageError

SUFFIXES = (".csv", ".csv.gz", ".csv.zip", ".zip", ".parquet", ".feather", ".json", ".json.gz")

TIME_NAMES = ("time", "open_time", "opentime", "timestamp", "date", "datetime", "unix", "ts")
BINANCE_DUMP = ("time", "open", "high", "low", "close", "volume")  # the first 6 of its 12 columns; it has no header

QUOTES = (
    "FDUSD", "USDT", "USDC", "BUSD", "TUSD", "USDP", "USD", "EUR", "GBP", "JPY", "TRY", "BRL", "AUD", "DAI", "BTC", "ETH", "BNB",
)  # fmt: skip

EPOCH_UNITS = (("s", 1e8, 1e10), ("ms", 1e11, 1e13), ("us", 1e14, 1e16), ("ns", 1e17, 9.2e18))  # 1973 to 2286
ZONE = r"[T ].*(?:[Zz]|[+-]\d\d(?::?\d\d)?)$"  # of a time in ISO 8601


def find_files(path: Path) -> list[Path]:
    """The candle files in a folder and the folders below it, sorted; a file is its own list."""
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise UsageError(f"There is no file or folder {path}. Check the spelling.")
    found = sorted(file for file in path.rglob("*") if _holds_candles(file))
    if not found:
        raise UsageError(f"{path} holds no file that ends in {', '.join(SUFFIXES)}.")
    return found


def _holds_candles(file: Path) -> bool:
    name = file.name.lower()
    other = re.search(r"-(mark|index|funding_rate|trades)\b", name)  # what freqtrade keeps in the same folder
    return name.endswith(SUFFIXES) and not name.startswith(".") and not other and file.is_file()


def read_file(
    path: Path,
    symbol: str | None = None,
    timeframe: str | None = None,
    exchange: str | None = None,
    assume_utc: bool = False,
) -> Candles:
    """Candles from one file, checked like all others: what cannot be right is refused, nothing is repaired.

    What is not given is taken from the file's name (see :func:`guess`), the timeframe failing that from the commonest distance
    between rows. Rows from the newest to the oldest are turned around. Times are ISO 8601 or an epoch in s, ms, us or
    ns; without a time zone they are refused unless ``assume_utc``.
    """
    guessed = guess(path)
    symbol = symbol or guessed.symbol
    exchange = exchange or guessed.exchange
    if symbol is None or exchange is None:
        what, flag = ("pair", "--pairs BTC/USDT") if symbol is None else ("exchange", "--exchange binance")
        raise UsageError(f"The name of {path} does not tell its {what}. Say it, for example with {flag}.")
    table, timeframe = read_rows(path, timeframe, assume_utc)
    validate(table, str(path))
    return Candles(canonical(table), check_symbol(symbol), timeframe, exchange)


def read_rows(path: Path, timeframe: str | None = None, assume_utc: bool = False) -> tuple[pd.DataFrame, str]:
    """The rows of a file as bad as they may be, and their timeframe: what a quality report looks at before an import."""
    table = _open_times(_table(path), path, assume_utc)
    if not len(table):
        raise CandleError(f"{path} holds no candles.")
    return table, _timeframe(table, timeframe or guess(path).timeframe, path)


@dataclass(frozen=True)
class Guess:
    """What the name of a file tells."""

    exchange: str | None = None
    symbol: str | None = None
    timeframe: str | None = None


def guess(path: Path) -> Guess:
    """Exchange, symbol and timeframe from names such as these; None for each that the name does not tell.

    ``binance/BTC_USDT-1m.feather`` (freqtrade), ``BTCUSDT-1m-2021-01.zip`` (Binance's dumps),
    ``BINANCE_BTCUSDT_1m_20210101.parquet``, ``binance/BTC-USDT/1m/2021-01.parquet`` (a store of freqlstm).
    """
    stem = path.name.split(".")[0]
    parts = [part for part in re.split(r"[_\-\s]+", stem) if part]
    place = next((number for number, part in enumerate(parts) if part in TIMEFRAMES), None)
    if place is None and path.parent.name in TIMEFRAMES:  # a store's own layout
        inner = guess(path.parent.parent / f"{path.parent.parent.name}-{path.parent.name}{path.suffix}")
        return Guess(path.parent.parent.parent.name or None, inner.symbol, inner.timeframe)
    dump = bool(place == 1 and re.fullmatch(r"[A-Z0-9]+-[0-9]+[a-z]-\d{4}-\d\d(-\d\d)?", stem))
    names = [part.upper() for part in parts[:place]] if place is not None else [part.upper() for part in parts[:3]]
    symbol, before = _symbol(names)
    exchange = before[-1].lower() if before and place is not None else "binance" if dump else None
    folder = path.parent.parent if path.parent.name == "futures" else path.parent
    if exchange is None and folder.parent.name == "data":  # freqtrade: user_data/data/EXCHANGE/[futures/]
        exchange = folder.name.lower()
    return Guess(exchange, symbol, None if place is None else parts[place])


def _symbol(names: Sequence[str]) -> tuple[str | None, Sequence[str]]:
    """The pair at the end of ``names``, and what stands before it."""
    if len(names) >= 3 and names[-1] == names[-2] and names[-1] in QUOTES:  # freqtrade's futures: BTC_USDT_USDT
        return f"{names[-3]}/{names[-2]}:{names[-1]}", names[:-3]
    if len(names) >= 2 and names[-1] in QUOTES:
        return f"{names[-2]}/{names[-1]}", names[:-2]
    for number in range(len(names) - 1, -1, -1):
        for quote in QUOTES:
            base = names[number].removesuffix(quote)
            if base and base != names[number]:
                return f"{base}/{quote}", names[:number]
    return None, ()


def _table(path: Path) -> pd.DataFrame:
    """The raw rows under lower-case column names."""
    name = path.name.lower()
    try:
        if name.endswith(".parquet"):
            return _named(pd.read_parquet(path, page_checksum_verification=True))  # where there are checksums
        if name.endswith(".feather"):
            return _named(pd.read_feather(path))
        if name.endswith((".json", ".json.gz")):  # freqtrade: [[epoch in ms, open, high, low, close, volume], ...]
            rows = json.loads(_content(path))
            if not isinstance(rows, list) or len({len(row) if isinstance(row, list) else -1 for row in rows}) > 1:
                raise ValueError("it is not a list of rows of one length")
            return _headless(pd.DataFrame(rows), path)
        if name.endswith(SUFFIXES):
            return _csv(_content(path), path)
    except FileNotFoundError:
        raise UsageError(f"There is no file {path}. Check the spelling.") from None
    except (OSError, ValueError, zipfile.BadZipFile, EOFError) as error:
        brief = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise StoreError(
            f"{path} could not be read ({brief}). Is it whole, and of the type that its name says?"
        ) from error
    raise UsageError(f"{path} is of no known type. Candles are read from {', '.join(SUFFIXES)}.")


def _content(path: Path) -> bytes:
    content = path.read_bytes()
    if path.suffix == ".gz":
        return gzip.decompress(content)
    if path.suffix == ".zip":
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return archive.read(archive.namelist()[0])
    return content


def _csv(content: bytes, path: Path) -> pd.DataFrame:
    lines = content[:4096].decode("utf-8-sig", errors="replace").splitlines()
    skip = 1 if lines and "," not in lines[0] and ";" not in lines[0] and "\t" not in lines[0] else 0  # a title line
    head = lines[skip] if len(lines) > skip else ""
    separator = max(",;\t", key=head.count)
    headless = bool(re.match(r'"?\d', head))
    table = pd.read_csv(
        io.BytesIO(content), sep=separator, header=None if headless else 0, skiprows=skip, engine="pyarrow"
    )  # pyarrow's reader: fast, and exact to the last bit
    return _headless(table, path) if headless else _named(table)


def _headless(table: pd.DataFrame, path: Path) -> pd.DataFrame:
    if table.shape[1] not in (6, 12):
        raise CandleError(
            f"{path} has {table.shape[1]} columns and no header. Without a header there must be 6 "
            f"({', '.join(BINANCE_DUMP)}) or the 12 of Binance's dumps: add a header."
        )
    return table.iloc[:, :6].set_axis(list(BINANCE_DUMP), axis=1)


def _named(table: pd.DataFrame) -> pd.DataFrame:
    if isinstance(table.index, pd.DatetimeIndex):
        table = table.rename_axis("time").reset_index()
    names = [re.sub(r"[\s_]+", "_", str(name).strip().lower()) for name in table.columns]
    if "volume" not in names:  # "Volume BTC", "Volume USDT": the first is that of the base asset
        volume = [number for number, name in enumerate(names) if name.startswith("volume_")]
        if volume:
            names[volume[0]] = "volume"
    return table.set_axis(names, axis=1)


def _open_times(table: pd.DataFrame, path: Path, assume_utc: bool) -> pd.DataFrame:
    """The five columns under their open times, oldest first."""
    name = next((name for name in TIME_NAMES if name in table.columns), None)
    missing = [column for column in COLUMNS if column not in table.columns]
    if name is None or missing:
        lacking = "a column of open times" if name is None else f"column {missing[0]!r}"
        raise CandleError(
            f"{path} lacks {lacking}: it has {', '.join(map(str, table.columns))}. "
            f"Candles need a time ({', '.join(TIME_NAMES)}) and {', '.join(COLUMNS)}."
        )
    times = _times(table[name], path, assume_utc)
    rows = table[list(COLUMNS)].set_axis(times, axis=0)
    if len(times) > 1 and times.is_monotonic_decreasing and times.is_unique:
        rows = rows.iloc[::-1]
    return rows


def _times(column: pd.Series, path: Path, assume_utc: bool) -> pd.DatetimeIndex:
    if pd.api.types.is_numeric_dtype(column):
        return _epoch(column, path)
    if not pd.api.types.is_datetime64_any_dtype(column):
        try:
            column = pd.to_datetime(column, format="ISO8601")
        except ValueError as error:
            try:
                several = pd.to_datetime(column, format="ISO8601", utc=True)  # several offsets in one file
            except ValueError:
                brief = str(error).splitlines()[0].partition(". ")[0].rstrip(".")
                raise CandleError(
                    f"{path}: a time is neither ISO 8601 nor an epoch: {brief}. Write times as in 2024-01-31T23:59:00Z."
                ) from None
            bare = column.notna() & ~column.astype(str).str.contains(ZONE)
            if bare.any() and not assume_utc:
                raise CandleError(
                    f"{path}: some times have a time zone and some have none, the first of those is {column[bare].iloc[0]}. "
                    f"Write all of them as in 2024-01-31T23:59:00Z."
                ) from None
            column = several
    times = pd.DatetimeIndex(column)
    strange = times[(times.year < 1970) | (times.year > 2261)]
    if len(strange):
        raise CandleError(
            f"{path}: a row has the time {strange[0]}. Times must lie between 1970 and 2261: correct or remove that row."
        )
    if times.tz is None:
        if not assume_utc:
            raise CandleError(
                f"{path}: the times have no time zone, the first is {times[0] if len(times) else 'absent'}. "
                f"If you know that they are UTC, say so with --assume-utc."
            )
        times = times.tz_localize("UTC")
    return times.tz_convert("UTC")


def _epoch(column: pd.Series, path: Path) -> pd.DatetimeIndex:
    numbers = column.to_numpy()
    if np.isnan(numbers).any():
        raise CandleError(
            f"{path}: row {int(np.isnan(numbers).argmax())} has no time. Every candle needs its open time."
        )
    low, high = (float(numbers.min()), float(numbers.max())) if len(numbers) else (1e9, 1e9)
    for unit, least, most in EPOCH_UNITS:
        if least <= low and high < most:
            if unit == "s" and numbers.dtype.kind == "f":  # fractions of a second
                numbers, unit = np.rint(numbers * 1e3), "ms"
            return pd.DatetimeIndex(numbers.astype(np.int64).astype(f"datetime64[{unit}]"), tz="UTC")
    raise CandleError(
        f"{path}: the times go from {low:.0f} to {high:.0f}, which is no epoch in seconds, milliseconds, microseconds or "
        f"nanoseconds between 1973 and 2286. One file must keep to one unit."
    )


def _timeframe(table: pd.DataFrame, timeframe: str | None, path: Path) -> str:
    """The timeframe that is said, unless the rows contradict it; the one that the rows show if none is said."""
    distance = np.abs(np.diff(pd.DatetimeIndex(table.index).as_unit("ns").asi8)) / 1e9
    values, counts = np.unique(distance[distance > 0], return_counts=True)  # duplicated rows tell nothing
    commonest = float(values[counts.argmax()]) if len(values) else None
    shown = next((name for name, seconds in TIMEFRAMES.items() if seconds == commonest), None)
    if timeframe is None:
        if shown is None:
            raise UsageError(
                f"Neither the name of {path} nor its rows tell the timeframe. Say it, for example with -i 1m."
            )
        return shown
    step = step_of(timeframe).total_seconds()
    if commonest is not None and (commonest < step or (len(distance) > 1 and step not in values)):
        raise CandleError(
            f"{path} is said to hold {timeframe} candles, but most of its rows are {commonest:g} seconds apart. "
            f"Give the timeframe that it has{f': -i {shown}' if shown else ''}."
        )
    return timeframe
