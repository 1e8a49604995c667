"""Evaluations: the same rows for all, figures that add up, and nothing made of noise."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from evaluating import BTC, ETH, SPANS, evaluated, project_with, reverting

from freqlstm import labels
from freqlstm.candles import Candles
from freqlstm.errors import TooFewCandles
from freqlstm.evaluation import Evaluation
from freqlstm.evaluation_run import save_evaluation
from freqlstm.skill import forecast_skill
from freqlstm.store import Project, read_table

ROWS = 4000  # 2024-01-01 00:00 to 2024-01-03 18:40


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Two symbols whose moves take back a fifth of the one before, ETH's with a hole."""
    ether = reverting(ROWS, ETH, seed=2, back=0.2)
    holed = Candles.from_frame(ether.frame.drop(ether.time[1700:1750]), ETH, "1m", "binance")
    return project_with(tmp_path_factory.mktemp("project"), reverting(ROWS, back=0.2), holed)


@pytest.fixture(scope="module")
def both(project: Project) -> Evaluation:
    return evaluated(project, "slope", "momentum", pairs=(BTC, ETH), horizon=1)


def test_everybody_is_judged_by_the_same_rows(both: Evaluation, project: Project) -> None:
    """Every minute of the two spans of BTC but for the last of each; ETH lacks its hole, and what it leaves unknown."""
    rows = both.compared.rows
    counts = {name: each["pooled"]["rows"] for name, each in both.figures["signals"].items()}
    assert set(counts) == {"zero", "persistence", "slope", "momentum"}
    assert set(counts.values()) == {len(rows)} == {both.figures["rows"]}
    own = rows[rows["symbol"] == BTC]
    assert len(own) == 720 + 540 - 2
    assert int((rows["symbol"] == ETH).sum()) == 720 - 50 - 1 - 60 + 540 - 2  # 60 bars of momentum's warm-up, one label
    assert all(len(values) == len(rows) for values in both.compared.said.values())
    assert np.isfinite(np.stack(list(both.compared.said.values()))).all()


def test_a_signal_that_is_silent_leaves_rows_out_for_everybody_and_is_named(project: Project) -> None:
    warn: list[str] = []
    found = evaluated(project, "slope", "momentum", horizon=1, parameters={"slope": {"silent_before": 3}}, warn=warn)
    hours = pd.DatetimeIndex(found.compared.rows["time"]).hour
    assert hours.min() == 3
    assert found.figures["spoken"] == {"slope": 720 + 540 - 2 - 2 * 180, "momentum": 720 + 540 - 2}
    assert warn == ["slope says nothing on 29% of the rows that have an outcome: they are left out for everybody."]
    assert found.manifest["warnings"] == warn


def test_every_forecast_was_made_by_a_fit_on_what_came_before_it(both: Evaluation) -> None:
    folds = both.manifest["signals"]["slope"]["folds"]
    assert [fold["number"] for fold in folds] == [0, 1, 2, 3]
    assert [fold["test_start"] for fold in folds] == [
        "2024-01-02T00:00:00+00:00", "2024-01-02T06:00:00+00:00", "2024-01-03T00:00:00+00:00", "2024-01-03T06:00:00+00:00",
    ]  # fmt: skip
    assert all(fold["train_end"] == fold["test_start"] for fold in folds)
    assert all(fold["symbols_seen"] == [BTC, ETH] for fold in folds)
    assert both.manifest["signals"]["momentum"]["folds"] == []


def test_figures_by_fold_symbol_and_era_add_up_to_the_pooled_ones(both: Evaluation) -> None:
    for name, figures in both.figures["signals"].items():
        pooled = figures["pooled"]
        for group, parts in (("by_fold", 4), ("by_symbol", 2), ("by_era", 1)):
            each = list(figures[group].values())
            assert len(each) == parts
            assert sum(one["rows"] for one in each) == pooled["rows"], (name, group)
            squares = sum(one["rows"] * one["rmse"] ** 2 for one in each)
            assert squares == pytest.approx(pooled["rows"] * pooled["rmse"] ** 2, rel=1e-12)
            assert sum(one["rows"] * one["mae"] for one in each) == pytest.approx(pooled["rows"] * pooled["mae"])


def test_on_one_symbol_and_span_the_figures_are_those_of_a_backtest(project: Project) -> None:
    found = evaluated(project, "momentum", horizon=5, timeranges=("20240102-20240103",))
    candles = reverting(ROWS, back=0.2).between(
        pd.Timestamp("2024-01-01", tz="UTC"), pd.Timestamp("2024-01-03", tz="UTC")
    )
    said = np.log(candles.close).diff(60) * 5 / 60
    said[: pd.Timestamp("2024-01-01 23:59", tz="UTC")] = np.nan
    expected = forecast_skill(said, candles, 5, "return")
    pooled = found.figures["signals"]["momentum"]["pooled"]
    for name in ("rows", "r2", "theil_u", "rmse", "mae", "ic", "rank_ic", "directional_accuracy", "dm_p_vs_zero"):
        assert pooled[name] == pytest.approx(expected[name], rel=1e-9), name
    assert pooled["dm_p_vs_persistence"] == pytest.approx(expected["dm_p_vs_persistence"], rel=1e-6)


