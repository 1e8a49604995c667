"""Where external series live: ``data/series/NAME.parquet``, every write atomic."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from freqlstm.errors import NoSeries, SeriesError, StoreError, UnknownName
from freqlstm.external import ExternalSeries, check_series_name
from freqlstm.place import Place

FOLDER = "series"
DAMAGED = (OSError, ValueError, KeyError, TypeError, SeriesError)  # what reading half a file can end in


class SeriesStore:
    """External series in a folder or behind an fsspec URL, beside the candles.

    A series is written whole or not at all, and processes of one machine take turns.
    """

    def __init__(self, url: str | Path) -> None:
        self._place = Place(url)

    def names(self) -> list[str]:
        """Every series that is stored, sorted."""
        files = self._place.names(FOLDER)
        return [name.removesuffix(".parquet") for name in files if name.endswith(".parquet")]

    def read(self, name: str) -> ExternalSeries:
        """The stored series of that name; NoSeries, saying what there is, if there is none."""
        return self._table(name)[0]

    def origin(self, name: str) -> dict[str, Any]:
        """What was stored with a series: where it came from, and how long after its time a value becomes known."""
        return self._table(name)[1]

    def write(self, series: ExternalSeries, origin: Mapping[str, Any], replace: bool = False) -> int:
        """Add rows to what is stored, and replace its ``origin`` (JSON); returns how many rows were added or changed.

        Rows that are stored already with the same value and moment are left alone. A time that is stored with another
        value, or as known at another moment, is a SeriesError and nothing is written, unless ``replace``.
        """
        path = f"{FOLDER}/{check_series_name(series.name)}.parquet"
        with self._place.locked(FOLDER):
            table, count = series.frame.reset_index(), len(series)
            if series.name in self.names():
                stored = self.read(series.name).frame.reset_index()
                table, count = _merged(stored, table, series.name, replace)
            if count:
                index = pd.DatetimeIndex(table["known_at"])
                checked = ExternalSeries.of(
                    series.name, pd.DatetimeIndex(table["time"]), table["value"].to_numpy(), index
                )
                self._place.write({path: _encode(checked.frame, origin)})
        return count

    def extend(self, series: ExternalSeries, origin: Mapping[str, Any]) -> tuple[int, int]:
        """Add the rows whose time is not stored yet; (rows added, stored rows that ``series`` tells otherwise, which stay)."""
        if series.name not in self.names():
            return self.write(series, origin), 0
        stored = self.read(series.name)
        there = series.time.isin(stored.time)
        old, new = (each.frame.reset_index().set_index("time") for each in (stored, series))
        revised = int((old.loc[series.time[there]] != new.loc[series.time[there]]).any(axis=1).sum())
        fresh = ExternalSeries(series.frame[~there], series.name)
        return (self.write(fresh, origin) if len(fresh) else 0), revised

    def _table(self, name: str) -> tuple[ExternalSeries, dict[str, Any]]:
        path = f"{FOLDER}/{check_series_name(name)}.parquet"
        content = self._place.read(path)
        if content is None:
            raise NoSeries(str(UnknownName("stored external series", name, self.names(), _advice(name))))
        try:
            table = pd.read_parquet(io.BytesIO(content), engine="pyarrow", page_checksum_verification=True)
            origin = {str(key): value for key, value in table.attrs.items()}
            time, value = pd.DatetimeIndex(table["time"]), table["value"].to_numpy(np.float64)
            return ExternalSeries.of(name, time, value, pd.DatetimeIndex(table["known_at"])), origin
        except DAMAGED as error:
            brief = str(error).splitlines()[0].rstrip(".") if str(error) else type(error).__name__
            raise StoreError(
                f"{self._place.path(path)} is damaged ({brief}). Delete it and import or download that series again."
            ) from error


def _advice(name: str) -> str:
    return (
        f"`freqlstm import-series {name} FILE --time COLUMN --known-after 1d` or `freqlstm download-series` stores one."
    )


def _encode(frame: pd.DataFrame, origin: Mapping[str, Any]) -> bytes:
    table = frame.reset_index()
    table.attrs.update(origin)
    buffer = io.BytesIO()
    table.to_parquet(buffer, engine="pyarrow", compression="zstd", write_page_checksum=True)
    return buffer.getvalue()


def _merged(stored: pd.DataFrame, rows: pd.DataFrame, name: str, replace: bool) -> tuple[pd.DataFrame, int]:
    """The union of both by time, and how many of its rows are not in ``stored``."""
    old, new = stored.set_index("time"), rows.set_index("time")
    both = old.index.intersection(new.index)
    differ = (old.loc[both] != new.loc[both]).to_numpy()
    if differ.any() and not replace:
        row = int(differ.any(axis=1).argmax())
        column = old.columns[int(differ[row].argmax())]
        was, is_ = old.loc[both[row], column], new.loc[both[row], column]
        raise SeriesError(
            f"Series {name} overlaps what is stored: {int(differ.any(axis=1).sum()):,} dates have another {column}, the first is "
            f"{both[row]:%Y-%m-%d %H:%M} UTC, {was} stored and {is_} received. Nothing was written: find out which is right, and "
            f"pass --replace if it is the new one."
        )
    merged = pd.concat([old.drop(both), new]).sort_index().reset_index()
    return merged, len(new) - len(both) + int(differ.any(axis=1).sum())
