"""What TensorBoard reads of a fit."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import make_candles
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

from freqlstm.errors import UsageError
from freqlstm.event_log import EventLog
from freqlstm.forecast import train
from freqlstm.plugins import find

ROOT = Path(__file__).resolve().parents[1]
FEW = {"features": ["return_lag_0", "range_1"], "seeds": 2, "epochs": 2, "units": 4, "lookback": 3}
BTC = "BTC/USDT"

# Keras converts its variables in a way that numpy 2 has deprecated.
pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"
)


def read(run: Path) -> dict[str, dict[int, float]]:
    """Figure -> step -> value, of the one event file in a folder, read as TensorBoard does."""
    (file,) = run.iterdir()
    told: dict[str, dict[int, float]] = {}
    for event in EventFileLoader(str(file)).Load():
        for value in event.summary.value:
            told.setdefault(value.tag, {})[event.step] = value.tensor.float_val[0]
    return told


def test_every_epoch_of_every_network_is_told(tmp_path: Path) -> None:
    plugin, market, events = find("signal", "lstm", ROOT), {BTC: make_candles(1500)}, tmp_path / "events"
    signal, folder = train(plugin, FEW, market, tmp_path / "models", events=events)
    (run,) = events.iterdir()
    assert run.name == f"lstm-{folder.name}"
    assert sorted(path.name for path in run.iterdir()) == ["network_1", "network_2"]
    for number, errors in enumerate(signal.report_["validation_errors"], start=1):
        told = read(run / f"network_{number}")
        assert set(told) == {"loss", "validation error", "learning rate"}
        assert list(told["validation error"]) == list(range(1, len(errors) + 1))
        assert list(told["validation error"].values()) == pytest.approx(errors, rel=1e-6)
        assert all(math.isfinite(value) and value > 0 for value in told["loss"].values())
        assert 0 < told["learning rate"][1] < 2e-3  # the one cycle has passed its top
    warnings: list[str] = []
    train(plugin, FEW, market, tmp_path / "models", events=events, warn=warnings)
    assert warnings == [f"It was fitted before, so {events} is told nothing. Delete {folder} to fit it again."]


def test_a_fit_without_epochs_is_said_to_tell_nothing(tmp_path: Path) -> None:
    warnings: list[str] = []
    few = {"features": ["return_lag_0", "range_1"]}
    train(
        find("signal", "ridge", ROOT),
        few,
        {BTC: make_candles(1500)},
        tmp_path / "models",
        events=tmp_path / "e",
        warn=warnings,
    )
    assert warnings == [f"ridge is not fitted in epochs, so {tmp_path / 'e'} is told nothing."]
    assert not (tmp_path / "e").exists()


def test_a_fit_of_the_same_name_replaces_what_was_told_before(tmp_path: Path) -> None:
    for loss in (3.0, 2.0):
        log = EventLog(tmp_path)
        log(1, 1, {"loss": loss})
        log.close()
    assert read(tmp_path / "network_1") == {"loss": {1: 2.0}}


def test_a_figure_can_be_read_as_soon_as_its_epoch_is_over(tmp_path: Path) -> None:
    log = EventLog(tmp_path)
    for epoch in (1, 2):
        log(1, epoch, {"loss": 1 / epoch})
        assert read(tmp_path / "network_1")["loss"][epoch] == 1 / epoch
    log.close()


def test_without_tensorboard_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard.summary.writer", None)
    with pytest.raises(
        UsageError,
        match=r"^TensorBoard is not installed \(.*\)\. Install it with pip install 'freqlstm\[tensorboard\]', or leave out",
    ):
        EventLog(tmp_path)


def test_training_does_not_need_tensorboard() -> None:
    program = "import sys; sys.modules['tensorboard'] = None; import freqlstm.forecast, freqlstm.cli.train"
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT)