def test_what_is_planted_is_found(both: Evaluation) -> None:
    """A fifth of each move is taken back, so 4% of the variance can be foreseen."""
    assert both.figures["signals"]["slope"]["pooled"]["r2"] == pytest.approx(0.04, abs=0.02)
    assert both.figures["naive"] == "zero"
    assert both.figures["findings"][0].startswith(
        "Squared error below zero's beyond noise (DM p < .05 after Holm's correction for 2 signals): slope (p < .001)."
    )
    assert both.figures["findings"][1] == "Not below it beyond noise: momentum."
    pooled = both.figures["signals"]["slope"]["pooled"]
    assert pooled["holm_p_vs_naive"] == pytest.approx(2 * pooled["dm_p_vs_naive"], rel=1e-9, abs=0)
    coverage = both.figures["signals"]["slope"]["interval"]
    assert coverage["level"] == 0.8
    assert coverage["pooled"]["coverage"] == pytest.approx(0.8, abs=0.03)


def test_on_a_random_walk_nothing_is_worth_anything_and_it_says_so(tmp_path: Path) -> None:
    walk = project_with(tmp_path, reverting(ROWS, seed=3), reverting(ROWS, ETH, seed=4))
    found = evaluated(walk, "slope", "guess", "momentum", pairs=(BTC, ETH), horizon=1)
    for name in ("slope", "guess", "momentum"):
        pooled = found.figures["signals"][name]["pooled"]
        assert pooled["r2"] < 2 * pooled["r2_error"], name
    assert found.figures["findings"][0] == (
        "No signal's error is below zero's beyond noise (DM p < .05 after Holm's correction for 3 signals)."
    )


def test_one_model_of_all_pairs_or_one_of_each(project: Project, both: Evaluation) -> None:
    apart = evaluated(project, "slope", pairs=(BTC, ETH), horizon=1, pooled=False)
    assert [fold["symbols_seen"] for fold in apart.manifest["signals"]["slope"]["folds"]] == [
        *[[BTC]] * 2,
        *[[ETH]] * 2,
    ] * 2
    assert len(apart.compared.rows) == len(evaluated(project, "slope", pairs=(BTC, ETH), horizon=1).compared.rows)
    alone = evaluated(project, "slope", pairs=(ETH,), horizon=1)
    ours = apart.compared.rows["symbol"] == ETH
    np.testing.assert_array_equal(apart.compared.said["slope"][ours], alone.compared.said["slope"])


def test_volatility_is_measured_against_har_which_is_added(project: Project) -> None:
    found = evaluated(project, "calm", horizon=15)
    assert found.figures["reference"] == "har"
    assert list(found.figures["signals"]) == ["zero", "persistence", "har", "calm"]
    pooled = {name: each["pooled"] for name, each in found.figures["signals"].items()}
    said, came = found.compared.said, found.compared.rows["outcome"].to_numpy()
    ratio = np.sum((came - said["calm"]) ** 2) / np.sum((came - said["har"]) ** 2)
    assert pooled["calm"]["error_ratio"] == pytest.approx(ratio)
    assert pooled["har"]["r2"] == 0.0
    assert pooled["calm"]["qlike"] == pytest.approx(np.mean(np.exp(came - said["calm"]) - (came - said["calm"]) - 1))
    assert pooled["calm"]["directional_accuracy"] is None
    assert pooled["calm"]["mape"] is not None


def test_the_probability_of_a_rise_is_compared_with_how_often_it_rose(project: Project) -> None:
    found = evaluated(project, "chance")
    told = found.figures["signals"]["chance"]["reliability"]
    assert sum(group["rows"] for group in told["bins"]) == found.figures["rows"]
    said = [group["said"] for group in told["bins"]]
    assert said == sorted(said)
    assert 0 < told["calibration_error"] < 0.1
    assert found.figures["signals"]["chance"]["pooled"]["directional_accuracy"] > 0.53


