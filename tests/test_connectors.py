"""Sources of external series: their documented answers, from a server on this machine, and every way they can fail."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest
from series_server import Service

from freqlstm.connectors import SOURCES, CoinGecko, DefiLlama, FearGreed, Fred, LunarCrush, Source, StockToFlow
from freqlstm.connectors.stock_to_flow import HALVINGS, stock_to_flow
from freqlstm.errors import (
    AccessDenied,
    BadAnswer,
    ExchangeUnavailable,
    FreqlstmError,
    NoSeries,
    RateLimited,
    UnknownName,
    UsageError,
)

NOW = pd.Timestamp("2024-03-05 10:00", tz="UTC")
KEY = "abcdefghijklmnopqrstuvwxyz012345"


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    monkeypatch.setenv("FRED_API_KEY", KEY)
    monkeypatch.setenv("LUNARCRUSH_API_KEY", KEY)
    monkeypatch.delenv("COINGECKO_API_KEY", raising=False)
    with Service() as made:
        yield made


def source(service: Service, kind: type[Source]) -> Source:
    return kind(service.url, sleep=service.waits.append)


def seconds(text: str) -> int:
    return int(pd.Timestamp(text, tz="UTC").timestamp())


def days(series: Any) -> list[str]:
    return [f"{day:%Y-%m-%d}" for day in series.time]


# What each of them answers


def greed(values: dict[str, str], error: str | None = None) -> dict[str, Any]:
    """As alternative.me writes it: the newest first, numbers as texts."""
    rows = [
        {"value": value, "value_classification": "Fear", "timestamp": str(seconds(day))}
        for day, value in values.items()
    ]
    rows[0]["time_until_update"] = "50400"
    return {"name": "Fear and Greed Index", "data": rows, "metadata": {"error": error}}


GREED = greed({"2024-03-05": "90", "2024-03-04": "82", "2024-03-03": "80", "2024-03-02": "79"})


def test_fear_and_greed_is_known_a_day_after_its_date_and_today_is_not_taken(service: Service) -> None:
    service.answers["/fng/"] = lambda params: GREED
    series = source(service, FearGreed).fetch((), now=NOW)
    assert days(series) == ["2024-03-02", "2024-03-03", "2024-03-04"]
    assert series.value.tolist() == [79.0, 80.0, 82.0]
    assert (series.known_at - series.time == pd.Timedelta(days=1)).all()
    assert service.requests[0].params == {"limit": "0", "format": "json"}
    assert days(source(service, FearGreed).fetch((), pd.Timestamp("2024-03-04", tz="UTC"), NOW)) == ["2024-03-04"]


def test_total_value_locked_of_a_chain_and_of_a_protocol(service: Service) -> None:
    rows = [(seconds("2024-03-03"), 2.5e9), (seconds("2024-03-04"), 2.6e9), (seconds("2024-03-05 09:00"), 2.7e9)]
    service.answers["/v2/historicalChainTvl/Arbitrum"] = lambda params: [{"date": t, "tvl": v} for t, v in rows]
    service.answers["/protocol/aave-v3"] = lambda params: {
        "name": "Aave V3", "tvl": [{"date": t, "totalLiquidityUSD": v} for t, v in rows], "chainTvls": {},
    }  # fmt: skip
    for what, name in (
        (("chain", "Arbitrum"), "defillama_chain_arbitrum"),
        (("protocol", "aave-v3"), "defillama_protocol_aave_v3"),
    ):
        series = source(service, DefiLlama).fetch(what, now=NOW)
        assert (series.name, days(series), series.value.tolist()) == (
            name,
            ["2024-03-03", "2024-03-04"],
            [2.5e9, 2.6e9],
        )


def test_coingecko_gives_midnights_and_not_the_moment_of_the_question(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    midnights = [seconds(f"2024-03-0{day}") * 1000 for day in (3, 4, 5)]
    caps = [
        [midnights[0], 1.21e12],
        [midnights[1], 1.24e12],
        [midnights[2], 1.34e12],
        [seconds("2024-03-05 08:31") * 1000 + 77, 1.3e12],
    ]
    service.answers["/coins/bitcoin/market_chart/range"] = lambda params: {
        "prices": [],
        "market_caps": caps,
        "total_volumes": [],
    }
    series = source(service, CoinGecko).fetch(("bitcoin", "market_caps"), pd.Timestamp("2024-03-03", tz="UTC"), NOW)
    assert days(series) == ["2024-03-03", "2024-03-04", "2024-03-05"]
    assert (series.known_at - series.time == pd.Timedelta(hours=1)).all()
    asked = service.requests[0]
    assert asked.params == {"vs_currency": "usd", "from": "1709424000", "to": "1709632800", "interval": "daily"}
    assert "x-cg-demo-api-key" not in asked.headers
    monkeypatch.setenv("COINGECKO_API_KEY", KEY)
    source(service, CoinGecko).fetch(("bitcoin", "market_caps"), now=NOW)
    assert service.requests[1].headers["x-cg-demo-api-key"] == KEY
    assert service.requests[1].params["from"] == str(seconds("2023-03-07"))  # a free plan shows 365 days


def test_lunarcrush_gives_the_figure_that_is_named_where_it_has_one(service: Service) -> None:
    rows = [
        {"time": seconds("2024-03-02"), "galaxy_score": 61, "alt_rank": 120, "sentiment": 80},
        {"time": seconds("2024-03-03"), "galaxy_score": None, "alt_rank": 110, "sentiment": 81},
        {"time": seconds("2024-03-04"), "galaxy_score": 66.5, "alt_rank": 90, "sentiment": 79},
        {"time": seconds("2024-03-05"), "galaxy_score": 70, "alt_rank": 80, "sentiment": 78},
    ]
    service.answers["/public/coins/BTC/time-series/v2"] = lambda params: {"config": {"bucket": "day"}, "data": rows}
    series = source(service, LunarCrush).fetch(("BTC", "galaxy_score"), now=NOW)
    assert (days(series), series.value.tolist()) == (["2024-03-02", "2024-03-04"], [61.0, 66.5])
    assert series.known_at[-1] == pd.Timestamp("2024-03-05 01:00", tz="UTC")
    assert service.requests[0].headers["Authorization"] == f"Bearer {KEY}"
    assert service.requests[0].params == {"bucket": "day", "start": "1546300800", "end": "1709632800"}
    with pytest.raises(UnknownName, match=r"^No figure of LunarCrush named 'galaxy'\. Did you mean 'galaxy_score'\?"):
        source(service, LunarCrush).fetch(("BTC", "galaxy"), now=NOW)


# (date, published on, value): January's rate is revised in March; April 2019 was published twice.
RELEASES = [
    ("2018-12-01", "2019-01-04", "3.9"), ("2019-01-01", "2019-02-01", "4.0"), ("2019-04-01", "2019-05-03", "3.6"),
    ("2019-04-01", "2019-06-07", "3.7"), ("2023-12-01", "2024-01-05", "3.7"), ("2024-01-01", "2024-02-02", "3.7"),
    ("2024-02-01", "2024-02-20", "."), ("2024-01-01", "2024-03-04", "3.8"),
]  # fmt: skip


def observations(params: dict[str, str]) -> dict[str, Any]:
    """As FRED answers about a span of publications: days of publication before it are given as its beginning."""
    begin, end = params["realtime_start"], params["realtime_end"]
    rows = []
    for number, (date, published, value) in enumerate(RELEASES):
        ends = min((other[1] for other in RELEASES[number + 1 :] if other[0] == date), default="9999-12-31")
        if published <= end and ends > begin:
            rows.append(
                {"realtime_start": max(published, begin), "realtime_end": min(ends, end), "date": date, "value": value}
            )
    rows.sort(key=lambda row: (row["date"], row["realtime_start"]))
    offset = int(params["offset"])
    return {"count": len(rows), "offset": offset, "limit": 2, "observations": rows[offset : offset + 2]}


def test_fred_gives_the_first_publication_of_each_observation_from_the_day_after_it(service: Service) -> None:
    service.answers["/fred/series/observations"] = observations
    series = source(service, Fred).fetch(("UNRATE",), pd.Timestamp("2018-06-01", tz="UTC"), NOW)
    assert days(series) == ["2018-12-01", "2019-01-01", "2019-04-01", "2023-12-01", "2024-01-01"]
    assert series.value.tolist() == [3.9, 4.0, 3.6, 3.7, 3.7]
    assert [f"{moment:%Y-%m-%d %H}" for moment in series.known_at] == [
        "2019-01-05 06", "2019-02-02 06", "2019-05-04 06", "2024-01-06 06", "2024-02-03 06",
    ]  # fmt: skip
    spans = sorted({(asked.params["realtime_start"], asked.params["realtime_end"]) for asked in service.requests})
    assert spans == [("2018-06-01", "2023-05-31"), ("2023-06-01", "2024-03-05")]
    assert {asked.params["api_key"] for asked in service.requests} == {KEY}


def test_of_what_was_published_before_the_first_day_asked_for_only_the_newest_is_left(service: Service) -> None:
    service.answers["/fred/series/observations"] = observations
    series = source(service, Fred).fetch(("UNRATE",), pd.Timestamp("2019-03-01", tz="UTC"), NOW)
    assert days(series) == ["2019-04-01", "2023-12-01", "2024-01-01"]


def test_stock_to_flow_doubles_at_a_halving_and_depends_on_no_later_one(monkeypatch: pytest.MonkeyPatch) -> None:
    series = StockToFlow().fetch((), now=NOW)
    assert days(series)[0] == "2009-01-04"
    assert series.known_at[-1] == pd.Timestamp("2024-03-05", tz="UTC")
    around = pd.DatetimeIndex(["2020-05-11", "2020-05-12", "2024-04-20", "2024-04-21", "2026-04-21"], tz="UTC")
    ratio = stock_to_flow(around)
    np.testing.assert_allclose(ratio[1], (210_000 * 87.5 + 144 * 6.25) / (6.25 * 144 * 365))
    np.testing.assert_allclose(ratio[[1, 3]] / ratio[[0, 2]], 2.0, rtol=0.01)
    assert 25 < stock_to_flow(pd.DatetimeIndex(["2019-03-01"], tz="UTC"))[0] < 28  # PlanB says 25 for 2019
    days_before = pd.date_range("2009-01-04", "2024-04-20", freq="D", tz="UTC")
    before = stock_to_flow(days_before)
    monkeypatch.setattr("freqlstm.connectors.stock_to_flow.HALVINGS", HALVINGS[:-1])
    np.testing.assert_array_equal(stock_to_flow(days_before[:-200]), before[:-200])
    assert (np.diff(before) > 0).all()


# What can go wrong

FAR = {"Retry-After": "3600"}
FAULTS: list[tuple[tuple[int, bytes, dict[str, str]], type[FreqlstmError], str, int]] = [
    ((429, b'{"status":{"error_code":429,"error_message":"You\'ve exceeded the Rate Limit."}}', {}), RateLimited,
     "fear_greed refuses so many requests (You've exceeded the Rate Limit). Wait, then run it again. What was stored stays.", 5),
    ((429, b"", FAR), RateLimited, "fear_greed refuses so many requests. Wait, then run it again. What was stored stays.", 1),
    ((503, b"<html>down</html>", {}), ExchangeUnavailable,
     "fear_greed answered with HTTP 503. Try again later. What was stored stays.", 5),
    ((401, b'{"error": "Unauthorized"}', {}), AccessDenied,
     "fear_greed refuses the key or the plan, with HTTP 401 (Unauthorized). Check its key.", 1),
    ((404, b'{"error": "coin not found"}', {}), UsageError,
     "fear_greed does not know what was asked for, with HTTP 404 (coin not found). Check the names.", 1),
    ((200, b"<html>maintenance</html>", {}), BadAnswer,
     "fear_greed answered with what is not JSON. Try again later. What was stored stays.", 1),
    ((200, b'{"data": [', {}), BadAnswer, "fear_greed answered with what is not JSON. Try again later. What was stored stays.", 1),
    ((302, b"", {"Location": "https://example.org/"}), BadAnswer,
     "fear_greed answered with HTTP 302. Try again later. What was stored stays.", 1),
    ((200, b'{"data": []}', {}), BadAnswer,
     "fear_greed answered with another body than it documents ('metadata'). It may have changed: nothing was stored.", 1),
    ((200, b"[1, 2]", {}), BadAnswer,
     "fear_greed answered with another body than it documents (list indices must be integers or slices, not str). It may have changed: nothing was stored.", 1),
    ((200, json.dumps(greed({"2024-03-04": "high"})).encode(), {}), BadAnswer,
     "fear_greed answered with the row '1709510400', 'high', which is not a time and a number. It may have changed: nothing was stored.", 1),
    ((200, json.dumps(greed({"2024-03-04": "nan"})).encode(), {}), BadAnswer,
     "fear_greed answered with the row '1709510400', 'nan', which cannot be right. It may have changed: nothing was stored.", 1),
    ((200, json.dumps(greed({"2024-03-04": "5"}, "out of order")).encode(), {}), BadAnswer,
     "fear_greed answered with the error 'out of order'. It may have changed: nothing was stored.", 1),
]  # fmt: skip


@pytest.mark.parametrize(("fault", "error", "message", "tries"), FAULTS)
def test_every_failure_is_one_sentence_after_as_many_tries_as_are_worth_it(
    service: Service, fault: tuple[int, bytes, dict[str, str]], error: type[FreqlstmError], message: str, tries: int
) -> None:
    service.faults.extend([fault] * tries)
    with pytest.raises(error) as refused:
        source(service, FearGreed).fetch((), now=NOW)
    assert str(refused.value) == message
    assert len(service.requests) == tries
    assert service.waits == [1.0, 2.0, 4.0, 8.0][: tries - 1]


def test_a_source_that_recovers_is_asked_again_when_it_says(service: Service) -> None:
    service.answers["/fng/"] = lambda params: GREED
    service.faults.extend([None, (500, b"", {}), (429, b"", {"Retry-After": "7"})])
    assert len(source(service, FearGreed).fetch((), now=NOW)) == 3
    assert service.waits == [1.0, 2.0, 7.0]


def test_a_source_that_is_not_there_is_told_and_its_address_and_key_are_not(service: Service) -> None:
    service.faults.extend([None] * 5)
    with pytest.raises(ExchangeUnavailable) as refused:
        source(service, Fred).fetch(("DGS10",), now=NOW)
    assert str(refused.value) == "fred did not answer (ConnectionError). Check the connection. What was stored stays."


def test_a_key_that_is_refused_is_not_repeated(service: Service) -> None:
    told = f"Bad Request.  The value for variable api_key {KEY} is not registered."
    service.faults.append((400, json.dumps({"error_code": 400, "error_message": told}).encode(), {}))
    with pytest.raises(AccessDenied) as refused:
        source(service, Fred).fetch(("DGS10",), now=NOW)
    assert str(refused.value) == (
        "fred refuses the key or the plan, with HTTP 400 (Bad Request. The value for variable api_key … is not registered). Check its key."
    )


def test_two_values_of_one_time_are_refused(service: Service) -> None:
    rows = [{"date": seconds("2024-03-03"), "tvl": 1.0}, {"date": seconds("2024-03-03"), "tvl": 2.0}]
    service.answers["/v2/historicalChainTvl/Sei"] = lambda params: rows
    with pytest.raises(
        BadAnswer, match=r"^defillama answered with two values for 2024-03-03 00:00:00, 1\.0 and 2\.0\."
    ):
        source(service, DefiLlama).fetch(("chain", "Sei"), now=NOW)


@pytest.mark.parametrize("kind", [Fred, LunarCrush])
def test_a_key_that_is_missing_is_told_with_where_to_put_it(
    kind: type[Source], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(kind.key, raising=False)
    with pytest.raises(AccessDenied) as refused:
        kind().fetch(kind.example)
    assert str(refused.value) == f"{kind.name} needs a key. Put it into the environment variable {kind.key}."


@pytest.mark.parametrize("kind", SOURCES.values())
def test_too_much_or_too_little_is_told_with_an_example(kind: type[Source]) -> None:
    with pytest.raises(UsageError) as refused:
        kind().fetch(("a", "b", "c"))
    wanted = " ".join(kind.asks) or "nothing more"
    example = " ".join(("freqlstm download-series", kind.name, *kind.example))
    assert str(refused.value) == f"{kind.name} was given a b c. It needs {wanted}, as in `{example}`."


def test_nothing_known_since_then_is_told(service: Service) -> None:
    service.answers["/fng/"] = lambda params: GREED
    with pytest.raises(
        NoSeries, match=r"^fear_greed has no value of it that was known by now\. Ask for an earlier time\."
    ):
        source(service, FearGreed).fetch((), pd.Timestamp("2024-03-05", tz="UTC"), NOW)


def test_another_server_must_be_encrypted_or_on_this_machine() -> None:
    with pytest.raises(UsageError, match=r"^Base URL 'http://example\.org' cannot be used\."):
        FearGreed("http://example.org").fetch(())
