from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from arch.bootstrap import StationaryBootstrap
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from freqlstm import stats
from freqlstm.candles import Candles
from freqlstm.results import trade_table


def hourly(values: list[float], start: str = "2024-01-01", freq: str = "12h") -> pd.Series[float]:
    return pd.Series(values, index=pd.date_range(start, periods=len(values), freq=freq, tz="UTC"), dtype=np.float64)


def days(values: list[float]) -> pd.Series[float]:
    return hourly(values, freq="D")


# equity -----------------------------------------------------------------------------------------------------------


def test_a_daily_return_runs_from_the_last_bar_of_one_utc_day_to_the_last_of_the_next() -> None:
    returns = stats.daily_returns(hourly([100, 110, 120, 121, 60.5, 60.5]), cash=100)
    assert returns.tolist() == pytest.approx([0.10, 0.10, -0.50], abs=1e-15)
    assert [str(day.date()) for day in returns.index] == ["2024-01-01", "2024-01-02", "2024-01-03"]


def test_the_first_day_is_measured_from_the_cash_that_was_there_before_it() -> None:
    equity = hourly([104, 105])
    assert stats.daily_returns(equity, cash=100).tolist() == pytest.approx([0.05], abs=1e-15)
    assert stats.daily_returns(equity).tolist() == pytest.approx([1 / 104], abs=1e-15)


def test_a_bar_that_opens_at_2359_belongs_to_the_day_in_which_it_opens() -> None:
    minutes = pd.Series([100.0, 200.0], index=pd.DatetimeIndex(["2024-01-01 23:59", "2024-01-02 00:00"], tz="UTC"))
    assert stats.daily_returns(minutes, cash=100).tolist() == [0.0, 1.0]


def test_a_day_without_bars_returns_nothing() -> None:
    equity = hourly([100, 110]).set_axis(pd.DatetimeIndex(["2024-01-01", "2024-01-04"], tz="UTC"))
    assert stats.daily_returns(equity, cash=100).tolist() == pytest.approx([0, 0, 0, 0.1], abs=1e-15)


def test_daily_returns_compound_to_the_total_return() -> None:
    random = np.random.default_rng(1)
    equity = hourly((1000 * np.exp(np.cumsum(random.normal(0, 0.01, 301)))).tolist(), freq="h")
    made = stats.performance(equity, 1000)
    assert math.prod(1 + stats.daily_returns(equity, 1000)) - 1 == pytest.approx(made["total_return"], abs=1e-12)


def test_performance_is_what_a_hand_computes() -> None:
    """Daily returns 0.10, -0.05, 0.02, from 1,000: mean 7/300, squared deviations sum to 0.0338/3 = 0.01126666..."""
    equity = days([1100, 1045, 1065.9])
    made = stats.performance(equity, 1000)
    assert made["total_return"] == pytest.approx(0.0659, abs=1e-15)
    assert made["final_equity"] == 1065.9
    assert made["days"] == 3
    deviation = math.sqrt((0.0129 - 3 * (0.07 / 3) ** 2) / 2)
    assert made["annual_volatility"] == pytest.approx(deviation * math.sqrt(365), abs=1e-14)
    assert made["sharpe"] == pytest.approx(0.07 / 3 / deviation * math.sqrt(365), abs=1e-12)
    assert made["sharpe"] == pytest.approx(5.9393, abs=1e-4)
    assert made["sortino"] == pytest.approx(0.07 / 3 / math.sqrt(0.0025 / 3) * math.sqrt(365), abs=1e-12)
    assert made["sortino"] == pytest.approx(15.4423, abs=1e-4)
    assert made["max_drawdown"] == pytest.approx(0.05, abs=1e-15)
    assert made["longest_drawdown_days"] == 2.0  # from the peak of day 1 to the last day, which is still below it
    assert made["annual_return"] is None
    assert made["calmar"] is None