def test_several_seeds_are_averaged_and_each_is_counted(project: Project) -> None:
    one, three = (evaluated(project, "guess", "momentum", horizon=1, seeds=seeds) for seeds in (1, 3))
    assert one.figures["signals"]["guess"]["over_seeds"] is None
    over = three.figures["signals"]["guess"]["over_seeds"]
    each = three.compared.by_seed["guess"]
    assert each.shape == (3, three.figures["rows"])
    assert len({float(row[0]) for row in each}) == 3
    np.testing.assert_array_equal(each[0], one.compared.said["guess"])
    np.testing.assert_allclose(three.compared.said["guess"], each.mean(axis=0), rtol=1e-12)
    came = three.compared.rows["outcome"].to_numpy()
    errors = [float(np.mean(np.abs(came - row))) for row in each]
    assert over["mae"] == pytest.approx(errors)
    assert (over["mae_mean"], over["mae_sd"]) == (pytest.approx(np.mean(errors)), pytest.approx(np.std(errors, ddof=1)))
    least = float(np.mean(np.abs(came - three.compared.said[three.figures["naive"]])))
    assert over["mae_below_naive"] == sum(error < least for error in errors)
    assert three.figures["signals"]["momentum"]["over_seeds"] is None
    assert any(said.startswith("guess over 3 seeds: mean absolute error ") for said in three.figures["findings"])


def test_a_few_rows_prove_nothing_and_that_is_said(project: Project) -> None:
    found = evaluated(project, "slope", "guess", horizon=1, timeranges=("20240102-20240102T0053",))
    assert found.figures["rows"] == 52
    (said,) = [text for text in found.figures["findings"] if text.startswith("These 52 rows prove nothing")]
    assert "the largest difference in mean absolute error from zero, " in said
    assert "is within 2 bootstrap errors of " in said
    assert "; the mean absolute error of zero itself is 0.00" in said
    worse = evaluated(
        project, "slope", horizon=1, timeranges=("20240102-20240102T0053",), parameters={"slope": {"offset": 0.01}}
    )
    (said,) = [
        text for text in worse.figures["findings"] if text.startswith("Only 52 rows: the mean absolute error of")
    ]
    assert said.endswith(", so another 52 could turn the order round.")


def test_it_is_saved_whole_with_every_forecast_and_its_recipe(both: Evaluation, project: Project) -> None:
    saved, folder = save_evaluation(both, project)
    assert {file.name for file in folder.iterdir()} == {"run.toml", "evaluation.json", "predictions.parquet"}
    told = json.loads((folder / "evaluation.json").read_text())
    assert told["run_id"] == folder.name == saved.run_id
    assert told["figures"]["signals"]["slope"]["pooled"]["r2"] == both.figures["signals"]["slope"]["pooled"]["r2"]
    table = read_table(folder / "predictions.parquet")
    assert len(table) == both.figures["rows"]
    error = table["outcome"] - table["slope.prediction"]
    assert np.sqrt(np.mean(error**2)) == pytest.approx(both.figures["signals"]["slope"]["pooled"]["rmse"])
    again, other = save_evaluation(both, project)
    assert other.name == again.run_id == f"{folder.name}-2"


def test_no_outcome_of_a_row_lies_beyond_its_span(both: Evaluation) -> None:
    own = both.compared.rows[both.compared.rows["symbol"] == BTC].set_index("time")["outcome"]
    for span in SPANS:
        end = pd.Timestamp(span.partition("-")[2]).tz_localize("UTC")
        assert end - pd.Timedelta(minutes=1) not in own.index
        assert end - pd.Timedelta(minutes=2) in own.index
    whole = labels.forward_return(reverting(ROWS, back=0.2), 1)
    np.testing.assert_allclose(own, whole.reindex(own.index))


def test_too_few_common_rows_name_who_is_silent(project: Project) -> None:
    with pytest.raises(TooFewCandles) as error:
        evaluated(project, "slope", "momentum", horizon=1, parameters={"slope": {"silent_before": 24}})
    assert str(error.value) == (
        "Every signal speaks on 0 of the 1,258 rows that have an outcome, and 30 are needed to compare them: slope on 0, "
        "momentum on 1,258. Widen the time range, provide earlier candles, or leave out a signal that is silent."
    )


def test_folds_without_enough_to_train_on_are_left_out_with_a_word(project: Project) -> None:
    warn: list[str] = []
    once = ("20240101T0600-20240101T1800",)
    found = evaluated(project, "slope", horizon=1, timeranges=once, seeds=2, warn=warn)
    assert warn.count(warn[0]) == 1
    assert warn[0] == (
        "1 of the 2 folds of 20240101T0600-20240101T1800 have less than 12h of BTC/USDT to train on and are left out."
    )
    assert pd.DatetimeIndex(found.compared.rows["time"])[0] == pd.Timestamp("2024-01-01 12:00", tz="UTC")
    with pytest.raises(TooFewCandles, match=r"^No fold of 2024-01-01 01:00 to 2024-01-01 06:00 UTC has 12h of candles"):
        evaluated(project, "slope", horizon=1, timeranges=("20240101T0100-20240101T0600",))
