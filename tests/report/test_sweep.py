"""The page of a sweep: offline, complete, and its numbers those of sweep.json."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from browsing import EMPTY, OVERLAPS, TOO_WIDE, open_offline
from sweeping import parameters_of, project_of, rows_of, swept, walk_of

from freqlstm.report.figures import percent, share
from freqlstm.sweep_result import SweepResult


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[SweepResult, Path]:
    project = project_of(tmp_path_factory.mktemp("project"), walk_of(10 * 1440))
    axes = ("rsi_period=5,7,9,14", "oversold=20:45:6", "threshold=0:0.001:5", "eager=true,false")
    return swept(project, *axes, timerange="20240102-20240110", train="3d", test="1d")


def test_it_holds_everything_itself_and_says_in_words_whether_it_is_luck(made: tuple[SweepResult, Path]) -> None:
    result, folder = made
    page = (folder / "sweep.html").read_text(encoding="utf-8")
    assert len(page) < 4_000_000
    assert not re.search(r'(src|href)="(https?:)?//', page)
    assert f"<b>{result.figures['verdict']}</b>" in page
    for part in ("luck", "best", "heat", "spread", "walk", "repeat"):
        assert f'<section id="{part}">' in page
    for parameter in ("rsi_period", "oversold", "threshold", "eager"):
        assert parameter in page


def test_its_figures_are_those_of_the_file(made: tuple[SweepResult, Path]) -> None:
    _, folder = made
    told = json.loads((folder / "sweep.json").read_text())
    page = (folder / "sweep.html").read_text(encoding="utf-8")
    shown = dict(re.findall(r'data-stat="luck\.([a-z_]+)">([^<]*)<', page))
    assert shown["configurations_tried"] == f"{told['luck']['configurations_tried']:,}"
    assert float(shown["luckiest_sharpe"].replace("−", "-")) == pytest.approx(
        told["luck"]["luckiest_sharpe"], abs=0.005
    )
    assert float(shown["deflated_sharpe"].rstrip("%")) == pytest.approx(100 * told["luck"]["deflated_sharpe"], abs=0.05)


def test_the_heat_map_is_the_best_of_all_others_and_its_first_pair_matters_most(made: tuple[SweepResult, Path]) -> None:
    from freqlstm.store import read_table

    result, folder = made
    table = read_table(folder / "sweep.parquet")
    chosen = parameters_of(table)
    heat = result.survey.heat[0]
    assert [heat.across, heat.down] == list(result.survey.matters)[:2]
    assert len(result.survey.heat) == 6
    names = {name: [str(each) for each in result.survey.bins[name]] for name in (heat.across, heat.down)}
    for column, across in enumerate(names[heat.across]):
        for row, down in enumerate(names[heat.down]):
            some = table[(chosen[heat.across].map(_named) == across) & (chosen[heat.down].map(_named) == down)][
                "sharpe"
            ]
            assert heat.best[row, column] == pytest.approx(some.max(), nan_ok=True)


def _named(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def test_a_reader_can_choose_the_pair_and_no_chart_is_empty(made: tuple[SweepResult, Path], chromium: Any) -> None:
    for width in (1280, 420):
        page = open_offline(chromium, made[1] / "sweep.html", width)
        assert page.evaluate(EMPTY) == []
        assert page.evaluate(OVERLAPS) == []
        assert page.evaluate(TOO_WIDE) == []
        buttons = page.locator("#heat .choice button")
        assert buttons.count() == 6
        buttons.nth(3).click()
        assert buttons.nth(3).get_attribute("aria-pressed") == "true"
        page.context.close()


def test_where_nothing_is_defined_there_is_no_empty_map(tmp_path: Path) -> None:
    result, folder = swept(project_of(tmp_path, walk_of(3 * 1440)), "oversold=-2,-1", timerange="20240102-20240104")
    assert result.figures["verdict"].startswith("No discovery: of none of 2 combinations is the sharpe defined")
    page = (folder / "sweep.html").read_text(encoding="utf-8")
    assert re.findall(r'<section id="([a-z]+)">', page) == ["luck", "repeat"]
    assert "heat-0" not in page


def test_a_profit_is_told_in_percent(tmp_path: Path) -> None:
    project = project_of(tmp_path, walk_of(6 * 1440))
    result, folder = swept(
        project, "oversold=30,40", timerange="20240102-20240106", objective="profit", train="2d", test="1d"
    )
    page = (folder / "sweep.html").read_text(encoding="utf-8")
    assert (
        f"its mean is {percent(result.survey.mean)}, its standard deviation {share(result.survey.deviation)}," in page
    )
    for span in result.figures["walk"]["spans"]:
        assert f">{percent(span['trained'])}<" in page


def test_of_a_few_samples_no_parameter_is_said_to_explain_what_chance_would(tmp_path: Path) -> None:
    project = project_of(tmp_path, walk_of(4 * 1440))
    result, folder = swept(project, "oversold=20:45:26", "overbought=55:80:26", timerange="20240102-20240105", trials=8)
    table = rows_of(folder)
    sharpe = table["sharpe"]
    for name, told in result.survey.matters.items():
        groups = sharpe.groupby(parameters_of(table)[name])
        apart = groups.transform("mean").var() / sharpe.var()
        assert 4 < groups.ngroups <= 8
        expected = apart - (groups.ngroups - 1) * (1 - apart) / max(8 - groups.ngroups, 1)
        assert told == pytest.approx(max(expected, 0.0) if groups.ngroups < 8 else 0.0)
        assert told < 0.95 * apart
