"""Candles in any order, twice, late and corrected become bars that come once and in order."""

from __future__ import annotations

import dataclasses
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freqlstm.errors import BadAnswer
from freqlstm.paper.assembler import REST, STREAM, Assembler, Gap, Released, Revision, listed, streamed
from freqlstm.paper.records import Bundle, Candle

STEP = 60_000
SYMBOLS = ("A/B", "C/B")


def candle(row: int, close: int = 1) -> Candle:
    return Candle(row * STEP, *map(Decimal, (1, 2, 1, close, 5)))


def assembler(first: int = 0) -> Assembler:
    return Assembler(SYMBOLS, STEP, first * STEP, 0.5)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(SYMBOLS), st.integers(-3, 8), st.integers(1, 2)), max_size=60))
def test_whatever_comes_bars_are_handed_over_once_whole_and_in_order(arrivals: list[tuple[str, int, int]]) -> None:
    one = assembler()
    released: list[Released] = []
    for symbol, row, close in arrivals:
        released += one.offer(symbol, [candle(row, close)], STREAM, 0)
    bundles = [each for each in released if isinstance(each, Bundle)]
    assert [bundle.open_ms for bundle in bundles] == [row * STEP for row in range(len(bundles))]
    assert all(tuple(bundle.candles) == SYMBOLS for bundle in bundles)
    seen = {(symbol, row) for symbol, row, _ in arrivals}
    whole = 0
    while all((symbol, whole) in seen for symbol in SYMBOLS):
        whole += 1
    assert len(bundles) == whole
    for each in released:
        if isinstance(each, Revision):
            assert each.candle.open_ms < one.next_ms


def test_rest_is_the_authority_until_a_bar_is_handed_over() -> None:
    one = assembler()
    one.offer("A/B", [candle(0, 1)], REST, 0)
    one.offer("A/B", [candle(0, 2)], STREAM, 0)
    (bundle,) = one.offer("C/B", [candle(0)], STREAM, 0)
    assert isinstance(bundle, Bundle)
    assert bundle.candles["A/B"].close == 1
    assert bundle.source == REST
    assert one.offer("A/B", [candle(0, 1)], REST, 0) == []
    assert one.offer("A/B", [candle(0, 2)], REST, 0) == [Revision("A/B", candle(0, 2), REST)]
    assert one.offer("A/B", [candle(0, 2)], REST, 0) == []


def test_a_bar_is_stale_half_a_bar_after_its_close() -> None:
    for late, stale in ((0, False), (STEP // 2, False), (STEP // 2 + 1, True)):
        one = assembler()
        one.offer("A/B", [candle(0)], STREAM, 0)
        (bundle,) = one.offer("C/B", [candle(0)], STREAM, STEP + late)
        assert isinstance(bundle, Bundle)
        assert bundle.stale is stale


def test_what_is_missing_is_known_a_moment_after_its_close() -> None:
    one = assembler()
    assert one.missing("A/B", STEP + 99, 100) == []
    assert one.missing("A/B", STEP + 100, 100) == [0]
    one.offer("A/B", [candle(1)], STREAM, 0)
    assert one.missing("A/B", 3 * STEP + 100, 100) == [0, 2 * STEP]
    assert one.missing("C/B", 3 * STEP + 100, 100) == [0, STEP, 2 * STEP]


def test_candles_that_the_exchange_lacks_are_gaps_of_one_or_all_symbols() -> None:
    one = assembler()
    one.offer("C/B", [candle(0)], STREAM, 0)
    gap, bundle = one.prove_absent("A/B", [0], 0)
    assert gap == Gap(0, ("A/B",))
    assert isinstance(bundle, Bundle)
    assert tuple(bundle.candles) == ("C/B",)
    one.prove_absent("A/B", [STEP], 0)
    assert one.prove_absent("C/B", [STEP], 0) == [Gap(STEP, SYMBOLS)]
    assert one.next_ms == 2 * STEP


def test_bars_of_before_a_restart_are_remembered() -> None:
    one = assembler(first=5)
    one.remember("A/B", [candle(4)])
    assert one.offer("A/B", [candle(4, 2), candle(3, 2)], REST, 0) == [Revision("A/B", candle(4, 2), REST)]


def test_memory_does_not_grow() -> None:
    one = assembler()
    for row in range(2000):
        for symbol in SYMBOLS:
            one.offer(symbol, [candle(row)], STREAM, 0)
    assert len(one._recent) <= 2 * 120 * len(SYMBOLS) + len(SYMBOLS)
    assert one._rows == {}


def test_candles_that_cannot_be_are_refused() -> None:
    with pytest.raises(BadAnswer, match="no multiple of the timeframe"):
        assembler().offer("A/B", [dataclasses.replace(candle(0), open_ms=5)], STREAM, 0)
    for row in ([0, "1", "2", "1", "x", "5"], [0, "1", "2", "1", "NaN", "5"], [0, "1"], [], "code", {"code": 1}, None):
        with pytest.raises(BadAnswer, match="a candle that cannot be read"):
            listed(row)  # type: ignore[arg-type]
    with pytest.raises(BadAnswer, match="a candle that cannot be read"):
        streamed({"t": 1})
    kline = {"t": 60_000, "o": "1.10", "h": "2", "l": "1", "c": "1.5", "v": "7", "x": True}
    assert streamed(kline) == Candle(60_000, *map(Decimal, ("1.1", "2", "1", "1.5", "7")))
    assert streamed(kline).floats == (1.1, 2.0, 1.0, 1.5, 7.0)
