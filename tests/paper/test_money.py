"""Exact money: filters, lots, ticks, dust, the ledger."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freqlstm.costs import MarketRules
from freqlstm.errors import BadAnswer
from freqlstm.paper.account import Account, balances_of
from freqlstm.paper.journal import Journal
from freqlstm.paper.money import SymbolRules, floor_step, nearest_tick, plain, sellable
from freqlstm.paper.records import BUY, LIMIT, MARKET, SELL, STOP, Balance, Fill, Intent, Order, SessionFacts, State
from freqlstm.paper.reports import answered, streamed, traded

LISTING = {
    "symbol": "BTCUSDT", "status": "TRADING", "baseAsset": "BTC", "quoteAsset": "USDT",
    "orderTypes": ["LIMIT", "MARKET", "STOP_LOSS"],
    "filters": [
        {"filterType": "PRICE_FILTER", "minPrice": "0.01000000", "maxPrice": "1000000.00000000", "tickSize": "0.01000000"},
        {"filterType": "LOT_SIZE", "minQty": "0.00002000", "maxQty": "9000.00000000", "stepSize": "0.00001000"},
        {"filterType": "MARKET_LOT_SIZE", "minQty": "0.00000000", "maxQty": "100.00000000", "stepSize": "0.00000000"},
        {"filterType": "NOTIONAL", "minNotional": "5.00000000", "applyMinToMarket": True, "maxNotional": "9000000.00000000"},
    ],
}  # fmt: skip
RULES = SymbolRules.listed("BTC/USDT", LISTING)


def intent(quantity: str, kind: str = MARKET, price: str | None = None, side: str = BUY) -> Intent:
    stop, limit = (Decimal(price) if price and kind == name else None for name in (STOP, LIMIT))
    return Intent("a", "BTC/USDT", side, kind, Decimal(quantity), 0, stop_price=stop, limit_price=limit)


def test_the_filters_of_every_recorded_listing_are_read(real_data: Path) -> None:
    bodies = (real_data / "exchange" / "binance_exchangeInfo").glob("*.jsonl")
    listings = [one for path in bodies for line in path.read_text().splitlines() for one in json.loads(line)["symbols"]]
    assert len(listings) > 150
    for one in listings:
        rules = SymbolRules.listed("X/Y", one)
        assert rules.lot_step > 0
        assert rules.tick > 0
        assert rules.min_notional in (5, 10)
        assert {"LIMIT", "MARKET"} <= rules.order_types
    assert RULES.market_rules == MarketRules(0.00001, 5.0)


def test_a_listing_without_a_lot_size_is_refused() -> None:
    with pytest.raises(BadAnswer, match="lists BTC/USDT without a lot size"):
        SymbolRules.listed("BTC/USDT", {**LISTING, "filters": []})


@pytest.mark.parametrize(
    ("order", "says"),
    [
        (intent("0.001"), ""),
        (intent("0.001005"), "0.001005 BTC is not a whole number of lots of 0.00001"),
        (intent("0"), "0 BTC is not a whole number of lots of 0.00001"),
        (intent("0.00001"), "0.00001 BTC is below the smallest order of 0.00002"),
        (intent("200"), "200 BTC is above the largest order of 100"),
        (intent("200", LIMIT, "20000"), ""),
        (intent("0.0002"), "worth 4, below the minimum notional of 5 USDT"),
        (intent("0.0002", LIMIT, "30000"), ""),
        (intent("0.001", LIMIT), "a limit order needs a price"),
        (intent("0.001", STOP, "20000.001"), "the price 20000.001 is not a multiple of the tick of 0.01"),
        (intent("0.001", STOP, "2000000"), "the price 2000000 is outside 0.01 to 1000000"),
    ],
)
def test_what_the_exchange_would_refuse_is_told_before_it_is_sent(order: Intent, says: str) -> None:
    assert RULES.refusal(order, Decimal(20_000)).removesuffix(" of 5 USDT") == says.removesuffix(" of 5 USDT").replace(
        "worth 4, below the minimum notional", "worth 4 USDT, below the minimum notional of 5"
    )


def listed_with(kind: str, **changes: object) -> SymbolRules:
    filters = [{**one, **changes} if one["filterType"] == kind else one for one in LISTING["filters"]]  # type: ignore[dict-item]
    return SymbolRules.listed("BTC/USDT", {**LISTING, "filters": filters})


def test_an_order_worth_more_than_the_exchange_takes_is_refused_at_the_market_only_where_it_says_so() -> None:
    for at_market in (False, True):
        rules = listed_with("NOTIONAL", maxNotional="1000", applyMaxToMarket=at_market)
        above = "worth 2000 USDT, above the maximum notional of 1000"
        assert rules.refusal(intent("0.1", LIMIT, "20000"), None) == above
        assert rules.refusal(intent("0.1"), Decimal(20_000)) == (above if at_market else "")
        assert rules.refusal(intent("0.05"), Decimal(20_000)) == ""


def test_where_market_orders_have_larger_lots_every_size_is_cut_down_to_them() -> None:
    rules = listed_with("MARKET_LOT_SIZE", stepSize="0.001")
    assert rules.floor(Decimal("0.0129")) == sellable(Decimal("0.0129"), Decimal(1), rules) == Decimal("0.012")
    assert rules.refusal(intent("0.0125"), Decimal(20_000)) == "0.0125 BTC is not a whole number of lots of 0.001"
    assert rules.is_dust(Decimal("0.0009"), Decimal(20_000))
    assert rules.market_rules == MarketRules(0.001, 5.0)


def test_a_halted_symbol_or_a_kind_of_order_that_it_lacks_is_refused() -> None:
    halted = SymbolRules.listed("BTC/USDT", {**LISTING, "status": "BREAK"})
    assert halted.refusal(intent("0.001"), None) == "BTC/USDT is halted at the exchange"
    simple = SymbolRules.listed("BTC/USDT", {**LISTING, "orderTypes": ["MARKET"]})
    assert simple.refusal(intent("0.001", STOP, "20000"), None) == "BTC/USDT does not accept stop orders"


@given(st.decimals(0, 10**6, places=9), st.sampled_from(["0.00001", "0.1", "1", "0.003"]))
def test_lots_are_cut_down_and_ticks_are_nearest(value: Decimal, step: str) -> None:
    unit = Decimal(step)
    whole = floor_step(value, unit)
    assert whole % unit == 0
    assert 0 <= value - whole < unit
    assert abs(nearest_tick(value, unit) - value) <= unit / 2
    assert nearest_tick(value, unit) % unit == 0


def test_numbers_are_written_without_exponents() -> None:
    assert [plain(Decimal(text)) for text in ("1E-8", "100", "0.10", "1E+3", "0.000")] == [
        "0.00000001",
        "100",
        "0.1",
        "1000",
        "0",
    ]


def test_what_is_left_of_a_position_may_be_dust() -> None:
    position = Decimal("0.00999000")
    assert sellable(position, Decimal("0.009985"), RULES) == Decimal("0.00998")
    assert sellable(Decimal("-1"), Decimal(5), RULES) == 0
    assert RULES.is_dust(Decimal("0.000009"), Decimal(20_000))
    assert RULES.is_dust(Decimal("0.00024"), Decimal(20_000))
    assert not RULES.is_dust(Decimal("0.00025"), Decimal(20_000))


# The ledger


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal(tmp_path / "j.sqlite", SessionFacts("s", "d", ("BTC/USDT",), "1m", "sandbox")) as journal:
        journal.begin_epoch("start", {"USDT": Decimal(1000), "BNB": Decimal(1), "ETH": Decimal(3)}, 1)
        journal.add_order(Order(intent("1"), 1, State.OPEN), 1)
        yield journal


def fill(trade: int, side: str, price: str, quantity: str, commission: str, asset: str) -> Fill:
    return Fill("BTC/USDT", trade, "a", side, Decimal(price), Decimal(quantity), Decimal(commission), asset, 1, False)


FILLS = (
    fill(1, BUY, "20000.01", "0.01", "0.00001", "BTC"),
    fill(2, BUY, "20000.02", "0.01", "0.0003", "BNB"),
    fill(3, SELL, "21000.00", "0.015", "0.315", "USDT"),
)


def test_what_a_fill_costs_is_what_the_exchange_counted_in_each_of_its_dialects(journal: Journal) -> None:
    stream = {"x": "TRADE", "X": "PARTIALLY_FILLED", "c": "a", "C": "", "i": 1, "z": "0.1", "S": "BUY", "t": 1, "T": 1, "m": False,
              "L": "0.00000003", "l": "0.1", "Y": "0.00000001", "n": "0", "N": None}  # fmt: skip
    row = {"id": 2, "isBuyer": False, "price": "0.00000003", "qty": "0.1", "quoteQty": "0.00000001", "commission": "0",
           "commissionAsset": "BTC", "time": 1, "isMaker": True}  # fmt: skip
    parts = [
        {"tradeId": 3 + part, "price": "0.00000003", "qty": "0.1", "commission": "0", "commissionAsset": "BTC"}
        for part in range(2)
    ]
    answer = {"clientOrderId": "a", "side": "BUY", "transactTime": 1, "fills": parts, "status": "FILLED", "orderId": 1,
              "executedQty": "0.2", "cummulativeQuoteQty": "0.00000001"}  # fmt: skip
    (streamed_fill,) = streamed(stream, "BTC/USDT").fills
    answered_fills = answered(answer, "BTC/USDT").fills
    traded_fill = traded(row, "BTC/USDT", "a")
    assert streamed_fill.worth == traded_fill.worth == sum(one.worth for one in answered_fills) == Decimal("0.00000001")
    unknown = answered({**answer, "cummulativeQuoteQty": "-1"}, "BTC/USDT").fills
    assert sum(one.worth for one in unknown) == Decimal("0.000000006")
    account = Account(journal, {"BTC/USDT": RULES})
    account.add(journal.update_order("a", [streamed_fill, traded_fill, *answered_fills])[1])
    assert account.ledger()["USDT"] == Decimal("999.99999999")
    account.load()  # as it was written down
    assert account.ledger()["USDT"] == Decimal("999.99999999")


def test_commission_is_taken_from_whichever_asset_it_was_paid_in(journal: Journal) -> None:
    account = Account(journal, {"BTC/USDT": RULES})
    for _ in range(2):  # a fill that is told twice counts once
        account.add(journal.update_order("a", FILLS)[1])
    assert account.ledger() == {
        "USDT": Decimal("914.6847"), "BTC": Decimal("0.00499"), "BNB": Decimal("0.9997"), "ETH": Decimal(3),
    }  # fmt: skip
    assert account.position("BTC/USDT") == Decimal("0.00499")
    assert Account(journal, {"BTC/USDT": RULES}).ledger() == account.ledger()
    profit = account.profit({"BTC/USDT": Decimal(20_000)})
    assert profit == Decimal("-85.3153") + Decimal("0.00499") * 20_000


def test_a_difference_of_one_unit_is_seen_and_assets_of_no_concern_are_not_compared(journal: Journal) -> None:
    account = Account(journal, {"BTC/USDT": RULES})
    account.add(journal.update_order("a", FILLS)[1])
    rows = [
        {"asset": "USDT", "free": "914.68470001", "locked": "0"}, {"asset": "BTC", "free": "0.00200000", "locked": "0.00299000"},
        {"asset": "BNB", "free": "0.99970000", "locked": "0"}, {"asset": "ETH", "free": "9", "locked": "0"},
        {"asset": "XYZ", "free": "0.00", "locked": "0.0"},
    ]  # fmt: skip
    held = balances_of({"balances": rows})
    assert held["BTC"] == Balance(Decimal("0.002"), Decimal("0.00299"))
    assert "XYZ" not in held
    assert [str(one) for one in account.differences(held)] == ["USDT 914.68470001, and the journal says 914.6847"]
    journal.add_adjustment("x", "USDT", Decimal("0.00000001"), 1, "deposit")
    assert account.differences(held) == []
