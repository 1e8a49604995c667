"""External series from files: what is read, and one clear sentence for what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from freqlstm.errors import FreqlstmError, SeriesError, StoreError, UsageError
from freqlstm.external import ExternalSeries
from freqlstm.series_files import read_series
from freqlstm.series_store import SeriesStore

GOOD = "date,value,note\n2024-01-01,10,a\n2024-01-02,11.5,b\n2024-01-03,12,c\n"


def read(path: Path, **changes: Any) -> ExternalSeries:
    given: dict[str, Any] = {"name": "mood", "time": "date", "known_after": "1d", "assume_utc": True, **changes}
    return read_series(path, **given)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "mood.csv"
    path.write_text(GOOD)
    return path


def test_each_value_is_known_so_long_after_its_time(file: Path) -> None:
    series = read(file, known_after="36h")
    assert series.value.tolist() == [10.0, 11.5, 12.0]
    assert series.time[0] == pd.Timestamp("2024-01-01", tz="UTC")
    assert series.known_at[0] == pd.Timestamp("2024-01-02 12:00", tz="UTC")


def test_times_of_publication_are_known_at_once(file: Path) -> None:
    series = read(file, known_after="0s")
    assert series.known_at.equals(series.time.rename("known_at"))


@pytest.mark.parametrize(
    "suffix", [".parquet", ".feather", ".json", ".tsv", "-bom.csv", "-newest-first.csv", "-utc.csv"]
)
def test_every_kind_of_file_gives_the_same_series(file: Path, suffix: str) -> None:
    table = pd.read_csv(file)
    other = file.with_name(f"mood{suffix}")
    typed = table.assign(date=pd.to_datetime(table["date"], utc=True))
    if suffix == ".parquet":
        typed.set_index("date").to_parquet(other)
    elif suffix == ".feather":
        typed.to_feather(other)
    elif suffix == ".json":
        other.write_text(json.dumps(table.to_dict("records")))
    elif suffix == ".tsv":
        table.to_csv(other, sep="\t", index=False)
    elif suffix == "-bom.csv":
        other.write_text(GOOD.replace("\n", "\r\n"), encoding="utf-8-sig")
    elif suffix == "-utc.csv":
        other.write_text(
            GOOD.replace("-01,", "-01 00:00:00.000000 UTC,")
            .replace("02,", "02T00:00Z,")
            .replace("03,", "03 00:00+00:00,")
        )
    else:
        table[::-1].to_csv(other, index=False)
    assert (
        read(other, assume_utc=suffix in (".json", ".tsv", "-bom.csv", "-newest-first.csv")).digest == read(file).digest
    )


REFUSED = [
    (GOOD, {"known_after": None}, UsageError,
     "It is not said when a value becomes known. Say how long after its time with --known-after: 1d for the value of a day that is "
     "published when the day is over, 0s for times of publication."),
    (GOOD, {"known_after": "a day"}, UsageError,
     "Duration 'a day' is not understood. Write a number and one of s, m, h, d, w, as in '90d'."),
    (GOOD, {"time": "dat"}, UsageError, "No column in mood.csv named 'dat'. Did you mean 'date'?"),
    (GOOD, {"value": "valeu"}, UsageError, "No column in mood.csv named 'valeu'. Did you mean 'value'?"),
    (GOOD, {"assume_utc": False}, SeriesError,
     "{file}: the times have no time zone, the first is 2024-01-01 00:00:00. If you know that they are UTC, and that a day begins at "
     "midnight UTC, say so with --assume-utc."),
    (GOOD.replace("-01,", "-01T00:00+01:00,").replace("02,", "02T00:00+01:00,").replace("03,", "03T00:00+01:00,"), {}, SeriesError,
     "{file}: the times are in UTC+01:00, the first is 2024-01-01 00:00:00+01:00. They must be UTC: convert them first."),
    (GOOD.replace("-01,", "-01T00:00Z,").replace("02,", "02T00:00+01:00,").replace("03,", "03T00:00+01:00,"), {}, SeriesError,
     "{file}: some times have another zone than others. Write all of them in UTC."),
    (GOOD.replace("02,", "01,"), {}, SeriesError,
     "{file}: the time 2024-01-01 00:00 comes twice, in row 2. Each must come once, in order."),
    (GOOD + "2024-01-02,11.5,b\n", {}, SeriesError,
     "{file}: the time 2024-01-02 00:00 comes twice, in row 4. Each must come once, in order."),
    (GOOD + "2023-12-31,1,b\n", {}, SeriesError,
     "{file}: the time 2023-12-31 00:00 comes after a later one, in row 4. Each must come once, in order."),
    (GOOD.replace("11.5", "n/a"), {}, SeriesError,
     "{file}: 'value' in row 2 (2024-01-02 00:00) is 'n/a'. It must be a number: correct the row or remove it."),
    (GOOD + "2024-01-04,,d\n", {}, SeriesError,
     "{file}: 'value' in row 4 (2024-01-04 00:00) is ''. It must be a number: correct the row or remove it."),
    (GOOD + "2024-01-04,inf,d\n", {}, SeriesError,
     "{file}: 'value' in row 4 (2024-01-04 00:00) is 'inf'. It must be a number: correct the row or remove it."),
    (GOOD + "2024-01-0", {}, StoreError,
     "{file} could not be read (row 4 has 1 fields and the header 3). Is it whole, and of the type that its name says?"),
    (GOOD.replace("2024-01-02", "02/01/2024"), {}, SeriesError,
     "{file}: the time in row 2 is '02/01/2024'. It must be ISO 8601, as in 2024-01-31 or 2024-01-31T00:00:00Z; --time-format tells "
     "another way, as in --time-format '%d/%m/%Y'."),
    ("date,a,b\n2024-01-01,1,2\n", {}, UsageError,
     "{file} has 2 columns of numbers beside 'date', of date, a, b. Say which one with --value."),
    ("date,a\n1704067200,2\n", {}, SeriesError,
     "{file}: the time in row 1 is '1704067200'. It must be ISO 8601, as in 2024-01-31 or 2024-01-31T00:00:00Z; --time-format tells "
     "another way, as in --time-format '%d/%m/%Y'."),
    ("date,value\n", {}, SeriesError, "{file} holds no rows. There must be at least one below the header."),
    ("", {}, StoreError, "{file} could not be read (it is empty). Is it whole, and of the type that its name says?"),
    ("date,a,b,c\n2024-01-01,1,2,3\n2024-01-02,1,2,4\n2024-01-03,7,7,7\n", {"value": "a"}, SeriesError,
     "{file}: the last row (2024-01-03 00:00) holds 7 in all of its 3 columns, as no other row does: it is damaged or of a period that "
     "was not over. Remove it."),
]  # fmt: skip


@pytest.mark.parametrize(("text", "changes", "error", "message"), REFUSED)
def test_what_cannot_be_right_is_refused_with_the_row_and_what_to_do(
    file: Path, text: str, changes: dict[str, Any], error: type[FreqlstmError], message: str
) -> None:
    file.write_text(text)
    with pytest.raises(error) as refused:
        read(file, **changes)
    assert str(refused.value) == message.replace("{file}", str(file))


def test_another_kind_of_file_and_one_that_is_not_there_are_refused(file: Path) -> None:
    with pytest.raises(UsageError, match=r"is of no known type\. A series is read from \.csv, "):
        read(file.with_suffix(".xlsx"))
    with pytest.raises(UsageError, match=r"^There is no file .*other\.csv\. Check the spelling\."):
        read(file.with_name("other.csv"))
    file.with_suffix(".parquet").write_bytes(b"PAR1 half of it")
    with pytest.raises(StoreError, match=r"mood\.parquet could not be read"):
        read(file.with_suffix(".parquet"))


# Recorded series

SLASHED = {"time": "Date", "time_format": "%d/%m/%Y"}
RECORDED = {
    "fear_greed/fear_greed_index_2023_2024.csv": (SLASHED, 605),
    "macro/sp500.csv": (SLASHED, 414),
    "macro/total_crypto_market_cap.csv": (SLASHED, 300),
    "solana_onchain_12h/btc_eth_price.csv": ({"time": "timestamp", "value": "eth_close"}, 361),
    "solana_onchain_12h/network_transaction_counts.csv": ({"time": "bucket_start"}, 361),
    "solana_onchain_12h/solana_tvl_12h.csv": ({"time": "timestamp", "value": "tvl_usd"}, 359),
}


def test_every_recorded_series_is_read_and_stored_as_it_is(real_data: Path, tmp_path: Path) -> None:
    folder = real_data / "external"
    tvl = {path.relative_to(folder).as_posix(): (SLASHED, 61) for path in folder.glob("tvl/*.csv")}
    assert len(tvl) == 23
    assert {*RECORDED, *tvl, "solana_onchain_12h/sol_price.csv"} == {
        path.relative_to(folder).as_posix() for path in folder.rglob("*.csv")
    }
    store = SeriesStore(tmp_path)
    for number, (name, (changes, rows)) in enumerate({**RECORDED, **tvl}.items()):
        series = read(folder / name, name=f"series_{number}", **changes)
        assert len(series) == rows, name
        assert store.write(series, {"source": name}) == rows
        assert store.read(series.name).digest == series.digest
        assert store.write(series, {"source": name}) == 0
    greed = store.read("series_0")
    assert (greed.time[0], greed.value[0]) == (pd.Timestamp("2023-01-01", tz="UTC"), 26.0)
    second_of_february = pd.DatetimeIndex(["2023-02-02"], tz="UTC")  # on which the value of 01/02/2023 is known
    assert greed.as_of(second_of_february).tolist() == [56.0]


def test_the_damaged_last_row_of_a_recorded_series_is_named(real_data: Path) -> None:
    path = real_data / "external" / "solana_onchain_12h" / "sol_price.csv"
    with pytest.raises(SeriesError) as refused:
        read(path, time="timestamp", value="close")
    assert str(refused.value) == (
        f"{path}: the last row (2025-06-03 12:00) holds 160.83943882714195 in all of its 5 columns, as no other row does: it is damaged "
        f"or of a period that was not over. Remove it."
    )


# The store

DAYS = pd.date_range("2024-01-01", periods=4, freq="D", tz="UTC")


def stored(values: list[float], first: int = 0, after: str = "1D") -> ExternalSeries:
    days = DAYS[first : first + len(values)]
    return ExternalSeries.of("mood", days, np.array(values), days + pd.Timedelta(after))


def test_only_what_is_new_is_added_on_either_side(tmp_path: Path) -> None:
    store = SeriesStore(tmp_path)
    assert store.write(stored([2.0, 3.0], first=1), {"source": "a"}) == 2
    assert store.write(stored([1.0, 2.0, 3.0, 4.0]), {"source": "b"}) == 2
    assert store.read("mood").digest == stored([1.0, 2.0, 3.0, 4.0]).digest
    assert (store.names(), store.origin("mood")) == (["mood"], {"source": "b"})


@pytest.mark.parametrize(
    ("other", "told"),
    [
        (
            stored([2.0, 9.0], first=1),
            "1 dates have another value, the first is 2024-01-03 00:00 UTC, 3.0 stored and 9.0 received",
        ),
        (
            stored([2.0], first=1, after="2D"),
            "1 dates have another known_at, the first is 2024-01-02 00:00 UTC, 2024-01-03 00:00:00+00:00 stored and "
            "2024-01-04 00:00:00+00:00 received",
        ),
    ],
)
def test_dates_that_are_stored_otherwise_are_refused_unless_they_are_to_be_replaced(
    tmp_path: Path, other: ExternalSeries, told: str
) -> None:
    store = SeriesStore(tmp_path)
    store.write(stored([1.0, 2.0, 3.0]), {})
    with pytest.raises(SeriesError) as refused:
        store.write(other, {})
    assert str(refused.value) == (
        f"Series mood overlaps what is stored: {told}. Nothing was written: find out which is right, and pass --replace if it is the "
        f"new one."
    )
    assert store.read("mood").digest == stored([1.0, 2.0, 3.0]).digest


def test_values_are_replaced_when_that_is_wanted_and_stay_when_only_new_ones_are(tmp_path: Path) -> None:
    store = SeriesStore(tmp_path)
    assert store.extend(stored([1.0, 2.0]), {}) == (2, 0)
    assert store.extend(stored([1.0, 9.0, 3.0]), {}) == (1, 1)
    assert store.extend(stored([1.0, 2.0, 3.0]), {}) == (0, 0)
    assert store.read("mood").value.tolist() == [1.0, 2.0, 3.0]
    assert store.write(stored([9.0], first=1), {}, replace=True) == 1
    assert store.read("mood").value.tolist() == [1.0, 9.0, 3.0]


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    store = SeriesStore(tmp_path)
    store.write(stored([1.0, 2.0]), {})
    path = tmp_path / "series" / "mood.parquet"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(
        StoreError, match=r"series/mood\.parquet is damaged .* Delete it and import or download that series again\."
    ):
        store.read("mood")


def test_candles_and_series_lie_in_one_folder_without_meeting(tmp_path: Path) -> None:
    from freqlstm.store import CandleStore

    SeriesStore(tmp_path).write(stored([1.0, 2.0]), {})
    assert CandleStore(tmp_path).series() == []


@pytest.mark.parametrize(("day", "row"), [("0001-03-01", 1), ("2200-01-01", 1), ("9999-12-31", 1)])
def test_a_year_that_no_series_is_of_is_refused_with_its_row(file: Path, day: str, row: int) -> None:
    file.write_text(f"date,value\n{day},1\n")
    with pytest.raises(
        SeriesError, match=rf"the time in row {row} is {day}\. It must lie between the years 1700 and 2200: correct"
    ):
        read(file)


@pytest.mark.parametrize("header", ["date,value,value", "date,date,value"])
def test_two_columns_of_one_name_are_refused(file: Path, header: str) -> None:
    file.write_text(f"{header}\n2024-01-01,2024-01-01,3\n")
    again = header.split(",")[1]
    with pytest.raises(
        SeriesError, match=rf"has several columns named '{again}'\. Each needs a name of its own: rename them\.$"
    ):
        read(file, value="value")
