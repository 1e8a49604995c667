"""The combinations of a sweep are counted and made one at a time, and what cannot be right is one line."""

from __future__ import annotations

import tracemalloc
from itertools import islice

import pytest

from freqlstm import Strategy
from freqlstm.errors import FreqlstmError, UnknownName, UsageError
from freqlstm.search import Choices
from freqlstm.sweep_space import Steps, grid_of, size, value


class Rules(Strategy):
    params = dict(threshold=0.0, rsi_period=14, oversold=35, eager=False, side="long")


def test_a_range_has_its_ends_and_reads_as_it_was_meant() -> None:
    axis = grid_of(Rules, {"threshold": "0:0.002:21"}).axes["threshold"]
    assert [value(axis, number) for number in (0, 3, 7, 20)] == [0.0, 0.0003, 0.0007, 0.002]
    assert size(axis) == 21
    assert str(axis) == "0.0:0.002:21"


def test_a_range_of_whole_numbers_stays_whole_and_a_logarithmic_one_grows_by_ratios() -> None:
    grid = grid_of(Rules, {"rsi_period": "7:21:3", "threshold": "0.001:0.1:3:log", "oversold": "30.0:31.0:3"})
    assert [value(grid.axes["rsi_period"], number) for number in range(3)] == [7, 14, 21]
    assert all(isinstance(value(grid.axes["rsi_period"], number), int) for number in range(3))
    assert [value(grid.axes["threshold"], number) for number in range(3)] == [0.001, 0.01, 0.1]
    assert [value(grid.axes["oversold"], number) for number in range(3)] == [30.0, 30.5, 31.0]


def test_lists_keep_their_kinds_and_drop_repeats() -> None:
    grid = grid_of(Rules, {"rsi_period": "7,14,7", "threshold": [0, 0.5], "eager": "false,true", "side": "long,a:b"})
    assert grid.axes == {
        "rsi_period": Choices((7, 14)), "threshold": Choices((0.0, 0.5)), "eager": Choices((False, True)), "side": Choices(("long", "a:b")),
    }  # fmt: skip
    assert grid.count == 16


def test_texts_in_quotes_may_have_commas() -> None:
    assert grid_of(Rules, {"side": "\"a,b\",'c'"}).axes == {"side": Choices(("a,b", "c"))}


def test_parameters_of_every_strategy_can_be_swept() -> None:
    grid = grid_of(Rules, {"exposure": "0.1:1:10", "stop_loss": "0,0.02", "max_holding": "0:240:5"})
    assert grid.combination(99) == {"exposure": 1.0, "stop_loss": 0.02, "max_holding": 240}


def test_the_last_axis_changes_fastest_and_every_combination_comes_once() -> None:
    grid = grid_of(Rules, {"rsi_period": "7,14", "oversold": "30:40:3"})
    every = list(grid.combinations())
    assert every[:3] == [{"rsi_period": 7, "oversold": each} for each in (30, 35, 40)]
    assert len({tuple(each.values()) for each in every}) == grid.count == 6
    assert list(grid.ordered(["oversold", "rsi_period"]).combinations(0, 2)) == [
        {"oversold": 30, "rsi_period": 7}, {"oversold": 30, "rsi_period": 14},
    ]  # fmt: skip
    assert grid_of(Rules, grid.as_dict()).axes == grid.axes


