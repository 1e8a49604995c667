"""Candles that come one by one and orders that an exchange fills give the trades of the backtest."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import backtrader as bt
import numpy as np
import pandas as pd
import pytest
from conftest import make_candles, read_real
from paper.counter import Counter, rules_of, trade_live
from trading import candles_of, flat, run, scripted

from freqlstm.bars import CONDITIONS, Bars, Decisions
from freqlstm.candles import Candles
from freqlstm.costs import Costs, MarketRules
from freqlstm.engines.backtrader import ExposureSizer
from freqlstm.paper import feed
from freqlstm.paper.broker import PaperBroker
from freqlstm.paper.decision import Decision
from freqlstm.paper.dispatch import KEPT
from freqlstm.paper.outcome import TOO_LITTLE
from freqlstm.paper.records import BUY, SELL, STOP, Fill, Intent, Order, OrderEvent, State
from freqlstm.strategy import Strategy, decide

COSTS = Costs(commission=0.001, slippage=0.0)
LOTS = MarketRules(0.00001, 5.0)


def one_by_one(decisions: Decisions) -> list[Decision]:
    """The rows of a table of decisions."""
    share = decisions.share
    return [
        Decision(
            *(bool(getattr(decisions, name)[row]) for name in CONDITIONS),
            share=None if share is None else float(share[row]),
        )
        for row in range(len(decisions.enter_long))
    ]


def live(strategy: type[Strategy], *symbols: Candles, counter: Counter, cash: float = 1000.0, **parameters: Any) -> Any:
    """(strategy that ran, its broker) over candles that came one by one."""
    market = {candles.symbol: candles for candles in symbols}
    decisions = {symbol: one_by_one(decide(strategy, parameters, Bars(candles))) for symbol, candles in market.items()}
    told: list[tuple[str, str]] = []
    broker = PaperBroker(counter, cash, COSTS, lambda kind, text: told.append((kind, text)))
    ran = trade_live(strategy, market, decisions, counter, broker, **parameters)
    return ran, broker, told


class Churn(Strategy):
    """Trades often, on nothing in particular."""

    def enter_long(self, bars: Bars) -> Any:
        return (bars.close.shift(1) > bars.close) & (bars.close.shift(2) > bars.close.shift(1))

    def exit_long(self, bars: Bars) -> Any:
        return bars.close > bars.close.shift(9)


@pytest.mark.parametrize(
    "rules",
    [
        {}, {"stop_loss": 0.002}, {"trailing_stop": 0.002}, {"take_profit": 0.002}, {"max_holding": 7}, {"exposure": 0.3},
    ],
    ids=lambda rules: "-".join(rules) or "plain",
)  # fmt: skip
def test_the_trades_are_those_of_the_backtest(real_data: Path, rules: dict[str, float]) -> None:
    candles = read_real(real_data, "BINANCE_BTCUSDT_1m_20210101_20231231.parquet", "BTC/USDT", "1m")
    candles = candles.between(pd.Timestamp("2021-04-25 02:00", tz="UTC"), pd.Timestamp("2021-04-25 16:00", tz="UTC"))
    ours = run(Churn, candles, cash=1000.0, costs=COSTS, rules=LOTS, **rules)
    # A stop at the exchange lies on a tick; with a fine one the prices are the same.
    counter = Counter(in_base=False, tick="0.00000001")
    _, broker, told = live(Churn, candles, counter=counter, **rules)
    assert len(ours.fills) > 10
    made = broker.holdings.fills
    assert [(fill.row, fill.size < 0, fill.reason) for fill in made] == [
        (fill.row, fill.size < 0, fill.reason) for fill in ours.fills
    ]
    np.testing.assert_allclose([fill.size for fill in made], [fill.size for fill in ours.fills], rtol=1e-9)
    np.testing.assert_allclose([fill.price for fill in made], [fill.price for fill in ours.fills], rtol=1e-9)
    np.testing.assert_allclose(np.array(broker.equity), ours.equity["equity"], rtol=1e-9)
    assert not [text for kind, text in told if kind != "fill"]


def test_commission_in_the_base_asset_makes_the_position_smaller_and_what_cannot_be_sold_is_dust() -> None:
    candles = make_candles(400)
    counter = Counter(in_base=True)
    ours = run(Churn, candles, costs=COSTS, rules=LOTS)
    _, broker, told = live(Churn, candles, counter=counter)
    made = broker.holdings.fills
    entries = [fill for fill in made if fill.size > 0]
    assert len(entries) == len([fill for fill in ours.fills if fill.size > 0]) > 5
    first = counter.sent[0]
    assert entries[0].size == pytest.approx(float(first.quantity) * 0.999)
    assert counter.sent[1].quantity == counter.rules("BTC/USDT").floor(first.quantity * counter.commission * 999)
    assert any(kind == "dust" for kind, _ in told)
    assert broker.holdings.dust["BTC/USDT"] < counter.rules("BTC/USDT").lot_step, "it is sold with a later exit"
    bought = sum(i.quantity * (1 - counter.commission) for i in counter.sent if i.side == "buy")
    sold = sum(intent.quantity for intent in counter.sent if intent.side == "sell")
    assert bought - sold == broker.holdings.held["BTC/USDT"] + broker.holdings.dust["BTC/USDT"], "to the last digit"
    np.testing.assert_allclose(np.array(broker.equity), ours.equity["equity"], rtol=2e-4)


def test_one_stop_rests_at_the_exchange_and_a_profit_beside_it_is_taken_at_the_close_that_touched_it() -> None:
    rows = [*flat(100, 3), (100, 100, 100, 100), (100, 103, 100, 101), *flat(101, 4)]
    strategy = scripted(enter_long=[1], stop_loss=0.05, take_profit=0.02)
    counter = Counter(in_base=False)
    _, broker, _ = live(strategy, candles_of(*rows), counter=counter)
    kinds = [(intent.kind, intent.side, intent.reason) for intent in counter.sent]
    assert kinds == [("market", "buy", "enter_long"), ("stop", "sell", "stop_loss"), ("market", "sell", "take_profit")]
    assert [(fill.row, fill.price, fill.reason) for fill in broker.holdings.fills] == [
        (2, 100.0, "enter_long"), (5, 101.0, "take_profit"),
    ]  # fmt: skip
    assert not broker.dispatch.open


def test_the_tighter_of_two_stops_is_the_one_that_rests() -> None:
    rows = [*flat(100, 3), (100, 106, 100, 106), (106, 106, 106, 106), (106, 106, 90, 95), *flat(95, 3)]
    strategy = scripted(enter_long=[1], stop_loss=0.02, trailing_stop=0.03)
    counter = Counter(in_base=False)
    _, broker, _ = live(strategy, candles_of(*rows), counter=counter)
    stops = [(intent.reason, float(intent.stop_price or 0)) for intent in counter.sent if intent.kind == "stop"]
    assert stops == [("stop_loss", 98.0), ("trailing_stop", 102.82)]
    assert [fill.reason for fill in broker.holdings.fills] == ["enter_long", "trailing_stop"]


def test_with_two_stops_the_trades_are_those_of_the_backtest_but_the_tighter_stop_fills_where_one_candle_touches_both(
    real_data: Path,
) -> None:
    candles = read_real(real_data, "BINANCE_BTCUSDT_1m_20210101_20231231.parquet", "BTC/USDT", "1m")
    candles = candles.between(pd.Timestamp("2021-04-25 05:00", tz="UTC"), pd.Timestamp("2021-04-25 16:00", tz="UTC"))
    rules = {"stop_loss": 0.003, "trailing_stop": 0.002}
    ours = run(Churn, candles, costs=COSTS, rules=LOTS, **rules)
    _, broker, _ = live(Churn, candles, counter=Counter(in_base=False, tick="0.00000001"), **rules)
    made = broker.holdings.fills
    assert [(fill.row, fill.size < 0) for fill in made] == [(fill.row, fill.size < 0) for fill in ours.fills]
    for fill, theirs in zip(made, ours.fills, strict=True):
        assert fill.reason == theirs.reason or (fill.reason == "trailing_stop" and fill.price > theirs.price)


def test_no_entry_on_a_candle_that_came_too_late_and_the_exit_all_the_same() -> None:
    candles = candles_of(*flat(100, 8))
    strategy = scripted(enter_long=[1, 3], exit_long=[5])
    counter = Counter(in_base=False)
    broker = PaperBroker(counter, 1000.0, COSTS, lambda kind, text: None)
    decided = {"BTC/USDT": one_by_one(decide(strategy, {}, Bars(candles)))}
    late = {1, 5}  # rows

    class Late(strategy):  # type: ignore[misc, valid-type]
        def next(self) -> None:
            self.data.fresh = len(self.data) - 1 not in late
            super().next()

    trade_live(Late, {"BTC/USDT": candles}, decided, counter, broker)
    assert [(refusal.decided_row, refusal.why) for refusal in broker.refusals] == [
        (1, "the candle came too late to enter on")
    ]
    assert [(fill.row, fill.size > 0) for fill in broker.holdings.fills] == [(4, True), (6, False)]


def test_an_exit_that_the_exchange_ends_unfilled_is_sent_again_at_the_next_close() -> None:
    class Stubborn(Counter):
        def trade(self, symbol: str, candle: tuple[float, ...]) -> None:
            for order in self.working(symbol):
                if order.intent.reason == "exit_long" and len(self.sent) == 2:
                    done = self.orders[order.cid] = replace(order, state=State.EXPIRED, note="no depth")
                    self.events.append(OrderEvent(done))
            super().trade(symbol, candle)

    counter = Stubborn(in_base=False)
    _, broker, told = live(scripted(enter_long=[1], exit_long=[3]), candles_of(*flat(100, 8)), counter=counter)
    assert [(intent.reason, intent.side) for intent in counter.sent] == [
        ("enter_long", "buy"), ("exit_long", "sell"), ("exit_long", "sell"),
    ]  # fmt: skip
    assert broker.holdings.held["BTC/USDT"] == 0
    assert ("refusal", "BTC/USDT exit_long: no depth") in told


class Unkind(Counter):
    """Accepts no stops, and sells half of what it is asked to, ``times`` times."""

    def __init__(self, times: int = 0) -> None:
        super().__init__(in_base=False)
        self.times = times

    def submit(self, intent: Intent) -> Order:
        order = super().submit(intent)
        if intent.kind == STOP:
            self.events.pop()
            self._end(order, State.NOT_ACCEPTED)
        return order

    def _fill(self, order: Order, price: float) -> None:
        if order.intent.side == SELL and self.times:
            self.times -= 1
            half = rules_of(order.intent.symbol).floor(order.intent.quantity / 2)
            super()._fill(replace(order, intent=replace(order.intent, quantity=half)), price)
            event = self.events.pop()
            done = self.orders[order.cid] = replace(order, state=State.EXPIRED, executed=half)
            self.events.append(OrderEvent(done, event.fills))
        else:
            super()._fill(order, price)


FALL = [*flat(100, 4), (100, 100, 95, 95), *flat(95, 5)]


def test_two_protections_that_do_not_rest_and_are_touched_at_once_sell_the_position_once() -> None:
    strategy = scripted(enter_long=[1], stop_loss=0.02, trailing_stop=0.01)
    counter = Unkind()
    _, broker, _ = live(strategy, candles_of(*FALL), counter=counter)
    assert [intent.reason for intent in counter.sent if intent.kind == "market"] == ["enter_long", "stop_loss"]
    assert broker.holdings.held["BTC/USDT"] == 0
    assert not broker.dispatch.open


def test_a_touched_protection_that_sold_a_part_goes_on_at_the_next_closes_until_all_is_sold() -> None:
    counter = Unkind(times=2)
    _, broker, told = live(scripted(enter_long=[1], stop_loss=0.02), candles_of(*FALL), counter=counter)
    sold = [fill.size for fill in broker.holdings.fills if fill.size < 0]
    assert len(sold) == 3
    assert [fill.reason for fill in broker.holdings.fills][1:] == ["stop_loss"] * 3
    assert broker.holdings.held["BTC/USDT"] == 0
    assert not broker.dispatch.open
    assert sum("did not sell everything" in text for _, text in told) == 2


class Slow(Counter):
    """Refuses to move a stop, and says so a candle later; what is in doubt cannot be cancelled."""

    def replace(self, cid: str, intent: Intent) -> Order:
        self.sent.append(intent)
        self.orders[intent.cid] = Order(intent, 1, State.SENT, sent_ms=0)
        return self.orders[intent.cid]

    def cancel(self, cid: str) -> None:
        if self.orders[cid].intent.kind != STOP or self.orders[cid] is not self.moved:
            super().cancel(cid)

    @property
    def moved(self) -> Order | None:
        """The stop that is to stand for another one, while it is not known to be refused."""
        stops = [order for order in self.orders.values() if order.intent.kind == STOP]
        return stops[-1] if len(stops) > 1 and not stops[-1].state.final else None

    def trade(self, symbol: str, candle: tuple[float, ...]) -> None:
        doubted, self.doubted = self.doubted, self.moved
        super().trade(symbol, candle)
        if doubted is not None and doubted is self.moved:
            self._end(doubted, State.NOT_ACCEPTED)

    doubted: Order | None = None


@pytest.mark.parametrize("stops", [{"trailing_stop": 0.05}, {"trailing_stop": 0.05, "stop_loss": 0.04}])
def test_an_exit_while_a_stop_is_being_moved_sells_even_where_the_move_is_refused(stops: dict[str, float]) -> None:
    rows = [*flat(100, 4), (100, 110, 100, 110), *flat(110, 8)]
    counter = Slow(in_base=False)
    _, broker, _ = live(scripted(enter_long=[1], exit_long=[5], **stops), candles_of(*rows), counter=counter)
    assert [intent.reason for intent in counter.sent][-1] == "exit_long"
    assert broker.holdings.held["BTC/USDT"] == 0
    assert not counter.working("BTC/USDT")
    assert not broker.dispatch.open


class OwnLoop(bt.Strategy):
    """A plain Backtrader strategy: an average, orders without a size, and notifications."""

    params = (("period", 10),)

    def __init__(self) -> None:
        self.average = bt.ind.SMA(self.data.close, period=self.p.period)
        self.closed: list[float] = []
        self.seen: list[int] = []

    def next(self) -> None:
        self.seen.append(len(self.data))
        if not self.position and self.data.close[0] < self.average[0]:
            self.buy()
        elif self.position and self.data.close[0] > self.average[0]:
            self.close()

    def notify_trade(self, trade: Any) -> None:
        if trade.isclosed:
            self.closed.append(trade.pnlcomm)


def test_a_plain_backtrader_strategy_trades_the_same_and_hears_of_its_trades() -> None:
    candles = make_candles(300, seed=11)
    ours = run(OwnLoop, candles, costs=COSTS, rules=LOTS)
    counter = Counter(in_base=False)
    broker = PaperBroker(counter, 1000.0, COSTS, lambda kind, text: None)

    class Sized(OwnLoop):
        def __init__(self) -> None:
            super().__init__()
            self.setsizer(ExposureSizer())

    ran = trade_live(Sized, {"BTC/USDT": candles}, None, counter, broker)
    assert ran.seen == list(range(10, 301))
    made = broker.holdings.fills
    assert len(made) > 10
    assert [(fill.row, fill.size, fill.price) for fill in made] == [
        (fill.row, pytest.approx(fill.size), fill.price) for fill in ours.fills
    ]
    assert len(ran.closed) == len(made) // 2


def test_a_strategy_with_its_own_next_reads_its_predictions_and_nan_before_the_first_bar() -> None:
    candles = make_candles(200, seed=12)
    table = pd.DataFrame({"prediction": np.sin(np.arange(200) / 5)}, index=candles.time)

    class Own(Strategy):
        signals = {"prediction": "lstm"}

        def next(self) -> None:
            before = self.prediction[-3]
            if not self.position and self.prediction[0] > 0.5 and not before > 0.9:
                self.buy(size=1.0, exectype=bt.Order.Limit, price=self.data.close[0] * 1.001)
            elif self.position and self.prediction[0] < -0.5:
                self.close()

    ours = run(Own, candles, costs=COSTS, rules=LOTS, predictions={"BTC/USDT": table})
    counter = Counter(in_base=False, tick="0.00000001")
    broker = PaperBroker(counter, 1000.0, COSTS, lambda kind, text: None)
    trade_live(Own, {"BTC/USDT": candles}, None, counter, broker, predictions={"BTC/USDT": table})
    made = broker.holdings.fills
    assert len(made) >= 8
    assert [(fill.row, fill.size) for fill in made] == [(fill.row, fill.size) for fill in ours.fills]
    np.testing.assert_allclose([fill.price for fill in made], [fill.price for fill in ours.fills], rtol=1e-9)


def test_what_paper_does_not_trade_is_refused_by_name() -> None:
    candles = candles_of(*flat(100, 6))

    class Odd(bt.Strategy):
        def next(self) -> None:
            if len(self) == 2:
                self.buy_bracket(size=1.0, limitprice=110, stopprice=90)
                self.sell(size=1.0)
                self.buy(size=0.001)
                self.buy(size=50.0)

    broker = PaperBroker(Counter(), 1000.0, COSTS, lambda kind, text: None)
    trade_live(Odd, {"BTC/USDT": candles}, None, Counter(), broker)
    reasons = [refusal.why for refusal in broker.refusals]
    assert "are not traded on paper" in reasons[0]
    assert "this market does not allow selling short" in reasons
    assert "worth 0.10, below the minimum notional of 5" in reasons
    assert any(why.startswith("costs 5,005.00 with commission, and there are") for why in reasons)
    assert not broker.holdings.fills


def test_all_symbols_of_a_bar_are_one_step_of_a_strategy_also_where_one_has_no_candle() -> None:
    first = make_candles(60, seed=1)
    second = make_candles(60, seed=2, symbol="ETH/USDT")
    second = Candles.from_frame(second.frame.drop(second.time[[20, 21]]), "ETH/USDT", "1m")

    class Both(OwnLoop):
        def next(self) -> None:
            self.seen.append((len(self.datas[0]), len(self.datas[1])))  # type: ignore[arg-type]

    counter = Counter()
    broker = PaperBroker(counter, 1000.0, COSTS, lambda kind, text: None)
    ran = trade_live(Both, {"BTC/USDT": first, "ETH/USDT": second}, None, counter, broker)
    assert ran.seen[10:14] == [(20, 20), (21, 20), (22, 20), (23, 21)]
    assert len(ran.seen) == 60 - 9


def test_a_portfolio_shares_its_cash_as_in_the_backtest() -> None:
    market = [make_candles(300, seed=n, symbol=symbol) for n, symbol in enumerate(("BTC/USDT", "ETH/USDT", "SOL/USDT"))]
    ours = run(Churn, *market, costs=COSTS, rules=LOTS, stop_loss=0.002)
    _, broker, _ = live(Churn, *market, counter=Counter(in_base=False, tick="0.00000001"), stop_loss=0.002)
    key = [(fill.symbol, fill.row, fill.reason, round(fill.size, 6)) for fill in broker.holdings.fills]
    assert sorted(key) == sorted((fill.symbol, fill.row, fill.reason, round(fill.size, 6)) for fill in ours.fills)
    assert len(key) > 30


class Averages(bt.Strategy):  # type: ignore[misc]
    """Compares with means of indicators, and looks back a little."""

    def __init__(self) -> None:
        self.mean = bt.indicators.SMA(bt.indicators.EMA(self.data.close, period=5) - self.data.open(-2), period=8)
        self.said: list[float] = []

    def next(self) -> None:
        self.said.append(self.mean[0] + self.data.low[-7] + self.mean[-3])
        if self.position:
            self.close()
        elif self.data.close[0] < self.data.close[-1]:
            self.buy(size=1.0)


def kept_rows(owner: Any) -> list[int]:
    """Lengths of all lines of a strategy, and of its indicators and theirs."""
    inside = [each for every in getattr(owner, "_lineiterators", {}).values() for each in every]
    return [*(len(line.array) for line in owner.lines), *(rows for each in inside for rows in kept_rows(each))]


def test_a_session_without_end_says_the_same_and_keeps_no_more_than_its_newest_rows_orders_and_trades(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    candles = make_candles(600, seed=11)

    def lived(kept: int | None) -> tuple[Any, PaperBroker]:
        counter = Counter(in_base=False)
        broker = PaperBroker(counter, 1000.0, COSTS, lambda kind, text: None, kept)
        return trade_live(Averages, {"BTC/USDT": candles}, None, counter, broker), broker

    whole, all_kept = lived(None)
    monkeypatch.setattr(feed, "BEFORE", 30)
    ran, broker = lived(20)
    np.testing.assert_array_equal(ran.said, whole.said)
    assert np.isfinite(ran.said[10:]).sum() > 500
    assert list(broker.holdings.fills) == list(all_kept.holdings.fills)[-20:]
    assert list(broker.equity) == list(all_kept.equity)[-20:]
    assert broker.holdings.sales == sum(fill.size < 0 for fill in all_kept.holdings.fills) > 50
    lines = [*kept_rows(ran), *(len(line.array) for line in ran.data.lines)]
    assert len(lines) > 10
    assert max(lines) < 60
    assert max(kept_rows(whole)) > 500
    assert not ran._orders
    assert [len(trades) for of_data in ran._trades.values() for trades in of_data.values()] == [1]


def test_only_the_newest_fills_are_told_from_new_ones_when_no_older_can_come() -> None:
    counter = Counter(in_base=False)
    _, broker, _ = live(Churn, make_candles(400, seed=11), counter=counter)
    held, one = broker.holdings, Decimal(1)
    booked = [
        Fill("BTC/USDT", number, "", BUY, one, one, one, "", 0, False) for number in range(1, len(held.fills) + 1)
    ]
    assert len(booked) > 20
    assert all(held.knows(fill) for fill in booked)
    held.forget(5)
    assert [held.knows(fill) for fill in booked] == [False] * (len(booked) - 5) + [True] * 5


class Unheard(Counter):
    """Says nothing of a resting order until it has ended."""

    def submit(self, intent: Intent) -> Order:
        order = super().submit(intent)
        if intent.kind == STOP:
            self.events.pop()
        return order


def test_a_stop_that_has_been_moved_hundreds_of_times_is_still_known_and_the_next_bar_still_begins() -> None:
    rows = [*flat(100, 3), *((price, price + 1, price, price + 1) for price in range(100, 100 + 3 * KEPT))]
    counter = Counter(in_base=False)
    _, broker, _ = live(scripted(enter_long=[1], trailing_stop=0.5), candles_of(*rows), counter=counter)
    dispatch = broker.dispatch
    (ticket,) = dispatch.open
    assert len([intent for intent in counter.sent if intent.kind == STOP]) > 2 * KEPT
    assert len(dispatch._by_cid) <= KEPT + 1
    assert dispatch._by_cid[ticket.resting or ""] is ticket


def test_that_a_stop_rests_is_news_to_who_has_not_heard_of_it_and_to_nobody_else() -> None:
    counter = Unheard(in_base=False)
    _, broker, _ = live(scripted(enter_long=[1], trailing_stop=0.05), candles_of(*flat(100, 6)), counter=counter)
    dispatch = broker.dispatch
    (order,) = counter.working("BTC/USDT")
    event = OrderEvent(replace(order, state=State.OPEN))
    assert dispatch.in_flight
    assert dispatch.is_news(event)
    dispatch.take(event)
    assert not dispatch.in_flight
    assert not dispatch.is_news(event)


def test_a_profit_whose_sale_the_exchange_never_accepted_is_taken_at_the_next_close() -> None:
    class Lost(Counter):
        def trade(self, symbol: str, candle: tuple[float, ...]) -> None:
            if [intent.reason for intent in self.sent] == ["enter_long", "stop_loss", "take_profit"]:
                self._end(self.orders[self.sent[-1].cid], State.NOT_ACCEPTED)
            super().trade(symbol, candle)

    rows = [*flat(100, 4), (100, 103, 100, 103), *flat(101, 5)]
    counter = Lost(in_base=False)
    strategy = scripted(enter_long=[1], stop_loss=0.05, take_profit=0.02)
    _, broker, told = live(strategy, candles_of(*rows), counter=counter)
    assert [intent.reason for intent in counter.sent][2:] == ["take_profit"] * 2
    assert broker.holdings.held["BTC/USDT"] == 0
    assert not broker.dispatch.open
    assert any("not accepted" in text for kind, text in told if kind == "refusal")


class Thin(Unkind):
    """A book that is too thin ``times`` times for what is sold; stops rest."""

    submit = Counter.submit


def test_what_a_stop_at_the_exchange_could_not_sell_is_sold_at_the_market() -> None:
    counter = Thin(times=2)
    strategy = scripted(enter_long=[1], stop_loss=0.02, take_profit=0.5)
    _, broker, told = live(strategy, candles_of(*FALL), counter=counter)
    assert [(intent.kind, intent.reason) for intent in counter.sent] == [
        ("market", "enter_long"), ("stop", "stop_loss"), ("market", "stop_loss"), ("market", "stop_loss"),
    ]  # fmt: skip
    assert broker.holdings.held["BTC/USDT"] == 0
    assert not broker.dispatch.open
    assert [text.split("goes on ")[1] for _, text in told if "goes on" in text] == [
        "at the market",
        "at the next close",
    ]


def test_a_stop_for_a_part_of_the_position_sells_no_more_than_that_part_however_thin_the_book() -> None:
    class Half(bt.Strategy):  # type: ignore[misc]
        def next(self) -> None:
            if len(self) == 2:
                self.buy(size=4.0)
            elif len(self) == 4:
                self.sell(size=2.0, exectype=bt.Order.Stop, price=98.0)

    counter = Thin(times=2)
    broker = PaperBroker(counter, 1000.0, COSTS, lambda kind, text: None)
    trade_live(Half, {"BTC/USDT": candles_of(*FALL)}, None, counter, broker)
    assert [fill.size for fill in broker.holdings.fills] == [4.0, -1.0, -0.5, -0.5]
    assert not broker.dispatch.open


class Strict(Counter):
    """Refuses orders that are worth too little, and has but 0.03 coins for the first ``few`` entries."""

    def __init__(self, few: int = 0) -> None:
        super().__init__(in_base=False)
        self.few, self.last = few, Decimal(0)

    def submit(self, intent: Intent) -> Order:
        order = super().submit(intent)
        if why := self.rules(intent.symbol).refusal(intent, self.last):
            order = self.orders[order.cid] = replace(order, state=State.REJECTED, note=why)
        return order

    def trade(self, symbol: str, candle: tuple[float, ...]) -> None:
        self.last = Decimal(repr(float(candle[3])))
        super().trade(symbol, candle)

    def _fill(self, order: Order, price: float) -> None:
        if order.intent.side == SELL or not self.few:
            super()._fill(order, price)
            return
        self.few -= 1
        super()._fill(replace(order, intent=replace(order.intent, quantity=Decimal("0.03"))), price)
        event = self.events.pop()
        done = self.orders[order.cid] = replace(order, state=State.EXPIRED, executed=Decimal("0.03"))
        self.events.append(OrderEvent(done, event.fills))


@pytest.mark.parametrize("stops", [{}, {"stop_loss": 0.1}])
def test_an_entry_that_brought_too_little_to_be_sold_is_dust_at_the_first_refusal(stops: dict[str, float]) -> None:
    counter = Strict(few=1)
    strategy = scripted(enter_long=[1, 6], exit_long=[4, 8], **stops)
    _, broker, told = live(strategy, candles_of(*flat(100, 12)), counter=counter)
    entries = [intent for intent in counter.sent if intent.reason == "enter_long"]
    assert len(entries) == 2
    assert counter.sent[-1].reason == "exit_long"
    assert counter.sent[-1].quantity == entries[1].quantity + Decimal("0.03"), "the dust is sold too"
    assert [kind for kind, _ in told if kind in ("dust", "refusal")] == ["refusal", "dust"]
    assert not broker.getposition(broker.holdings.feeds["BTC/USDT"]).size


def test_a_position_that_has_become_too_small_to_be_sold_is_dust_at_the_first_refusal() -> None:
    counter = Strict()
    rows = [*flat(100, 4), (100, 100, 50, 50), *flat(50, 8)]
    strategy = scripted(enter_long=[1, 8], exit_long=[5], exposure=0.007)
    _, broker, told = live(strategy, candles_of(*rows), counter=counter)
    assert [intent.reason for intent in counter.sent] == ["enter_long", "exit_long", "enter_long"]
    assert [kind for kind, _ in told if kind in ("dust", "refusal")] == ["refusal", "dust"]
    assert broker.holdings.dust["BTC/USDT"] == counter.sent[0].quantity


def test_what_the_account_lacks_of_a_position_is_not_tried_to_be_sold_for_ever() -> None:
    class Poor(Counter):
        def submit(self, intent: Intent) -> Order:
            order = super().submit(intent)
            if intent.reduces and len(self.sent) == 2:
                order = self.orders[order.cid] = replace(
                    order, state=State.REJECTED, sent_ms=None, note=f"{TOO_LITTLE}: the account holds 0 BTC"
                )
            return order

    counter = Poor(in_base=False)
    strategy = scripted(enter_long=[1, 6], exit_long=[4], exposure=0.4)
    _, broker, told = live(strategy, candles_of(*flat(100, 9)), counter=counter)
    assert [intent.reason for intent in counter.sent] == ["enter_long", "exit_long", "enter_long"]
    assert [kind for kind, _ in told if kind in ("dust", "refusal")] == ["refusal", "dust"]
    assert broker.holdings.dust["BTC/USDT"] == counter.sent[0].quantity
