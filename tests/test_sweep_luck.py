"""The best of many worthless combinations is called luck, and what earns by its rules is not."""

from __future__ import annotations

from pathlib import Path

import pytest
from sweeping import project_of, swept, swinging, walk_of

from freqlstm.sweep_result import verdict

AXES = ("rsi_period=5,9,14,21", "oversold=20:45:6", "overbought=55:80:6", "eager=true,false")
DAYS = 30


@pytest.mark.parametrize("fee", [0.0, 0.001])
@pytest.mark.parametrize("seed", [1, 2])
def test_a_random_walk_is_no_discovery(tmp_path: Path, seed: int, fee: float) -> None:
    project = project_of(tmp_path, walk_of(DAYS * 1440, seed=seed))
    result, _ = swept(project, *AXES, fee=fee, slippage=fee / 10, timerange="20240102-20240130")
    luck = result.figures["luck"]
    assert luck["configurations_tried"] == 288
    assert luck["deflated_sharpe"] < 0.95
    assert result.figures["verdict"].startswith("No discovery: ")
    assert luck["sharpe"] > 0 or fee  # without costs something always looks good


def test_what_earns_by_its_rules_is_more_than_luck(tmp_path: Path) -> None:
    project = project_of(tmp_path, swinging(DAYS * 1440))
    result, _ = swept(
        project, "oversold=35:45:6", "overbought=55:65:6", fee=0.0, slippage=0.0, timerange="20240102-20240130"
    )
    assert result.figures["luck"]["deflated_sharpe"] > 0.99
    assert result.figures["verdict"].startswith(
        "More than luck: the best of 36 trials on these candles has a Sharpe ratio of "
    )


def test_the_verdict_says_what_was_tried_and_what_it_takes() -> None:
    luck = {"configurations_tried": 1200, "sharpe": 2.0, "luckiest_sharpe": 3.0, "deflated_sharpe": 0.12}
    assert verdict(luck, 0.05) == (
        "No discovery: the best of 1,200 trials on these candles has a Sharpe ratio of 2.00, and the luckiest of as many worthless ones "
        "would have about 3.00. That it is better than luck has a probability of 12.0%, and 95% is asked for."
    )
    assert verdict(luck, -0.05) == (
        "No discovery: even the best loses. The best of 1,200 trials on these candles returns -5.00%."
    )
    assert verdict({**luck, "deflated_sharpe": 0.97}, 0.05).startswith("More than luck: ")
    assert verdict({**luck, "sharpe": None, "deflated_sharpe": None}, 0.0) == (
        "No discovery: the best of 1,200 trials on these candles has no Sharpe ratio, so nothing tells it from luck."
    )
