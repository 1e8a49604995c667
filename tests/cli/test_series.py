"""External series on the command line: import, download, list, and a signal that reads them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from series_server import Service

from freqlstm.connectors import FearGreed
from freqlstm.external import ExternalSeries
from freqlstm.project import Project
from freqlstm.series_store import SeriesStore

INDEX = "date,index\n" + "".join(f"2024-01-0{day},{day}0\n" for day in range(1, 6))

FOLLOWER = '''
"""Follows another coin while people are greedy."""

from freqlstm import Signal
from freqlstm.features import compute


class Follower(Signal):
    features = ("momentum_5@ETH/USDT", "series:mood")

    def predict(self, candles):
        table = compute(self.features, candles)
        return table["momentum_5@ETH/USDT"] * 1e-3 * (table["series:mood"] - 20)
'''


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "index.csv"
    path.write_text(INDEX)
    return path


def test_an_import_tells_what_is_new_and_a_second_one_changes_nothing(freqlstm, file: Path) -> None:
    arguments = ("import-series", "mood", file, "--time", "date", "--known-after", "1d", "--assume-utc")
    assert freqlstm(*arguments).stdout == "series:mood: 5 rows, 5 new, 2024-01-01 to 2024-01-05.\n"
    file.write_text(INDEX + "2024-01-06,60\n")
    assert json.loads(freqlstm(*arguments, "--json").stdout)["new"] == 1
    assert json.loads(freqlstm(*arguments, "--json").stdout)["new"] == 0
    (listed,) = json.loads(freqlstm("data", "series", "--json").stdout)
    assert (listed["series"], listed["rows"], listed["known_after"], listed["source"]) == ("mood", 6, "1d", "index.csv")
    assert listed["last_known_at"] == "2024-01-07T00:00:00+00:00"
    assert freqlstm("data", "series").stdout.split("\n")[1].startswith("series:mood")
    assert json.loads(freqlstm("data", "list", "--json").stdout) == []


def test_an_import_that_does_not_say_when_values_are_known_is_refused(freqlstm, file: Path) -> None:
    shown = freqlstm("import-series", "mood", file, "--time", "date", "--assume-utc")
    assert shown.exit_code == 2
    assert shown.stderr == (
        "Error: It is not said when a value becomes known. Say how long after its time with --known-after: 1d for the value of a day "
        "that is published when the day is over, 0s for times of publication.\n"
    )


def test_without_any_series_the_list_says_how_to_get_one(freqlstm) -> None:
    assert freqlstm("data", "series").stderr == (
        "No external series is stored. `freqlstm import-series` and `freqlstm download-series` bring some.\n"
    )


def test_a_computed_series_is_stored_under_its_own_or_another_name(freqlstm, tmp_path: Path) -> None:
    told = freqlstm("download-series", "stock_to_flow", "--since", "2024-04-01", "--json")
    assert json.loads(told.stdout)["series"] == "stock_to_flow"
    assert freqlstm("download-series", "stock_to_flow", "--name", "scarcity").exit_code == 0
    assert SeriesStore(Project(tmp_path).data).names() == ["scarcity", "stock_to_flow"]


def test_values_that_the_source_has_revised_stay_as_first_known(
    freqlstm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = SeriesStore(Project(tmp_path).data)

    def body(values: list[int]) -> dict[str, object]:
        rows = [{"value": str(value), "timestamp": str(1709251200 + 86400 * day)} for day, value in enumerate(values)]
        return {"data": rows, "metadata": {"error": None}}

    with Service() as service:
        monkeypatch.setattr(FearGreed, "url", service.url)
        service.answers["/fng/"] = lambda params: body([70, 71])
        assert (
            freqlstm("download-series", "fear_greed").stdout
            == "series:fear_greed: 2 rows, 2 new, 2024-03-01 to 2024-03-02.\n"
        )
        service.answers["/fng/"] = lambda params: body([70, 99, 72])
        again = freqlstm("download-series", "fear_greed")
        assert again.stdout == "series:fear_greed: 3 rows, 1 new, 2024-03-01 to 2024-03-03.\n"
        assert again.stderr == (
            "1 stored values were revised by the source since; they stay as first known. --replace takes the new ones.\n"
        )
        assert store.read("fear_greed").value.tolist() == [70.0, 71.0, 72.0]
        assert freqlstm("download-series", "fear_greed", "--replace").exit_code == 0
        assert store.read("fear_greed").value.tolist() == [70.0, 99.0, 72.0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("fear_gred",), "No source of series named 'fear_gred'. Did you mean 'fear_greed'?"),
        (("defillama",), "defillama was given nothing. It needs chain or protocol its name, as in `freqlstm download-series defillama chain Arbitrum`."),
        (("fred", "DGS10"), "fred needs a key. Put it into the environment variable FRED_API_KEY."),
        (("stock_to_flow", "--name", "S2F!"), "Series name 'S2F!' cannot be used. It must be lower-case letters, digits and underscores, as in 'fear_greed'."),
    ],
)  # fmt: skip
def test_what_cannot_be_downloaded_is_told_in_one_line(
    freqlstm, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], message: str
) -> None:
    monkeypatch.delenv("FRED_API_KEY", raising=False)
    shown = freqlstm("download-series", *arguments)
    assert shown.exit_code in (1, 2)
    assert shown.stderr == f"Error: {message}\n"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """With a signal that reads another pair and a series, and the series."""
    (tmp_path / "signals").mkdir()
    (tmp_path / "signals" / "follower.py").write_text(FOLLOWER)
    (tmp_path / "strategies").mkdir()
    (tmp_path / "strategies" / "follow.py").write_text(
        '"""Follow."""\n\nfrom freqlstm import Strategy\n\n\nclass Follow(Strategy):\n    signals = dict(prediction="follower")\n\n'
        "    def enter_long(self, bars):\n        return bars.prediction > 0.02\n\n"
        "    def exit_long(self, bars):\n        return bars.prediction < 0\n"
    )
    days = pd.date_range("2024-01-01", "2024-04-05", freq="D", tz="UTC")
    mood = ExternalSeries.of("mood", days, np.arange(len(days)) % 60, days + pd.Timedelta(days=1))
    SeriesStore(Project(tmp_path).data).write(mood, {"source": "here"})
    return Project(tmp_path)


def test_a_backtest_loads_what_its_signal_reads_and_records_it(freqlstm, project: Project) -> None:
    shown = freqlstm(
        "backtest",
        "--strategy",
        "follow",
        "--exchange",
        "demo",
        "-i",
        "1h",
        "-p",
        "BTC/USDT",
        "--timerange",
        "20240201-20240301",
    )
    assert shown.exit_code == 0, shown.stderr
    (folder,) = project.results.iterdir()
    manifest = json.loads((folder / "manifest.json").read_text())
    assert set(manifest["candles"]) == {"BTC/USDT"}
    assert set(manifest["candles"]["BTC/USDT"]["beside"]) == {"ETH/USDT", "mood"}
    assert pd.read_parquet(folder / "predictions.parquet").select_dtypes("number").iloc[:, 0].notna().all()
    assert freqlstm("reproduce", folder.name).exit_code == 0


def test_a_forecast_reads_what_was_known_at_the_newest_close(freqlstm, project: Project) -> None:
    shown = freqlstm("predict", "BTC/USDT", "--signal", "follower", "-i", "1h", "--exchange", "demo", "--json")
    assert shown.exit_code == 0, shown.stderr
    assert np.isfinite(json.loads(shown.stdout)[0]["prediction"])


def test_a_series_that_is_missing_stops_a_backtest_with_what_to_do(freqlstm, project: Project) -> None:
    (project.data / "series" / "mood.parquet").rename(project.data / "series" / "moody.parquet")
    shown = freqlstm("backtest", "--strategy", "follow", "--exchange", "demo", "-i", "1h")
    assert shown.exit_code == 1
    assert shown.stderr.startswith(
        "Error: No stored external series named 'mood'. Did you mean 'moody'? `freqlstm import-series mood "
    )