def test_a_year_that_doubles_returns_100_percent_a_year() -> None:
    equity = days([1000 * 2 ** ((day + 1) / 365) for day in range(365)])
    made = stats.performance(equity, 1000)
    assert made["annual_return"] == pytest.approx(1.0, abs=1e-12)
    assert stats.performance(equity.iloc[:73], 1000)["annual_return"] == pytest.approx(1.0, abs=1e-12)
    assert made["calmar"] is None  # it never fell


def test_calmar_is_the_annual_return_over_the_deepest_drawdown() -> None:
    equity = days([1000.0] * 30 + [800.0] * 334 + [900.0])
    made = stats.performance(equity, 1000)
    assert made["annual_return"] == pytest.approx(-0.1, abs=1e-12)
    assert made["calmar"] == pytest.approx(-0.5, abs=1e-12)


def test_annual_figures_need_thirty_days() -> None:
    equity = days([1001 + day for day in range(30)])
    assert stats.performance(equity, 1000)["annual_return"] is not None
    assert stats.performance(equity.iloc[:29], 1000)["annual_return"] is None


def test_losing_everything_is_minus_100_percent_a_year() -> None:
    made = stats.performance(days([1000.0] * 40 + [-5.0]), 1000)
    assert made["annual_return"] == -1.0
    assert made["max_drawdown"] == pytest.approx(1.005)


def test_an_account_without_money_loses_all_on_that_day_and_returns_nothing_after_it() -> None:
    equity = days([1000.0, 500.0, -200.0, -400.0, -100.0, 300.0, 600.0])
    assert stats.daily_returns(equity, 1000).tolist() == [0.0, -0.5, -1.0, 0.0, 0.0, 0.0, 0.0]
    assert stats.daily_returns(days([0.0, 0.0]), 1000).tolist() == [-1.0, 0.0]
    made = stats.performance(equity, 1000)
    assert made["sharpe"] is not None
    assert made["sharpe"] < 0
    assert made["sortino"] is not None
    assert made["sortino"] < 0
    assert made["total_return"] == pytest.approx(-0.4)


def test_an_equity_that_never_moves_has_no_ratios_and_no_drawdown() -> None:
    made = stats.performance(days([1000.0] * 40), 1000)
    assert {name: made[name] for name in ("sharpe", "sortino", "calmar")} == {
        "sharpe": None,
        "sortino": None,
        "calmar": None,
    }
    assert {made["total_return"], made["annual_return"], made["annual_volatility"], made["max_drawdown"]} == {0.0}
    assert made["longest_drawdown_days"] == 0.0


def test_one_day_has_a_return_but_no_risk() -> None:
    made = stats.performance(hourly([1000, 990]), 1000)
    assert made["total_return"] == pytest.approx(-0.01)
    assert made["max_drawdown"] == pytest.approx(0.01)
    assert {made["sharpe"], made["sortino"], made["annual_volatility"], made["annual_return"]} == {None}
    assert made["days"] == 1


def test_no_bars_leave_the_cash() -> None:
    made = stats.performance(hourly([]), 1000)
    assert (made["total_return"], made["final_equity"], made["days"], made["max_drawdown"]) == (0.0, 1000, 0, 0.0)


def test_a_drawdown_is_seen_between_daily_closes_and_counts_the_cash_as_a_peak() -> None:
    equity = hourly([90, 100, 50, 100])
    assert stats.drawdown(equity, 100).tolist() == pytest.approx([0.1, 0.0, 0.5, 0.0], abs=1e-15)
    assert stats.performance(equity, 100)["max_drawdown"] == 0.5
    assert stats.performance(hourly([100, 90, 95]), 120)["max_drawdown"] == 0.25


def test_the_longest_drawdown_ends_at_the_bar_that_reaches_the_peak_again() -> None:
    equity = hourly([100, 99, 100, 98, 97, 101, 100])
    assert stats.longest_drawdown_days(equity, 100) == 1.5  # bars 2 to 5
    assert stats.longest_drawdown_days(equity.iloc[:5], 100) == 1.0  # not recovered: to the last bar
    assert stats.longest_drawdown_days(hourly([95, 94, 100]), 100) == 1.0  # below the cash from the first bar
    assert stats.longest_drawdown_days(hourly([100, 100, 101]), 100) == 0.0


