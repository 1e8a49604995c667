"""Parameters are chosen on the past and trade the next span; each span begins and ends without a position."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import make_candles
from sweeping import BTC, ETH, parameters_of, project_of, rows_of, swept, walk_of

from freqlstm.candles import Candles
from freqlstm.errors import TooFewCandles, UsageError
from freqlstm.run import run_backtest, run_of
from freqlstm.store import Project
from freqlstm.sweep_search import Searches
from freqlstm.sweep_space import grid_of
from freqlstm.sweep_walk import END, WalkPlan, choices

AXES = ("rsi_period=7,14", "oversold=30:45:4", "overbought=60,70")
RANGE = "20240102-20240122"
SPANS = {"train": "8d", "test": "3d"}

ALWAYS = '''"""Always in the market."""

from freqlstm import Strategy


class Always(Strategy):
    params = dict(after=0)

    def enter_long(self, bars):
        return bars.close > self.p.after
'''


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return project_of(tmp_path, walk_of(22 * 1440))


def test_the_spans_tile_what_comes_after_the_first_train_span() -> None:
    start, end = pd.Timestamp("2024-01-01", tz="UTC"), pd.Timestamp("2024-01-20 12:00", tz="UTC")
    spans = WalkPlan("8d", "5d").spans(start, end)
    days = [
        (f"{each.train_start:%d}", f"{each.train_end:%d}", f"{each.test_start:%d}", f"{each.test_end:%d}")
        for each in spans
    ]
    assert days == [("01", "09", "09", "14"), ("06", "14", "14", "19"), ("11", "19", "19", "20")]
    assert spans[-1].test_end == end
    assert WalkPlan().spans(start, end) == ()


def test_the_best_on_each_train_span_is_the_best_of_its_backtests(project: Project) -> None:
    result, folder = swept(project, *AXES, timerange=RANGE, **SPANS)
    table = rows_of(folder)
    chosen = parameters_of(table)
    assert result.walk is not None
    assert len(result.walk.chosen) == 4
    for number, choice in [*enumerate(result.walk.chosen)][::3]:
        told = [
            run_backtest(run_of({"strategy": "dips", "timerange": f"{choice.span.train_start:%Y%m%d}-{choice.span.train_end:%Y%m%d}", "parameters": row}, ""), project)
            .stats["performance"]["sharpe"]
            for row in chosen.to_dict("records")[:2]
        ]  # fmt: skip
        assert table[f"train_{number}"].tolist()[:2] == pytest.approx(told, rel=1e-9)
        best = int(table[f"train_{number}"].argmax())
        assert choice.parameters == chosen.to_dict("records")[best]
        assert choice.trained == table[f"train_{number}"].max()


@pytest.mark.parametrize("trials", [0, 24])
def test_the_choice_never_sees_the_test_span(tmp_path: Path, trials: int) -> None:
    """Two markets that part at 16 January: whatever is chosen or traded before is the same, and what comes after differs.

    A search proposes for each span anew, from what its combinations did on the train span.
    """
    one = walk_of(22 * 1440)
    part = pd.Timestamp("2024-01-16", tz="UTC")
    other = make_candles(22 * 1440, seed=99).frame
    frame = one.frame.copy()
    later = frame.index >= part
    frame.loc[later] = other.loc[later].to_numpy()
    found = []
    for name, candles in (("one", one), ("other", Candles(frame, BTC, "1m", "binance"))):
        flags: dict[str, Any] = {**SPANS, "trials": trials} if trials else {**SPANS}
        axes = ("rsi_period=7,14", "oversold=25:50:26", "overbought=50:75:26") if trials else AXES
        result, folder = swept(
            project_of(tmp_path / name, candles), *axes, timerange=RANGE, fee=0.0, slippage=0.0, **flags
        )
        assert result.walk is not None
        assert result.figures["rows"] == (5 * trials or 16)
        found.append((result.walk, rows_of(folder)))
    (first, rows), (second, other_rows) = found
    known = [number for number, choice in enumerate(first.chosen) if choice.span.train_end <= part]
    assert known == [0, 1, 2]  # the test span of the last of them begins at 16 January
    for number in known:
        assert first.chosen[number] == second.chosen[number]
        proposed = slice((1 + number) * trials, (2 + number) * trials or None)
        for column in ("params.rsi_period", "params.oversold", "params.overbought", f"train_{number}"):
            assert rows[column][proposed].equals(other_rows[column][proposed])
    assert first.chosen[3] != second.chosen[3]
    assert not rows["sharpe"].equals(other_rows["sharpe"])  # the whole range does see it
    before = first.equity.index < part
    assert first.equity["equity"][before].equals(second.equity["equity"][before])
    assert not first.equity["equity"][~before].equals(second.equity["equity"][~before])


def test_what_another_search_proposed_is_not_chosen_however_good_it_was() -> None:
    """Of each search of 16 there are two chunks: first that of the whole range, then one for each span."""
    from freqlstm import Strategy

    class Rules(Strategy):
        params = dict(a=0)

    start = pd.Timestamp("2024-01-01", tz="UTC")
    sweep: Any = SimpleNamespace(
        grid=grid_of(Rules, {"a": "0:9:10"}), spans=WalkPlan("2d", "2d").spans(start, start + pd.Timedelta(days=6))
    )
    searches = Searches(sweep, 16, seed=1)
    assert [[searches.serves(number, span) for number in range(6)] for span in range(2)] == [
        [False, False, True, True, False, False], [False, False, False, False, True, True],
    ]  # fmt: skip
    chunks = [
        pd.DataFrame({"params.a": [number], "train_0": [9.0 - abs(number - 3)], "train_1": [float(9 - number)]})
        for number in range(6)
    ]
    assert [choice.parameters for choice in choices(sweep, searches, chunks)] == [{"a": 3}, {"a": 4}]
    chunks = [
        pd.DataFrame({"params.a": [number], "train_0": [float(number)], "train_1": [float(9 - number)]})
        for number in range(6)
    ]
    assert [choice.trained for choice in choices(sweep, searches, chunks)] == [3.0, 5.0]


def test_each_span_begins_without_a_position_and_sells_at_its_last_close(tmp_path: Path) -> None:
    """At a price that never moves, whoever is always in pays one purchase and one sale in every span."""
    flat = walk_of(6 * 1440).frame.assign(open=100.0, high=100.0, low=100.0, close=100.0)
    project = project_of(tmp_path, Candles(flat, BTC, "1m", "binance"))
    (tmp_path / "strategies" / "always.py").write_text(ALWAYS)
    result, _ = swept(
        project, "after=0,1", "exposure=0.5", strategy="always", timerange="20240101-20240107", train="2d", test="1d", fee=0.001,
        slippage=0.0005, objective="profit", cash=10_000.0,
    )  # fmt: skip
    walk = result.walk
    assert walk is not None
    trades = walk.trades
    assert trades["status"].tolist() == ["closed"] * 4
    assert trades["exit_reason"].tolist() == [END] * 4
    assert trades["exit_time"].tolist() == [pd.Timestamp(f"2024-01-0{day} 23:59", tz="UTC") for day in (3, 4, 5, 6)]
    assert trades["entry_time"].tolist() == [pd.Timestamp(f"2024-01-0{day} 00:01", tz="UTC") for day in (3, 4, 5, 6)]
    cash = 10_000.0
    for row, trade in enumerate(trades.to_dict("records")):
        bought, sold = 100.0 * 1.0005, 100.0 * 0.9995
        size = np.floor(0.5 * cash / (bought * 1.001) / 1e-5 + 1e-9) * 1e-5
        assert trade["size"] == pytest.approx(size, abs=1.5e-5)
        cash += trade["size"] * (sold * 0.999 - bought * 1.001)
        assert trade["net_pnl"] == pytest.approx(trade["size"] * (sold * 0.999 - bought * 1.001), rel=1e-9)
        ends = walk.equity["equity"][walk.equity.index < pd.Timestamp(f"2024-01-0{row + 4}", tz="UTC")]
        assert ends.iloc[-1] == pytest.approx(cash, rel=1e-12)
    assert result.figures["walk"]["out_of_sample"]["final_equity"] == pytest.approx(
        10_000 + trades["net_pnl"].sum(), rel=1e-12
    )


def test_a_span_is_traded_like_a_backtest_of_its_own_with_what_was_left(project: Project) -> None:
    result, _ = swept(project, *AXES, timerange=RANGE, **SPANS)
    walk = result.walk
    assert walk is not None
    cash = 10_000.0
    for choice, tested in zip(walk.chosen, walk.tested, strict=True):
        span = choice.span
        run = run_of(
            {"strategy": "dips", "timerange": f"{span.test_start:%Y%m%d}-{span.test_end:%Y%m%d}", "parameters": choice.parameters, "cash": cash}, ""
        )  # fmt: skip
        alone = run_backtest(run, project).equity["equity"]
        inside = walk.equity["equity"][(walk.equity.index >= span.test_start) & (walk.equity.index < span.test_end)]
        np.testing.assert_allclose(inside.to_numpy()[:-1], alone.to_numpy()[:-1], rtol=1e-9)
        assert inside.iloc[-1] <= alone.iloc[-1] + 1e-9  # selling what is open costs
        cash = float(inside.iloc[-1])
        assert tested["final_equity"] == cash
    assert walk.equity.index[0] == pd.Timestamp("2024-01-10", tz="UTC")
    assert walk.equity.index[-1] == pd.Timestamp("2024-01-21 23:59", tz="UTC")
    assert walk.equity.notna().all(axis=None)


def test_a_span_in_which_nothing_was_good_for_anything_passes_without_a_trade(project: Project) -> None:
    result, _ = swept(project, "oversold=-2,-1", timerange=RANGE, **SPANS)
    assert result.walk is not None
    assert [choice.parameters for choice in result.walk.chosen] == [None] * 4
    assert len(result.walk.trades) == 0
    assert (result.walk.equity["equity"] == 10_000).all()


def test_a_symbol_that_begins_later_trades_from_then_on(tmp_path: Path) -> None:
    late = walk_of(22 * 1440, seed=8, symbol=ETH)
    project = project_of(tmp_path, walk_of(22 * 1440), replace(late, frame=late.frame.iloc[12 * 1440 :]))
    result, _ = swept(project, *AXES, pairs=(BTC, ETH), timerange=RANGE, **SPANS)
    assert result.walk is not None
    assert set(result.walk.trades["symbol"]) == {BTC, ETH}
    early = result.walk.trades[result.walk.trades["entry_time"] < pd.Timestamp("2024-01-11", tz="UTC")]
    assert (early["size"] * early["entry_price"] < 0.5 * 10_000).all()  # half of the equity waits for the other


def test_the_walk_is_a_trial_too(project: Project) -> None:
    plain, _ = swept(project, *AXES, timerange=RANGE)
    walked, _ = swept(project, *AXES, timerange=RANGE, **SPANS)
    assert walked.figures["luck"]["configurations_tried"] == plain.figures["luck"]["configurations_tried"] + 1


@pytest.mark.parametrize(
    ("spans", "kind", "message"),
    [
        ({"train": "30d", "test": "3d"}, TooFewCandles, "Parameters chosen on 30d leave nothing to trade on: the time range is 2024-01-02 00:00 to 2024-01-22 00:00 UTC. Shorten --train, or choose a longer --timerange."),
        ({"train": "8d"}, UsageError, "A walk-forward of parameters needs both spans: --train 90d --test 30d chooses on 90 days and trades the next 30."),
        ({"test": "8d"}, UsageError, "A walk-forward of parameters needs both spans: --train 90d --test 30d chooses on 90 days and trades the next 30."),
        ({"train": "soon", "test": "3d"}, UsageError, "Duration 'soon' is not understood. Write a number and one of s, m, h, d, w, as in '90d'."),
        ({"train": "0d", "test": "3d"}, UsageError, "train is '0d'. It must be longer than nothing, as in '7d'."),
        ({**SPANS, "objective": "calmar"}, UsageError, "The calmar of 8 days is not defined: an annual return needs 30. Choose a longer time, or another --objective."),
    ],
)  # fmt: skip
def test_spans_that_cannot_be_are_one_line(
    project: Project, spans: dict[str, str], kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind) as error:
        swept(project, *AXES, timerange=RANGE, **spans)
    assert str(error.value) == message
