"""Which engine runs a strategy, and which strategies the compiled one refuses."""

from __future__ import annotations

from typing import Any

import backtrader as bt
import pandas as pd
import pytest
from conftest import make_candles
from parity import difference, numbered
from trading import run, scripted

from freqlstm.costs import Costs
from freqlstm.engines import backtrader, compiled, stock
from freqlstm.engines.choice import ENGINES, engine, require_conditions_alone
from freqlstm.errors import PluginError, UnknownName
from freqlstm.strategy import Strategy


def test_every_engine_does_the_same() -> None:
    adventure = numbered(43)
    reference, *others = (adventure.run(engine(name)) for name in ENGINES)
    assert len(reference.fills) > 20
    assert [difference(reference, other) for other in others] == ["", ""]


def test_an_unknown_engine_is_told_the_nearest_one() -> None:
    with pytest.raises(UnknownName) as error:
        engine("compild")
    assert str(error.value) == (
        "No engine named 'compild'. Did you mean 'compiled'? There are backtrader, backtrader-stock and compiled."
    )


class Own(Strategy):
    def next(self) -> None:
        pass


class Told(Strategy):
    def notify_order(self, order: bt.Order) -> None:
        pass


class Heir(Told):
    pass


class Plain(bt.Strategy):
    pass


@pytest.mark.parametrize(
    ("strategy", "message"),
    [
        (Own, "Own has its own next(), and the compiled engine runs conditions over columns only. Run it with --engine backtrader."),
        (Told, "Told has its own notify_order(), and the compiled engine runs conditions over columns only. Run it with --engine backtrader."),
        (Heir, "Heir has its own notify_order(), and the compiled engine runs conditions over columns only. Run it with --engine backtrader."),
        (Plain, "Plain is a plain Backtrader strategy, and the compiled engine runs conditions over columns only. Run it with --engine backtrader."),
    ],
)  # fmt: skip
def test_the_compiled_engine_refuses_what_it_would_never_call(strategy: Any, message: str) -> None:
    candles = make_candles(10)
    with pytest.raises(PluginError) as error:
        compiled.simulate(
            strategy, {}, {candles.symbol: candles}, predictions={}, decisions={}, rules={}, costs=Costs(), cash=1.0
        )
    assert str(error.value) == message


def test_conditions_share_parameters_and_helpers_of_a_strategy_are_no_reason_to_refuse_it() -> None:
    class Helped(scripted(enter_long=[1], stop_loss=0.1)):  # type: ignore[misc]
        warmup = 3

        def share(self, bars: Any) -> Any:
            return self.half(bars)

        def half(self, bars: Any) -> Any:
            return bars.close * 0 + 0.5

    require_conditions_alone(Helped)


def test_stock_backtrader_fills_the_same_to_the_bit() -> None:
    """Row by row and with its observers, where the reference engine passes over bars."""
    fills = 0
    for number in range(40):
        adventure = numbered(number)
        reference = adventure.run(backtrader.simulate)
        fills += len(reference.fills)
        assert not difference(reference, adventure.run(stock.simulate))
    assert fills > 100


def test_stock_backtrader_hands_predictions_to_a_strategy_with_its_own_next_and_nan_before_the_first_candle() -> None:
    read: list[list[float]] = []

    class Reads(Strategy):
        signals = {"prediction": "lstm"}

        def next(self) -> None:
            read[-1] += [self.prediction[0], self.data.close[-3]]
            if self.prediction[0] > 0.5 and not self.position:
                self.buy(size=1)

    candles = make_candles(30)
    column = pd.Series(range(30), index=candles.time) / 40
    runs = []
    for simulate in (backtrader.simulate, stock.simulate):
        read.append([])
        runs.append(
            run(Reads, candles, predictions={candles.symbol: pd.DataFrame({"prediction": column})}, simulate=simulate)
        )
    assert len(runs[0].fills) == 1
    assert not difference(*runs)
    assert repr(read[0]) == repr(read[1])
    assert repr(read[0][1]) == "nan"
