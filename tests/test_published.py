"""A published result, judged again: five days of BTC before each of 52 days of 2021."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from freqlstm.cli.main import main

ROOT = Path(__file__).resolve().parents[1]
SEEDS = 3

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"),
]


@pytest.fixture(scope="module")
def told(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the two commands in the run file's first lines print as JSON, with fewer seeds."""
    project = tmp_path_factory.mktemp("project")
    shutil.copytree(ROOT / "backtests" / "published", project / "backtests" / "published")
    shutil.copy(ROOT / "backtests" / "published_daily_btc.toml", project / "backtests")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(project)

        def freqlstm(*words: str) -> str:
            ended = CliRunner(catch_exceptions=False).invoke(main, words)
            assert ended.exit_code == 0, ended.stderr
            return ended.stdout

        candles = str(real_data / "seed" / "daily_btc_ohclv_2021.csv")
        freqlstm("import", candles, "-p", "BTC/USD", "-i", "1d", "--exchange", "published", "--assume-utc")
        run = "backtests/published_daily_btc.toml"
        found: dict[str, Any] = json.loads(freqlstm("evaluate", run, "--seeds", str(SEEDS), "--jobs", "1", "--json"))
        return found


@pytest.fixture
def signals(told: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = told["figures"]["signals"]
    return found


def test_the_rows_are_the_52_windows_that_were_published(told: dict[str, Any]) -> None:
    assert told["figures"]["rows"] == 52
    assert (told["figures"]["target"], told["figures"]["horizon"]) == ("return", 1)
    assert not told["synthetic"]


def test_the_price_that_stays_errs_by_what_the_publication_calls_persistence(signals: dict[str, Any]) -> None:
    assert signals["zero"]["pooled"]["mae"] == pytest.approx(0.02954, abs=1e-5)


def test_the_published_network_errs_by_more_than_the_price_that_stays(signals: dict[str, Any]) -> None:
    over = signals["published_lstm"]["over_seeds"]
    assert over["seeds"] == len(over["mae"]) == SEEDS
    assert 0.029 < over["mae_mean"] < 0.033
    assert over["mae_mean"] > signals["zero"]["pooled"]["mae"]


def test_boosting_from_the_price_that_stays_loses_nothing(signals: dict[str, Any]) -> None:
    over = signals["published_boosted"]["over_seeds"]
    zero = signals["zero"]["pooled"]["mae"]
    assert over["mae_mean"] == pytest.approx(0.0295, abs=3e-4)
    assert max(over["mae"]) < zero + 2e-4


def test_the_bootstrap_error_dwarfs_every_difference_and_the_words_say_so(told: dict[str, Any]) -> None:
    figures = told["figures"]
    zero = figures["signals"]["zero"]["pooled"]
    assert zero["mae_error"] == pytest.approx(0.0033, abs=5e-4)
    for name in ("published_lstm", "published_boosted"):
        own = figures["signals"][name]["pooled"]
        assert own["mae_error"] == pytest.approx(0.0034, abs=6e-4)
        assert abs(own["mae"] - zero["mae"]) < own["mae_error"]
    assert any(finding.startswith("These 52 rows prove nothing: ") for finding in figures["findings"])
    assert figures["findings"][0] == "No signal's error is below zero's beyond noise (DM p < .05)."