@given(st.lists(st.floats(-0.05, 0.05), min_size=2, max_size=60), st.floats(0.1, 1e6))
@settings(max_examples=60, deadline=None)
def test_performance_does_not_depend_on_the_size_of_the_account(moves: list[float], size: float) -> None:
    curve = 1000 * np.cumprod(1 + np.asarray(moves))
    one, other = (
        stats.performance(hourly(curve.tolist()), 1000),
        stats.performance(hourly((curve * size).tolist()), 1000 * size),
    )
    assert one["total_return"] == pytest.approx(other["total_return"], abs=1e-9)
    assert one["max_drawdown"] == pytest.approx(other["max_drawdown"], abs=1e-9)
    assert one["longest_drawdown_days"] is not None
    assert 0 <= one["longest_drawdown_days"] <= len(moves) / 2


@given(st.lists(st.sampled_from([97.0, 98.0, 99.0, 100.0, 101.0]), min_size=1, max_size=40))
@settings(max_examples=100, deadline=None)
def test_the_longest_drawdown_equals_that_of_a_walk_bar_by_bar(values: list[float]) -> None:
    peak, at, longest = 100.0, 0, 0
    for row, value in enumerate(values):
        under = row > 0 and values[row - 1] < peak  # still counted at the bar that recovers
        if value < peak or under:
            longest = max(longest, row - at)
        if value >= peak:
            peak, at = value, row
    assert stats.longest_drawdown_days(hourly(values, freq="D"), 100.0) == longest


# trades -----------------------------------------------------------------------------------------------------------


def four_trades() -> pd.DataFrame:
    """Bought 2 at 100, sold at 110 (gross 20); sold 1 short at 50, bought at 52 (gross -2); one open, a third of it sold at 12; one refused."""
    at = pd.date_range("2024-01-01", periods=8, freq="h", tz="UTC")
    return trade_table(
        [
            {"symbol": "A/B", "side": "long", "status": "closed", "entry_time": at[0], "exit_time": at[2], "size": 2,
             "entry_price": 100, "exit_price": 110, "gross_pnl": 20, "commission": 0.42, "slippage": 0.1, "turnover": 420,
             "net_pnl": 19.48, "net_return": 0.0974, "bars_held": 2},
            {"symbol": "A/B", "side": "short", "status": "closed", "entry_time": at[3], "exit_time": at[4], "size": 1,
             "entry_price": 50, "exit_price": 52, "gross_pnl": -2, "commission": 0.102, "slippage": 0.05, "turnover": 102,
             "net_pnl": -2.152, "net_return": -0.04304, "bars_held": 1},
            {"symbol": "A/B", "side": "long", "status": "open", "entry_time": at[5], "size": 3, "entry_price": 10,
             "gross_pnl": 1.5, "commission": 0.03, "slippage": 0.01, "turnover": 42, "net_pnl": 1.46},
            {"symbol": "A/B", "side": "long", "status": "refused", "decided_at": at[6], "size": 0.001,
             "refused_because": "too small"},
        ]
    )  # fmt: skip


def test_the_trade_summary_is_what_a_hand_counts() -> None:
    summary = stats.trade_summary(four_trades())
    assert [summary[name] for name in ("closed", "long", "short", "open", "refused")] == [2, 1, 1, 1, 1]
    assert summary["win_rate"] == 0.5
    assert summary["profit_factor"] == pytest.approx(19.48 / 2.152, abs=1e-12)
    assert summary["mean_net_pnl"] == pytest.approx(8.664, abs=1e-12)
    assert summary["mean_net_return"] == pytest.approx(0.02718, abs=1e-15)
    assert summary["median_net_return"] == pytest.approx(0.02718, abs=1e-15)
    assert (summary["best_net_return"], summary["worst_net_return"]) == (0.0974, -0.04304)
    assert (summary["mean_bars_held"], summary["longest_losing_streak"]) == (1.5, 1)


