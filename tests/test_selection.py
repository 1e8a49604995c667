"""Which candles a run is about: pairs, exchange, timeframe and time range, or one sentence that says what is wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import make_candles

from freqlstm.candles import Candles
from freqlstm.demo import demo_candles
from freqlstm.errors import FreqlstmError, NoCandles, NoSeries, OffGridCandles, TooFewCandles, UnknownName, UsageError
from freqlstm.external import ExternalSeries
from freqlstm.selection import Selection, candles_of, with_beside
from freqlstm.series_store import SeriesStore
from freqlstm.store import CandleStore, Project


def utc(text: str) -> pd.Timestamp:
    return pd.Timestamp(text, tz="UTC")


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def store(project: Project, *, symbol: str = "BTC/USDT", exchange: str = "binance", rows: int = 3000) -> Candles:
    candles = make_candles(rows, symbol=symbol)
    stored = Candles(candles.frame, symbol, "1m", exchange)
    CandleStore(project.data).write(stored)
    return stored


def test_the_stored_candles_of_the_only_exchange_are_used_without_naming_it(project: Project) -> None:
    stored = store(project)
    warn: list[str] = []
    assert Selection().load(project, warn)["BTC/USDT"].digest == stored.digest
    assert warn == []


def test_an_empty_project_uses_the_demo_market_and_says_that_it_is_synthetic(project: Project) -> None:
    warn: list[str] = []
    market = Selection(timeframe="1d").load(project, warn)
    assert market["BTC/USDT"].digest == demo_candles("BTC/USDT", "1d").digest
    assert market["BTC/USDT"].synthetic
    assert warn == [
        "No candles are stored: this uses the demo market, which is SYNTHETIC. Its results say nothing about real ones."
    ]


def test_a_time_range_is_never_answered_with_the_demo_market_unless_it_is_named(project: Project) -> None:
    with pytest.raises(NoCandles) as refused:
        Selection(timerange="20240110-20240120").load(project, [])
    assert str(refused.value) == (
        f"No 1m candles of BTC/USDT are stored in {project.data}. `freqlstm download -p BTC/USDT -i 1m --days 90` or "
        f"`freqlstm import FILE` stores some; --exchange demo uses the synthetic market."
    )
    assert Selection(timerange="20240110-20240120", exchange="demo", timeframe="1d").load(project, [])


def test_the_pair_that_is_not_stored_is_the_one_that_is_named(project: Project) -> None:
    store(project)
    with pytest.raises(NoCandles, match="No 1m candles of ETH/USDT are stored"):
        Selection(pairs=("BTC/USDT", "ETH/USDT")).load(project, [])


def test_candles_of_two_exchanges_are_not_mixed_up(project: Project) -> None:
    store(project)
    store(project, exchange="kraken")
    with pytest.raises(UsageError) as refused:
        Selection().load(project, [])
    assert str(refused.value) == "BTC/USDT are stored from binance and kraken. Choose one with --exchange."
    assert Selection(exchange="kraken").load(project, [])["BTC/USDT"].exchange == "kraken"


def test_the_demo_market_has_four_pairs(project: Project) -> None:
    with pytest.raises(UnknownName, match=r"No pair of the demo market named 'DOGE/USDT'\."):
        Selection(pairs=("DOGE/USDT",), exchange="demo").load(project, [])


def test_off_grid_candles_are_refused_until_they_are_accepted(project: Project) -> None:
    candles = make_candles(200)
    shifted = candles.frame.set_axis((candles.time + pd.Timedelta(seconds=20)).rename("time"))
    CandleStore(project.data).write(Candles(shifted, "BTC/USDT", "1m", "binance"))
    with pytest.raises(OffGridCandles, match="200 of 200 candles of BTC/USDT 1m do not open on the 1m grid"):
        Selection().load(project, [])
    assert len(Selection(accept_off_grid=True).load(project, [])["BTC/USDT"]) == 200


def test_a_time_range_outside_the_data_says_what_there_is(project: Project) -> None:
    store(project)
    selection = Selection(timerange="20250101-20250201")
    with pytest.raises(NoCandles) as refused:
        selection.span(selection.load(project, []), [])
    assert str(refused.value) == (
        "The time range 20250101-20250201 lies outside the data: BTC/USDT 1m candles reach from 2024-01-01 00:00 to "
        "2024-01-03 02:00 UTC. Choose one inside, or get more candles."
    )


def test_a_time_range_partly_outside_the_data_is_cut_with_a_warning(project: Project) -> None:
    store(project)
    selection, warn = Selection(timerange="20231215-20240201"), list[str]()
    span = selection.span(selection.load(project, []), warn)
    assert span == (utc("2024-01-01"), utc("2024-01-03 02:00"))
    assert [text.split(":")[0] for text in warn] == ["It begins at 2024-01-01 00", "It ends at 2024-01-03 02"]


def test_without_a_time_range_the_first_training_span_is_left_out(project: Project) -> None:
    store(project)
    selection = Selection()
    market = selection.load(project, [])
    assert selection.span(market, [], pd.Timedelta(hours=30)) == (utc("2024-01-03"), utc("2024-01-03 02:00"))
    assert selection.span(market, []) == (utc("2024-01-01"), utc("2024-01-03 02:00"))
    with pytest.raises(TooFewCandles, match="The first fold needs 30 days of candles to train on"):
        selection.span(market, [], pd.Timedelta(days=30))


def test_the_candles_of_a_selection_lie_in_its_time_range(project: Project) -> None:
    store(project)
    market = candles_of(project, [], pairs=(), timeframe=None, timerange="20240102-20240103", exchange="")
    assert (market["BTC/USDT"].time[0], market["BTC/USDT"].time[-1]) == (utc("2024-01-02"), utc("2024-01-02 23:59"))


def test_a_time_range_that_ends_before_it_starts_is_refused() -> None:
    with pytest.raises(UsageError, match=r"ends before it starts\. Swap its two dates\."):
        Selection(timerange="20230401-20230101")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"pairs": ()}, "No pair is given. Name at least one, as in --pairs BTC/USDT."),
        ({"pairs": ("BTCUSDT",)}, "Pair 'BTCUSDT' is not written BASE/QUOTE, as in 'BTC/USDT'."),
        ({"timeframe": "7m"}, "Timeframe '7m' is not known. It must be one of 1s, 5s,"),
    ],
)
def test_a_selection_that_cannot_be_is_refused(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(FreqlstmError) as refused:
        Selection(**wrong)  # type: ignore[arg-type]
    assert str(refused.value).startswith(message)


# What is beside the candles


def test_other_symbols_and_series_are_put_beside_each_symbol_but_not_itself(project: Project) -> None:
    btc, eth = store(project), store(project, symbol="ETH/USDT")
    SeriesStore(project.data).write(mood(btc.time[0]), {})
    warn: list[str] = []
    market = {"BTC/USDT": btc.rows(1000, 3000), "ETH/USDT": eth.rows(1000, 3000)}
    made = with_beside(market, ["BTC/USDT", "mood"], project, warn)
    assert set(made["BTC/USDT"].beside) == {"mood"}
    assert set(made["ETH/USDT"].beside) == {"BTC/USDT", "mood"}
    assert made["ETH/USDT"].beside["BTC/USDT"].digest == btc.rows(1000, 3000).digest
    assert warn == []
    assert with_beside(market, [], project, warn)["BTC/USDT"] is market["BTC/USDT"]


def test_a_pair_that_is_not_traded_comes_from_the_same_exchange(project: Project) -> None:
    eth = store(project, symbol="ETH/USDT", exchange="kraken")
    store(project)
    with pytest.raises(NoCandles) as refused:
        with_beside({"ETH/USDT": eth}, ["BTC/USDT"], project, [])
    assert str(refused.value) == (
        "A feature of ETH/USDT reads the candles of BTC/USDT, of the same exchange and timeframe. No 1m candles of BTC/USDT "
        "from kraken are stored. Stored: BTC/USDT 1m from binance, ETH/USDT 1m from kraken. Bring them with `freqlstm download` "
        "or `freqlstm import`."
    )
    demo = {"BTC/USDT": demo_candles("BTC/USDT", "1d")}
    assert with_beside(demo, ["SOL/USDT"], project, [])["BTC/USDT"].beside["SOL/USDT"].exchange == "demo"
    with pytest.raises(
        NoCandles, match=r"^A feature of BTC/USDT reads the candles of DOGE/USDT, .* No pair of the demo market"
    ):
        with_beside(demo, ["DOGE/USDT"], project, [])


def test_a_series_that_is_not_stored_is_told_with_what_stores_it(project: Project) -> None:
    btc = store(project)
    SeriesStore(project.data).write(mood(btc.time[0]), {})
    with pytest.raises(NoSeries) as refused:
        with_beside({"BTC/USDT": btc}, ["mod"], project, [])
    assert str(refused.value) == (
        "No stored external series named 'mod'. Did you mean 'mood'? `freqlstm import-series mod FILE --time COLUMN --known-after "
        "1d` or `freqlstm download-series` stores one."
    )


def test_what_lacks_at_either_end_is_told(project: Project) -> None:
    eth = store(project, symbol="ETH/USDT")
    btc = make_candles(3000)
    CandleStore(project.data).write(Candles(btc.frame.iloc[600:2000], "BTC/USDT", "1m", "binance"))
    SeriesStore(project.data).write(mood(eth.time[0]), {})
    warn: list[str] = []
    with_beside({"ETH/USDT": eth}, ["BTC/USDT", "mood"], project, warn)
    ends = "the candles of ETH/USDT close from 2024-01-01 00:01 to 2024-01-03 02:00 UTC"
    assert warn == [
        f"BTC/USDT is known from 2024-01-01 10:01 UTC on only; {ends}. Before, predictions that need it are missing.",
        f"Nothing of BTC/USDT that is newer than 2024-01-02 09:20 UTC is stored; {ends}. Get the newest.",
    ]
    warn.clear()
    with_beside({"ETH/USDT": eth}, ["BTC/USDT"], project, warn, since=eth.time[601])
    assert [sentence[:16] for sentence in warn] == ["Nothing of BTC/U"]
    warn.clear()
    with_beside({"ETH/USDT": eth.rows(0, 500)}, ["BTC/USDT"], project, warn)
    assert warn == [
        "Nothing of BTC/USDT was known in time: the candles of ETH/USDT close from 2024-01-01 00:01 to 2024-01-01 08:20 UTC. "
        "Predictions that need it are missing."
    ]


def mood(first: pd.Timestamp) -> ExternalSeries:
    """A value for each hour, known an hour later, from two hours before ``first`` on."""
    time = pd.date_range(first - pd.Timedelta(hours=2), periods=52, freq="h")
    return ExternalSeries.of("mood", time, np.arange(52.0), time + pd.Timedelta(hours=1))