def test_a_trillion_combinations_are_counted_and_passed_through_in_no_memory() -> None:
    tracemalloc.start()
    grid = grid_of(Rules, {"threshold": "0:1:1000000", "exposure": "0.1:1:1000000"})
    assert grid.count == 10**12
    middle = grid.combinations(5 * 10**11)
    seen = sum(each["threshold"] >= 0.5 for each in islice(middle, 20_000))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert seen == 20_000
    assert peak < 100_000
    assert grid.combination(10**12 - 1) == {"threshold": 1.0, "exposure": 1.0}


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"threshold": "0.002:0:21"}, "'threshold=0.002:0:21' runs from 0.002 down to 0. Write the lower end first: 0:0.002:21."),
        ({"threshold": "0:0.002:0"}, "'threshold=0:0.002:0' asks for 0 values. The count must be a whole number, 1 or more."),
        ({"threshold": "0:0.002:2.5"}, "'threshold=0:0.002:2.5' asks for 2.5 values. The count must be a whole number, 1 or more."),
        ({"threshold": "0:0.002:1"}, "'threshold=0:0.002:1' is an empty range: 1 values from 0 to 0.002. Write 0:0.002:2 or more."),
        ({"threshold": "1:1:3"}, "'threshold=1:1:3' is an empty range: 3 values from 1 to 1. Write one value, threshold=1."),
        ({"threshold": "0:0.002"}, "'threshold=0:0.002' is no range. It must be from:to:count, as in threshold=0:0.002:21 (from:to:count) or rsi_period=7,14,21."),
        ({"threshold": "0:much:3"}, "'threshold=0:much:3' is no range. It must be from:to:count, as in threshold=0:0.002:21 (from:to:count) or rsi_period=7,14,21."),
        ({"threshold": "0:1:3:log"}, "'threshold=0:1:3:log' has no logarithm at 0. A range on a logarithmic scale must begin above 0."),
        ({"max_holding": "99999999999999999999,5"}, "'max_holding=99999999999999999999,5' has a whole number beyond 9 x 10^18. Give smaller ones."),
        ({"rsi_period": "0:100000000000000000000000:2"}, "'rsi_period=0:100000000000000000000000:2' has a whole number beyond 9 x 10^18. Give smaller ones."),
        ({"threshold": "0:1:9223372036854775808"}, "'threshold=0:1:9223372036854775808' has a whole number beyond 9 x 10^18. Give smaller ones."),
        ({"threshold": ""}, "'threshold=' names no value. Give at least one, as in threshold=0:0.002:21 (from:to:count) or rsi_period=7,14,21."),
        (
            {"rsi_period": "7:21:4"},
            "'rsi_period=7:21:4' would have values such as 11.6667, and 7 and 21 are whole numbers. Choose a count that divides 14 into whole "
            "steps, such as 3, or write 7.0:21.0:4.",
        ),
        (
            {"rsi_period": "7:21:1000"},
            "'rsi_period=7:21:1000' asks for 1,000 values, and there are 15 whole numbers. Ask for no more, or write 7.0:21.0:1000.",
        ),
        (
            {"rsi_period": [[7], [14]]},
            "'rsi_period=[7],[14]' has a list or a table among its values. Each must be a number, true, false or a text.",
        ),
        ({"rsi_period": "7,soon"}, "Parameter 'rsi_period' of Rules is 'soon'. It must be a number, like 14."),
        ({"eager": "true,2"}, "Parameter 'eager' of Rules is 2. It must be True or False, like False."),
        ({"exposure": "0:1:11"}, "Parameter 'exposure' of Rules is 0.0. It must be a fraction of the equity, above 0 up to 1."),
        ({"max_holding": "0.0:241.0:5"}, "Parameter 'max_holding' of Rules is 60.25. It must be a whole number of bars, 0 for no limit."),
        ({"rsi_perod": "7,14"}, "No parameter of Rules named 'rsi_perod'. Did you mean 'rsi_period'?"),
        (
            {},
            "Nothing is swept: no parameter has more than one value. Give some with --set, as in threshold=0:0.002:21 (from:to:count) or "
            "rsi_period=7,14,21; `freqlstm backtest` runs one combination.",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_swept_is_one_line(told: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError) as error:
        grid_of(Rules, told)
    assert str(error.value) == message
    assert isinstance(error.value, FreqlstmError)
    assert error.value.exit_code == 2
    assert isinstance(error.value, UnknownName) == message.startswith("No parameter")


def test_steps_are_made_from_their_numbers_alone() -> None:
    assert Steps(0.0, 1.0, 10**15).value(10**14) == pytest.approx(0.1, abs=1e-12)