def test_the_cost_summary_counts_what_was_filled_also_the_part_of_an_open_trade_that_was_sold() -> None:
    costs = stats.cost_summary(four_trades())
    assert costs["gross_pnl"] == pytest.approx(19.5, abs=1e-12)
    assert costs["commission"] == pytest.approx(0.552, abs=1e-12)
    assert costs["slippage"] == pytest.approx(0.16, abs=1e-12)
    assert costs["net_pnl"] == pytest.approx(18.788, abs=1e-12)
    assert costs["turnover"] == pytest.approx(200 + 220 + 50 + 52 + 30 + 12, abs=1e-12)
    assert costs["break_even_bps"] == pytest.approx(19.5 / 564 * 1e4, abs=1e-9)
    assert costs["paid_bps"] == pytest.approx(0.712 / 564 * 1e4, abs=1e-9)


def test_no_trades_have_no_rates_and_cost_nothing() -> None:
    none = trade_table([])
    summary, costs = stats.trade_summary(none), stats.cost_summary(none)
    assert {name for name, value in summary.items() if value == 0} == {
        "closed", "long", "short", "open", "refused", "longest_losing_streak",
    }  # fmt: skip
    assert all(value is None for value in summary.values() if value != 0)
    assert [costs[name] for name in ("gross_pnl", "commission", "slippage", "net_pnl", "turnover")] == [0.0] * 5
    assert costs["break_even_bps"] is None


def test_nothing_lost_has_no_profit_factor() -> None:
    assert stats.trade_summary(four_trades().iloc[:1])["profit_factor"] is None


@pytest.mark.parametrize(("flags", "longest"), [("", 0), ("0", 0), ("1", 1), ("0110111", 3), ("1110", 3), ("101", 1)])
def test_the_longest_run_of_losses(flags: str, longest: int) -> None:
    assert stats.longest_run(np.array([flag == "1" for flag in flags])) == longest


# luck -------------------------------------------------------------------------------------------------------------


def test_the_deflated_sharpe_ratio_is_that_of_its_authors_example() -> None:
    """Bailey and Lopez de Prado (2014), p. 10: annual ratio 2.5 of 250 periods, 5 years, 100 trials of variance 1/2,
    skewness -3, kurtosis 10: the threshold is 0.1132 a day and the probability 0.9004."""
    luckiest = stats.luckiest_sharpe(0.5 / 250, 100)
    assert luckiest == pytest.approx(0.1132, abs=5e-5)
    found = stats.sharpe_probability(2.5 / math.sqrt(250), luckiest, 1250, -3, 10)
    assert found == pytest.approx(0.9004, abs=5e-5)


def test_with_one_trial_the_deflated_ratio_is_the_probability_of_a_ratio_above_zero() -> None:
    returns = days([0.01, -0.005] * 20)  # mean 0.0025, skew 0, kurtosis 1, so the variance term is 1
    daily = 0.0025 / np.std([0.01, -0.005] * 20, ddof=1)
    expected = norm.cdf(daily * math.sqrt(39))
    assert stats.deflated_sharpe(returns, [3.0]) == pytest.approx(expected, abs=1e-12)
    assert stats.deflated_sharpe(returns, []) == pytest.approx(expected, abs=1e-12)


def test_every_further_trial_deflates() -> None:
    returns = days(np.random.default_rng(3).normal(0.002, 0.02, 200).tolist())
    sharpe = stats.sharpe_ratio(returns)
    assert sharpe is not None
    chances = [stats.deflated_sharpe(returns, ([sharpe, -1.0, 0.5, 1.5] * 100)[:n]) for n in (1, 4, 40, 400)]
    assert chances == sorted(chances, reverse=True)
    assert chances[0] != chances[-1]


