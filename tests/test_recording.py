"""A fit that is interrupted goes on from its last whole epoch, to the bits it would have had."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from conftest import make_candles
from terminal import command, environment, typed
from test_keras_signal import reverting

from freqlstm.candles import Candles
from freqlstm.cli.main import main
from freqlstm.errors import ModelError
from freqlstm.forecast import train
from freqlstm.plugins import Plugin, find
from freqlstm.recording import Checkpoints, Recorder, Snapshot, recorded, recorder
from freqlstm.signal import Signal

BTC = "BTC/USDT"
TINY = '''"""A network that trains in a moment and draws random numbers while it does."""

import keras

from freqlstm.boosting import BoostedSignal
from freqlstm.keras_signal import KerasSignal


def network(signal, n_features):
    layers = [keras.Input((signal.lookback, n_features)), keras.layers.Flatten(), keras.layers.Dropout(0.2)]
    return keras.Sequential([*layers, keras.layers.Dense(4, "tanh"), keras.layers.Dense(1)])


class {name}({base}):
    features = ("return_lag_0", "range_1", "time_of_day_sin")
    lookback: int = 3
    seeds: int = 2
    epochs: int = 3
    learning_rate: float = 2e-2
    {more}

    def build(self, n_features):
        return network(self, n_features)
'''
# Keras converts its variables in a way that numpy 2 has deprecated.
pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"
)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("project")
    (root / "signals").mkdir()
    boosted = 'horizon: int = 1\n    base: str = "zero"\n    stages: int = 2\n    seeds: int = 1'
    for name, base, more in (("Tiny", "KerasSignal", ""), ("Stages", "BoostedSignal", boosted)):
        (root / "signals" / f"{name.lower()}.py").write_text(TINY.format(name=name, base=base, more=more))
    return root


@pytest.fixture(scope="module")
def tiny(project: Path) -> Plugin:
    return find("signal", "tiny", project)


@pytest.fixture(scope="module")
def market() -> dict[str, Candles]:
    return {BTC: make_candles(1500)}


@pytest.fixture(scope="module")
def uninterrupted(tiny: Plugin, market: dict[str, Candles], tmp_path_factory: pytest.TempPathFactory) -> Signal:
    return train(tiny, {}, market, tmp_path_factory.mktemp("models"))[0]


class PowerCut(BaseException):
    """What ends a fit without a word."""


def interrupted(plugin: Plugin, market: dict[str, Candles], models: Path, epochs: int, **options: object) -> None:
    """A fit that ends for good after so many epochs of all its networks."""
    left = epochs

    class Cutting(Checkpoints):
        def write(self, key: str, snapshot: Snapshot) -> None:
            nonlocal left
            super().write(key, snapshot)
            left -= 1
            if not left:
                raise PowerCut

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("freqlstm.forecast.Checkpoints", Cutting)
        with pytest.raises(PowerCut):
            train(plugin, {}, market, models, **options)  # type: ignore[arg-type]


def checkpoints(models: Path, name: str = "tiny") -> list[Path]:
    return sorted(models.glob(f"{name}/checkpoints/*/*"))


def expect_same(one: Signal, other: Signal, candles: Candles) -> None:
    for mine, theirs in zip(one.networks_, other.networks_, strict=True):  # type: ignore[attr-defined]
        for a, b in zip(mine.get_weights(), theirs.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)
    assert one.report_ == other.report_
    assert one._fitted() | {"training_": 0} == other._fitted() | {"training_": 0}
    pd.testing.assert_frame_equal(one.predict(candles), other.predict(candles), check_exact=True)


@pytest.mark.parametrize("epochs", [1, 3, 5])
def test_a_fit_cut_off_after_any_epoch_goes_on_to_the_same_bits(
    epochs: int, tiny: Plugin, market: dict[str, Candles], uninterrupted: Signal, tmp_path: Path
) -> None:
    total = sum(map(len, uninterrupted.report_["validation_errors"]))
    assert len(uninterrupted.report_["validation_errors"][0]) == 3  # cut off in the first, after it, and in the second
    assert total >= 5
    interrupted(tiny, market, tmp_path, epochs)
    told: list[str] = []
    warnings: list[str] = []
    resumed, folder = train(
        tiny, {}, market, tmp_path, lambda done, of, text: told.append(text), resume=True, warn=warnings
    )
    assert len([text for text in told if "epoch" in text]) == total - epochs
    assert warnings == []
    expect_same(resumed, uninterrupted, market[BTC])
    expect_same(type(resumed).load(folder), uninterrupted, market[BTC])
    assert [path.name for path in (tmp_path / "tiny").iterdir()] == [folder.name], "a checkpoint was left"


def test_a_boosted_fit_cut_off_in_a_later_stage_goes_on_in_it(project: Path, tmp_path: Path) -> None:
    market = {BTC: reverting(1500)}
    stages = find("signal", "stages", project)
    whole = train(stages, {}, market, tmp_path / "whole")[0]
    first = sum(map(len, whole.report_["stages"][0]["validation_errors"]))
    assert len(whole.report_["stages"]) > 1, "the test needs a second stage"
    interrupted(stages, market, tmp_path / "cut", first + 1)
    told: list[str] = []
    resumed, _ = train(stages, {}, market, tmp_path / "cut", lambda done, of, text: told.append(text), resume=True)
    assert "stage 1 of 2, network 1 of 1, epoch 1" not in told
    assert "stage 2 of 2, network 1 of 1, epoch 2" in told
    expect_same(resumed, whole, market[BTC])


def test_without_resume_a_fit_begins_anew(
    tiny: Plugin, market: dict[str, Candles], uninterrupted: Signal, tmp_path: Path
) -> None:
    interrupted(tiny, market, tmp_path, 2)
    told: list[str] = []
    again, _ = train(tiny, {}, market, tmp_path, lambda done, of, text: told.append(text))
    assert told[0] == "network 1 of 2, epoch 1"
    expect_same(again, uninterrupted, market[BTC])


def test_a_damaged_checkpoint_is_told_and_its_network_trained_anew(
    tiny: Plugin, market: dict[str, Candles], uninterrupted: Signal, tmp_path: Path
) -> None:
    interrupted(tiny, market, tmp_path, 2)
    arrays = next(path for path in checkpoints(tmp_path) if path.suffix == ".npz")
    arrays.write_bytes(arrays.read_bytes()[:-100])
    warnings: list[str] = []
    resumed, _ = train(tiny, {}, market, tmp_path, resume=True, warn=warnings)
    (warning,) = warnings
    assert re.fullmatch(
        r"Network 1 is trained anew, its checkpoint cannot be used: .*-2\.npz was damaged or changed since it was written\.",
        warning,
    )
    expect_same(resumed, uninterrupted, market[BTC])


def test_neither_other_parameters_nor_other_candles_go_on_from_a_checkpoint(
    tiny: Plugin, market: dict[str, Candles], tmp_path: Path
) -> None:
    interrupted(tiny, market, tmp_path, 2)
    wanted = "There is no checkpoint of this signal with these parameters on these candles, though 1 of others: the fit begins anew."
    for parameters, candles in (({"learning_rate": 1e-2}, market[BTC]), ({}, market[BTC].rows(0, 1499))):
        warnings: list[str] = []
        train(tiny, parameters, {BTC: candles}, tmp_path, resume=True, warn=warnings)
        assert warnings == [wanted]
    assert len(checkpoints(tmp_path)) == 2, "that of the others must stay"


def test_only_the_newest_state_of_a_network_is_kept(tiny: Plugin, market: dict[str, Candles], tmp_path: Path) -> None:
    interrupted(tiny, market, tmp_path, 2)
    names = [path.name for path in checkpoints(tmp_path)]
    assert [name[32:] for name in names] == ["-2.npz", ".json"]


def test_a_crash_between_the_two_files_of_a_checkpoint_leaves_the_one_before(tmp_path: Path) -> None:
    kept = Checkpoints(tmp_path / "c")
    first = Snapshot({"a": np.ones(3)}, [{"validation_error": 1.0}], {"state": 2**100})
    kept.write("key", first)
    (tmp_path / "c" / "key-2.npz").write_bytes(b"the second, not yet told of")
    read = kept.read("key")
    assert read is not None
    np.testing.assert_array_equal(read.arrays["a"], np.ones(3))
    assert (read.epochs, read.shuffle) == (first.epochs, first.shuffle)
    kept.write("key", Snapshot({"a": np.zeros(3)}, first.epochs * 2, first.shuffle))
    assert sorted(path.name for path in (tmp_path / "c").iterdir()) == ["key-2.npz", "key.json"]


def test_a_checkpoint_that_is_not_whole_is_never_read(tmp_path: Path) -> None:
    kept = Checkpoints(tmp_path / "c")
    kept.write("key", Snapshot({"a": np.ones(3)}, [{"validation_error": 0.5}], {}))
    arrays, told = tmp_path / "c" / "key-1.npz", tmp_path / "c" / "key.json"
    whole = arrays.read_bytes()
    for content in (b"changed", whole[:-1], None):
        arrays.unlink() if content is None else arrays.write_bytes(content)
        with pytest.raises(ModelError, match=r"key-1\.npz was damaged or changed since it was written\.$"):
            kept.read("key")
    arrays.write_bytes(whole)
    told.write_text(told.read_text().replace("0.5", "0.25"))
    with pytest.raises(ModelError, match=r"key\.json was changed since it was written\."):
        kept.read("key")


def test_nobody_records_a_fit_outside_the_block(tmp_path: Path) -> None:
    assert recorder() is None
    with recorded(by := Recorder(Checkpoints(tmp_path / "c"))):
        assert recorder() is by
    assert recorder() is None


# In processes of their own

TRAIN = ("train", "--signal", "tiny", "--exchange", "demo", "--timerange", "20240101-20240110",
         "--set", "epochs=6", "--set", "batch=8", "--set", "learning_rate=0.001", "--json")  # fmt: skip


def written(file: Path) -> str:
    """The text of a file that another process may be replacing or removing."""
    with suppress(OSError):
        return file.read_text()
    return ""


def ended_after(epochs: int, number: int, root: Path, *more: str) -> tuple[int, str]:
    """Exit code and stderr of a fit that gets the signal ``number`` as soon as it has kept so many epochs."""
    process = subprocess.Popen(
        command(*TRAIN, *more), cwd=root, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        limit = time.monotonic() + 120
        while (
            len(re.findall("validation_error", "".join(map(written, root.glob("models/tiny/checkpoints/*/*.json")))))
            < epochs
        ):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < limit
            time.sleep(0.002)
        while (
            process.poll() is None
        ):  # Python may hear it where it ignores exceptions, as in a finaliser: then once more
            os.kill(process.pid, number)
            with suppress(subprocess.TimeoutExpired):
                process.wait(10)
        return process.returncode, process.communicate()[1]
    finally:
        process.kill()
        process.communicate()


@pytest.mark.slow
def test_a_process_interrupted_and_then_killed_goes_on_to_the_model_of_one_left_alone(
    project: Path, tiny: Plugin, tmp_path: Path
) -> None:
    roots = [tmp_path / name for name in ("disturbed", "alone")]
    for root in roots:
        (root / "signals").mkdir(parents=True)
        (root / "signals" / "tiny.py").write_bytes(tiny.path.read_bytes())
    code, stderr = ended_after(1, signal.SIGINT, roots[0])
    assert code == 130
    assert "Warning: What was fitted is kept: --resume goes on from it, on the same candles." in stderr
    assert "Error: Interrupted." in stderr
    assert ended_after(3, signal.SIGKILL, roots[0], "--resume")[0] == -signal.SIGKILL
    assert checkpoints(roots[0] / "models")
    assert not list(roots[0].glob("models/tiny/*/signal.json"))
    done = typed(*TRAIN, "--resume", cwd=roots[0])
    assert "Warning" not in done.stderr
    assert CliRunner().invoke(main, ["--project", str(roots[1]), *TRAIN]).exit_code == 0
    models: list[Mapping[str, list[np.ndarray]]] = []
    for root in roots:
        (folder,) = [path.parent for path in root.glob("models/tiny/*/signal.json")]
        loaded = find("signal", "tiny", root).load().load(folder)  # type: ignore[attr-defined]
        weights = [array for network in loaded.networks_ for array in network.get_weights()]
        models.append({"weights": weights, "report": [np.array(loaded.report_["validation_errors"], dtype=object)]})
        assert not checkpoints(root / "models")
    for name in ("weights", "report"):
        for mine, theirs in zip(models[0][name], models[1][name], strict=True):
            np.testing.assert_array_equal(mine, theirs)
