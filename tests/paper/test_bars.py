"""Bars through the real client: closed candles of every symbol, each once, in order, whatever the streams do."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path

import pytest
from paper_world import BTC, ETH, MINUTE, QUICK, START, World, bundles, halt, intent, shown, until

from freqlstm.errors import ExchangeUnavailable, PaperError
from freqlstm.paper import candle_stream
from freqlstm.paper.records import Bundle, Halt, State

KLINES = ("kline_missing", "kline_late", "kline_duplicate", "kline_out_of_order", "kline_corrected", "kline_unfinished")


def follow(world: World, gateway: object, count: int) -> list[Bundle]:
    """Step candle by candle, as a slow market would."""
    found = []
    for _ in range(count):
        world.step()
        found += bundles(gateway, 1)  # type: ignore[arg-type]
    return found


def test_every_closed_candle_comes_once_in_order_for_all_symbols_at_once(two: World) -> None:
    gateway = two.gateway()
    found = follow(two, gateway, 6)
    assert all(tuple(bundle.candles) == (BTC, ETH) for bundle in found)
    for symbol in (BTC, ETH):
        assert [shown(bundle, symbol) for bundle in found] == two.candles(symbol, 6)
        assert [candle.floats for candle in gateway.journal.bars(symbol)] == [
            values for _, values in two.candles(symbol, 6)
        ]
    assert not any(bundle.stale for bundle in found)
    assert {bundle.source for bundle in found} == {"stream"}


@pytest.mark.parametrize("kind", KLINES)
def test_a_stream_that_errs_changes_nothing(two: World, kind: str) -> None:
    gateway = two.gateway()
    found = follow(two, gateway, 2)
    two.arm(kind, count=2, symbol="BTCUSDT")
    found += follow(two, gateway, 4)
    until(lambda: two.consumed.get(kind, 0) >= 1)
    for symbol in (BTC, ETH):
        mine = [shown(bundle, symbol) for bundle in found]
        assert [open_ms for open_ms, _ in mine] == [open_ms for open_ms, _ in two.candles(symbol, 6)]
        if kind != "kline_corrected":
            assert mine == two.candles(symbol, 6)
    assert gateway.bundles.empty()


def test_a_correction_of_a_bar_that_was_decided_upon_is_journaled_and_not_fed_again(world: World) -> None:
    gateway = world.gateway()
    follow(world, gateway, 1)
    world.arm("kline_corrected")
    (wrong,) = follow(world, gateway, 1)
    world.step(0, 2)
    until(gateway.journal.revisions)
    ((symbol, right),) = gateway.journal.revisions()
    assert (right.open_ms, right.floats) == world.candles(BTC, 1, 61)[0]
    assert shown(wrong, symbol) != (right.open_ms, right.floats)
    assert gateway.journal.bar(BTC, right.open_ms) == wrong.candles[BTC]
    assert gateway.bundles.empty()


STREAM_FAULTS = {"close": {}, "abort": {}, "shutdown": {"seconds": 0.2}, "stall": {}, "half_open": {}}


@pytest.mark.parametrize("kind", STREAM_FAULTS)
def test_a_stream_that_breaks_or_falls_silent_loses_no_bar(two: World, kind: str) -> None:
    pace = dataclasses.replace(QUICK, silence=1.0)
    gateway = two.gateway(pace=pace)
    found = follow(two, gateway, 1)
    two.strike(kind, "market", **STREAM_FAULTS[kind])
    two.step()
    gateway.health()
    found += bundles(gateway, 1, 15)
    found += follow(two, gateway, 1)
    assert [shown(bundle, ETH) for bundle in found] == two.candles(ETH, 3)


def test_bars_that_passed_unheard_come_late_and_are_stale(world: World) -> None:
    gateway = world.gateway()
    follow(world, gateway, 1)
    world.strike("stall", "market")
    world.step(3)
    found = bundles(gateway, 3)
    assert [shown(bundle, BTC) for bundle in found] == world.candles(BTC, 3, 61)
    assert [bundle.stale for bundle in found] == [True, True, False]
    assert {bundle.source for bundle in found} == {"rest"}


def test_a_minute_that_the_exchange_lacks_is_a_gap_and_the_bars_after_it_go_on(two: World) -> None:
    gateway = two.gateway()
    found = follow(two, gateway, 1)
    two.do(lambda: two.sandbox.venue.maintain(2))
    two.step(4)
    found += bundles(gateway, 2, 15)
    assert [bundle.open_ms for bundle in found] == [START, START + MINUTE, START + 4 * MINUTE]
    missing = [START + 2 * MINUTE, START + 3 * MINUTE]
    assert sorted(gateway.journal.gaps()) == sorted((symbol, open_ms) for symbol in (BTC, ETH) for open_ms in missing)


def test_without_streams_bars_come_by_asking(two: World) -> None:
    gateway = two.gateway(poll=True)
    found = follow(two, gateway, 3)
    assert [shown(bundle, BTC) for bundle in found] == two.candles(BTC, 3)
    assert {bundle.source for bundle in found} == {"rest"}
    assert gateway.health().mode == "poll"
    order = gateway.submit(intent(gateway))
    until(lambda: gateway.journal.order(order.cid).state == State.FILLED)  # type: ignore[union-attr]


def test_history_comes_page_by_page_without_the_candle_that_is_open(world: World) -> None:
    gateway = world.gateway()
    found = gateway.history(BTC, START - 60 * MINUTE, START + 10 * MINUTE)
    assert [(candle.open_ms, candle.floats) for candle in found] == world.candles(BTC, 60, 0)


def test_a_session_begins_with_the_candle_that_it_is_told(world: World) -> None:
    gateway = world.gateway(since_ms=START - 5 * MINUTE)
    found = bundles(gateway, 5)
    assert [shown(bundle, BTC) for bundle in found] == world.candles(BTC, 5, 55)
    assert [bundle.stale for bundle in found] == [True] * 4 + [False]


def test_a_candle_that_still_forms_at_a_lagging_exchange_is_not_taken_whatever_our_clock_says(world: World) -> None:
    gateway = world.gateway(pace=dataclasses.replace(QUICK, clock=60.0))
    follow(world, gateway, 1)
    clock = gateway._room.clock
    clock.at_least(world.sandbox.venue.now + 2 * MINUTE)
    ahead = clock.ticks()
    until(lambda: gateway._room.candles.asked > ahead)  # for the candle that seems late
    time.sleep(0.2)
    assert gateway.bundles.empty()
    (bundle,) = follow(world, gateway, 1)
    assert shown(bundle, BTC) == world.candles(BTC, 1, 61)[0]


def test_a_clock_that_jumps_by_an_hour_halts_entries_and_recovers(world: World) -> None:
    gateway = world.gateway(target=dataclasses.replace(world.target, stepped=False))
    follow(world, gateway, 1)
    clock = gateway._room.clock
    until(
        lambda: not clock._leapt_ms and not gateway.health().halted
    )  # the minute that was stepped is no news any more
    world.do(lambda: world.sandbox.skew(3_600_000))
    until(lambda: "The exchange's clock jumped by +3,600" in gateway.health().halted)
    until(lambda: not clock.jump_ms)  # it keeps time again, an hour later
    time.sleep(0.5)
    assert gateway.health().halted  # but its candles are an hour behind
    world.do(lambda: world.sandbox.skew(0))
    until(lambda: "jumped by -3,600" in gateway.health().halted)
    until(lambda: not gateway.health().halted)
    told = []
    while not gateway.bundles.empty():
        told.append(gateway.bundles.get())
    assert all(isinstance(each, Halt) for each in told)  # no candle that was still forming was taken
    (bundle,) = follow(world, gateway, 1)
    assert shown(bundle, BTC) == world.candles(BTC, 1, 61)[0]
    until(lambda: not gateway.health().halted)
    assert gateway.submit(intent(gateway)).state == State.SENT


def test_silence_is_told_and_ends_with_the_next_bar(world: World) -> None:
    gateway = world.gateway(pace=dataclasses.replace(QUICK, patience=0.0))
    gateway._room.candles.bar -= 130
    assert "No candle has come for 120 s" in halt(gateway).reason
    assert gateway.submit(intent(gateway)).note.startswith("trading is halted: No candle has come")
    follow(world, gateway, 1)
    assert gateway.health().halted == ""


def test_a_market_that_runs_faster_than_time_is_followed_by_its_own_clock(tmp_path: Path) -> None:
    world = World(tmp_path, speed=120.0)  # half a second a candle
    try:
        gateway = world.gateway(pace=dataclasses.replace(QUICK, grace=0.1))
        found = bundles(gateway, 4)
        assert [bundle.open_ms - found[0].open_ms for bundle in found] == [0, MINUTE, 2 * MINUTE, 3 * MINUTE]
        assert not any(bundle.stale for bundle in found[1:])
        order = gateway.submit(intent(gateway))
        until(lambda: gateway.journal.order(order.cid).state == State.FILLED)  # type: ignore[union-attr]
        assert abs(gateway.now_ms() - world.now) < 60 * 120
    finally:
        world.close()


def test_a_question_that_is_not_answered_is_one_line(world: World) -> None:
    gateway = world.gateway()
    world.arm("unknown", path="/api/v3/account", count=1)
    with pytest.raises(ExchangeUnavailable, match=r"The exchange did not answer \(privateGetAccount: -1006 "):
        gateway.balances()
    gateway.stop()
    with pytest.raises(PaperError, match="The gateway is not running"):
        gateway.balances()


def test_many_pages_of_missed_bars_come_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(candle_stream, "PAGE", 10)
    world = World(tmp_path)
    try:
        gateway = world.gateway(since_ms=START - 55 * MINUTE, pace=dataclasses.replace(QUICK, tick=10.0))
        assert [shown(bundle, BTC) for bundle in bundles(gateway, 55)] == world.candles(BTC, 55, 5)
    finally:
        world.close()