def test_trials_that_surely_lose_do_not_make_luck_larger_but_count() -> None:
    """Of worthless trials the ratios above 0 tell the spread, and the ruined ones only how many were tried."""
    worthless = np.random.default_rng(5).normal(0, 4, 1000)
    luckiest = stats.luckiest_of(worthless, 365)
    assert luckiest == pytest.approx(stats.luckiest_sharpe(16 / 365, 1000) * math.sqrt(365), rel=0.05)
    ruined = stats.luckiest_of([*worthless, *[-50.0] * 1000], 365)
    assert luckiest < ruined < 1.1 * luckiest
    assert ruined == pytest.approx(stats.luckiest_of([*worthless, *[-20.0] * 1000], 365), rel=1e-12)
    assert stats.luckiest_of(worthless + 50, 365) == pytest.approx(
        luckiest, rel=0.05
    )  # all of them earn, and differ by luck
    assert stats.luckiest_of([-1.0] * 100, 365) == pytest.approx(stats.luckiest_sharpe(1 / 364, 100) * math.sqrt(365))


def test_constant_returns_have_no_deflated_ratio_and_no_interval() -> None:
    for values in ([], [0.01], [0.0] * 50):
        assert stats.deflated_sharpe(days(values), [1.0, 2.0]) is None
        assert stats.sharpe_interval(days(values)) == (None, None)


def test_the_interval_agrees_with_the_stationary_bootstrap_of_arch() -> None:
    returns = days(np.random.default_rng(0).normal(0.001, 0.02, 250).tolist())
    low, high = stats.sharpe_interval(returns, seed=1, draws=20_000)
    other = StationaryBootstrap(250 ** (1 / 3), returns.to_numpy(), seed=np.random.default_rng(2))
    ratios = other.apply(lambda x: np.array([x.mean() / x.std(ddof=1) * math.sqrt(365)]), 20_000)[:, 0]
    assert low == pytest.approx(np.quantile(ratios, 0.025), abs=0.1)
    assert high == pytest.approx(np.quantile(ratios, 0.975), abs=0.1)


def test_the_interval_keeps_runs_together_so_persistent_returns_are_less_certain() -> None:
    random = np.random.default_rng(4)
    alike = days(np.repeat(random.normal(0.0005, 0.02, 50), 8).tolist())
    apart = days(random.permutation(alike.to_numpy()).tolist())
    (low, high), (low_apart, high_apart) = stats.sharpe_interval(alike), stats.sharpe_interval(apart)
    assert low is not None
    assert high is not None
    assert low_apart is not None
    assert high_apart is not None
    assert high - low > 1.4 * (high_apart - low_apart)


def test_the_interval_depends_on_nothing_but_returns_and_seed() -> None:
    returns = days(np.random.default_rng(0).normal(0.001, 0.02, 60).tolist())
    assert stats.sharpe_interval(returns, seed=5) == stats.sharpe_interval(returns, seed=5)
    assert stats.sharpe_interval(returns, seed=5) != stats.sharpe_interval(returns, seed=6)


# random entries ---------------------------------------------------------------------------------------------------


def market_of(opens: list[float]) -> dict[str, Candles]:
    """Candles that close where the next one opens."""
    open_ = np.asarray(opens, dtype=np.float64)
    close = np.append(open_[1:], open_[-1])
    frame = pd.DataFrame(
        {
            "open": open_,
            "high": np.maximum(open_, close),
            "low": np.minimum(open_, close),
            "close": close,
            "volume": 1.0,
        },
        index=pd.date_range("2024-01-01", periods=len(open_), freq="min", tz="UTC"),
    )
    return {"A/B": Candles.from_frame(frame, "A/B", "1m")}


def trade_of(
    market: dict[str, Candles], entry: int, exit_: int, size: float = 1.0, side: str = "long"
) -> dict[str, object]:
    candles = market["A/B"]
    way = 1 if side == "long" else -1
    bought, sold = candles.open.iloc[entry], candles.open.iloc[exit_]
    pnl = way * size * (sold - bought)
    return {
        "symbol": "A/B", "side": side, "status": "closed", "entry_time": candles.time[entry], "exit_time": candles.time[exit_],
        "size": size, "entry_price": bought, "exit_price": sold, "gross_pnl": pnl, "commission": 0.0, "slippage": 0.0,
        "net_pnl": pnl, "net_return": pnl / (size * bought), "bars_held": exit_ - entry,
    }  # fmt: skip


