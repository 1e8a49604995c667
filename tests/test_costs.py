"""Commission, slippage, lots and the minimum notional."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freqlstm.costs import BINANCE_SPOT, Costs, MarketRules, market_rules
from freqlstm.errors import UsageError


@pytest.mark.parametrize("value", [-0.001, 0.1, 5, float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["commission", "slippage"])
def test_costs_that_are_no_fraction_are_refused(name: str, value: Any) -> None:
    with pytest.raises(UsageError) as error:
        Costs(**{name: value})
    assert str(error.value) == (
        f"The {name} is {value!r}. It is a fraction of the value, a side, from 0 up to 0.1: 0.001 is 0.1%."
    )


def test_rules_that_cannot_be_right_are_refused() -> None:
    with pytest.raises(UsageError) as error:
        MarketRules(lot_step=0)
    assert str(error.value) == "The lot step is 0. It is a positive number of units, such as 0.00001."
    with pytest.raises(UsageError) as error:
        MarketRules(min_notional=-1.0)
    assert str(error.value) == "The minimum notional is -1.0. It is a value from 0 up, such as 5."


@pytest.mark.parametrize(
    ("size", "step", "lots"),
    [(0.3, 0.1, 0.3), (-0.37, 0.1, -0.3), (0.09, 0.1, 0.0), (7.0, 2.0, 6.0), (519.48 / 108, 0.01, 4.81), (0.29999999, 1e-8, 0.29999999)],
)  # fmt: skip
def test_floor_cuts_to_whole_lots_and_does_not_lose_one_to_rounding(size: float, step: float, lots: float) -> None:
    assert MarketRules(step).floor(size) == lots


STEPS = st.sampled_from([1e-8, 1e-5, 1e-4, 0.01, 0.1, 1.0, 10.0])


@given(STEPS, st.integers(0, 10**9))
def test_floor_keeps_what_is_whole_already(step: float, lots: int) -> None:
    rules = MarketRules(step)
    whole = rules.floor(lots * step)
    assert whole == pytest.approx(lots * step, rel=1e-12)
    assert rules.floor(whole) == whole


@given(STEPS, st.floats(0, 1e6))
def test_floor_takes_less_than_one_lot_away_and_adds_nothing(step: float, size: float) -> None:
    floored = MarketRules(step).floor(size)
    assert floored <= size * (1 + 1e-11) + 1e-8 * step
    assert size - floored < step * (1 + 1e-9)
    assert MarketRules(step).floor(-size) == -floored


def test_a_refusal_says_which_rule_was_broken() -> None:
    rules = MarketRules(0.001, 10.0)
    assert rules.refusal(0.0, 100.0) == "smaller than one lot of 0.001"
    assert rules.refusal(-0.099, 100.0) == "worth 9.90, below the minimum notional of 10"
    assert rules.refusal(0.1, 100.0) == ""


def test_recorded_rules_come_before_those_of_binance_and_those_before_the_loosest() -> None:
    assert market_rules("BTC/USDT", {"lot_step": 0.1, "min_notional": 1}) == MarketRules(0.1, 1.0)
    assert market_rules("BTC/USDT") == MarketRules(0.00001, 5.0)
    assert market_rules("DOGE/USDT") == MarketRules(1e-8, 5.0)


def test_the_rules_of_binance_are_those_that_it_published(real_data: Path) -> None:
    path = real_data / "exchange" / "binance_exchangeInfo" / "spot_exchangeInfo_full_2023-09-08.json.gz"
    published = {
        market["symbol"]: market["filters"] for market in json.loads(gzip.decompress(path.read_bytes()))["symbols"]
    }
    for symbol, rules in BINANCE_SPOT.items():
        filters = {one["filterType"]: one for one in published[symbol.replace("/", "")]}
        assert rules.lot_step == float(filters["LOT_SIZE"]["stepSize"])
        assert rules.min_notional == float(filters["NOTIONAL"]["minNotional"])


def test_an_order_off_the_lot_step_is_refused_with_the_nearest_that_would_do() -> None:
    rules = MarketRules(lot_step=0.001, min_notional=5)
    assert rules.refusal(0.12345, 1000) == "0.12345 is not a whole number of lots of 0.001: 0.123 would be"
    assert rules.refusal(-0.12345, 1000) == "0.12345 is not a whole number of lots of 0.001: 0.123 would be"
    assert rules.refusal(rules.floor(0.3), 1000) == ""
