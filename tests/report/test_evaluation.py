"""The page of an evaluation, as text and in a real browser with the network off."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browsing import assert_numbers, assert_sense, check_page, open_offline
from evaluating import BTC, ETH, evaluated, project_with, reverting

from freqlstm.evaluation import Evaluation
from freqlstm.report.evaluation import evaluation_page, write_evaluation
from freqlstm.store import Project


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return project_with(
        tmp_path_factory.mktemp("project"), reverting(4000, back=0.2), reverting(4000, ETH, seed=2, back=0.2)
    )


@pytest.fixture(scope="module")
def returns(project: Project) -> Evaluation:
    """Four signals on two symbols and two spans, those that learn with two seeds."""
    return evaluated(project, "slope", "guess", "momentum", pairs=(BTC, ETH), horizon=1, seeds=2, importance=True)


def test_a_page_names_no_address_outside_itself_and_is_small(returns: Evaluation) -> None:
    page = evaluation_page(returns)
    assert len(page.encode()) < 4_000_000
    library = re.search(r'<script type="text/plain" id="plotly">([A-Za-z0-9+/=]+)</script>', page)
    assert library is not None
    visible = page.replace(library.group(1), "")
    assert re.findall(r"""(?:src|href|action)\s*=\s*["'](?!#|data:)[^"']*""", visible) == []
    assert "This is not financial advice." in page


def test_the_same_evaluation_gives_the_same_page(returns: Evaluation) -> None:
    assert evaluation_page(returns) == evaluation_page(returns)


def test_however_many_rows_there_are_the_page_draws_only_some(returns: Evaluation) -> None:
    from freqlstm.report.evaluation import _charts

    for name, chart in _charts(returns).items():
        assert all(len(trace.get("x") or trace.get("z") or []) <= 1200 for trace in chart["data"]), name


def test_points_of_a_line_are_means_of_neighbours_and_none_spans_the_gap_between_two_spans(returns: Evaluation) -> None:
    from freqlstm.report.evaluation_charts import neighbours, time_breaks

    own = returns.compared.rows[returns.compared.rows["symbol"] == BTC]
    groups = own["time"].groupby(neighbours(own["bar"].to_numpy()))
    assert len(groups) <= 402
    assert ((groups.max() - groups.min()).dt.total_seconds() <= 4 * 60).all()
    assert time_breaks(own) == [{"bounds": ["2024-01-02 11:58", "2024-01-03 00:00"]}]


@pytest.fixture(scope="module", params=[1280, 390], ids=["wide", "narrow"])
def returns_page(
    chromium: Any, returns: Evaluation, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Any]:
    """The page on a desk and on a telephone."""
    path = tmp_path_factory.mktemp("page") / "evaluation.html"
    write_evaluation(returns, path)
    page = open_offline(chromium, path, request.param)
    yield page
    page.context.close()


def test_the_page_draws_everything_and_nothing_overlaps(returns_page: Any) -> None:
    page = returns_page
    ids = page.evaluate("[...document.querySelectorAll('.chart')].map((chart) => chart.id)")
    assert ids == [
        "chart-r2", "chart-advantage", "chart-time-0", "chart-scatter-0", "chart-residuals-0", "chart-coverage", "chart-alike",
        "chart-importance-0", "chart-training-0", "chart-stages-0",
    ]  # fmt: skip
    check_page(page)
    page.evaluate("document.querySelectorAll('details').forEach((part) => { part.open = true; })")
    check_page(page)
    assert_sense(page)


def test_every_number_on_the_page_is_that_of_evaluation_json(
    returns_page: Any, tmp_path: Path, returns: Evaluation
) -> None:
    returns.save(tmp_path / "run")
    saved = json.loads((tmp_path / "run" / "evaluation.json").read_text(encoding="utf-8"))
    shown = returns_page.evaluate(
        "[...document.querySelectorAll('[data-stat]')].map((e) => [e.dataset.stat, e.textContent])"
    )
    assert len(shown) > 150
    assert_numbers(shown, saved)


def test_every_signal_can_be_chosen(returns_page: Any, returns: Evaluation) -> None:
    page = returns_page
    for number, name in enumerate(("slope", "guess", "momentum")):
        for button in page.get_by_role("button", name=name).all():
            button.click()
        drawn = page.evaluate("document.getElementById('chart-scatter-0').data[0].x.length")
        assert drawn == 1200
        pressed = page.evaluate("[...document.querySelectorAll('.choice button')].map((b) => b.ariaPressed === 'true')")
        assert pressed == [other == number for _ in range(3) for other in range(3)]
    check_page(page)


@pytest.mark.parametrize("signals", [("calm",), ("chance",), ("momentum",)], ids=["volatility", "direction", "alone"])
def test_every_target_has_a_page(chromium: Any, project: Project, tmp_path: Path, signals: tuple[str, ...]) -> None:
    write_evaluation(evaluated(project, *signals), tmp_path / "evaluation.html")
    page = open_offline(chromium, tmp_path / "evaluation.html", 1280)
    check_page(page)
    assert page.locator("#chart-reliability").count() == (signals == ("chance",))
    assert_sense(page)
    page.context.close()