def test_random_entries_in_a_market_that_grows_evenly_earn_the_same_wherever_they_begin() -> None:
    market = market_of([100 * 1.01**bar for bar in range(50)])
    trades = trade_table([trade_of(market, 10, 15), trade_of(market, 20, 22, side="short")])
    drawn = stats.random_entries(trades, market, cash=1000, commission=0, slippage=0, draws=50)
    expected = (100 * 1.01**10 * (1.01**5 - 1) - 100 * 1.01**20 * (1.01**2 - 1)) / 1000
    for name in ("median_return", "low_return", "high_return", "actual_return"):
        assert drawn[name] == pytest.approx(expected, abs=1e-12)
    assert (drawn["trades"], drawn["draws"]) == (2, 50)


def test_random_entries_pay_commission_and_slippage_on_both_sides() -> None:
    market = market_of([100.0] * 30)
    drawn = stats.random_entries(trade_table([trade_of(market, 3, 9, size=2)]), market, 1000, 0.001, 0.0005, draws=20)
    bought, sold = 1.0005, 0.9995
    cost = 200 * (sold / bought - 1 - 0.001 * (1 + sold / bought))
    assert drawn["median_return"] == pytest.approx(cost / 1000, abs=1e-15)
    short = stats.random_entries(
        trade_table([trade_of(market, 3, 9, 2, "short")]), market, 1000, 0.001, 0.0005, draws=20
    )
    cost = 200 * (-(bought / sold - 1) - 0.001 * (1 + bought / sold))
    assert short["median_return"] == pytest.approx(cost / 1000, abs=1e-15)


def test_the_best_possible_timing_has_the_smallest_p_value_and_bad_timing_a_large_one() -> None:
    market = market_of([100.0] * 50 + [200.0] * 50)
    best = stats.random_entries(trade_table([trade_of(market, 49, 50)]), market, 1000, 0, 0, draws=999)
    assert best["p_value"] == pytest.approx(1 / 99, abs=0.01)
    assert best["median_return"] == 0.0
    none = stats.random_entries(trade_table([trade_of(market, 10, 11)]), market, 1000, 0, 0, draws=99)
    assert none["p_value"] == 1.0


def test_random_trades_of_a_symbol_never_overlap() -> None:
    """Twenty trades of two bars fill half of 82: the one jump of the price can lie inside one of them, so pays once."""
    market = market_of([100.0] * 41 + [200.0] * 41)
    trades = trade_table([trade_of(market, 2 * number, 2 * number + 2) for number in range(20)])
    drawn = stats.random_entries(trades, market, 100, 0, 0, draws=200)
    assert drawn["high_return"] is not None
    assert drawn["high_return"] <= 2.0  # a trade of value 200 that doubles


def test_no_trades_have_no_random_entries() -> None:
    drawn = stats.random_entries(trade_table([]), market_of([100.0] * 9), 1000, 0.001, 0, draws=9)
    assert drawn == {
        "trades": 0, "draws": 9, "actual_return": 0.0, "median_return": None, "low_return": None, "high_return": None,
        "p_value": None,
    }  # fmt: skip


def test_random_entries_depend_on_nothing_but_their_inputs_and_the_seed(candles: Candles) -> None:
    market = {"A/B": candles}
    trades = trade_table([trade_of(market, 10, 20), trade_of(market, 50, 90, side="short"), trade_of(market, 95, 95)])
    first = stats.random_entries(trades, market, 1000, 0.001, 0.0001, draws=30, seed=3)
    assert stats.random_entries(trades, market, 1000, 0.001, 0.0001, draws=30, seed=3) == first
    assert stats.random_entries(trades, market, 1000, 0.001, 0.0001, draws=30, seed=4) != first
