"""The base class of signals: parameters, files, and what may be called a prediction."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pytest
from conftest import make_candles

from freqlstm import provenance
from freqlstm.candles import Candles
from freqlstm.errors import ModelError, PluginError, UnknownName, UsageError
from freqlstm.features import feature
from freqlstm.plugins import find
from freqlstm.progress import Progress
from freqlstm.signal import PREDICTION_COLUMNS, Signal, prediction_table


@feature(warmup=1)
def own(candles: Candles) -> pd.Series[float]:
    """The change of the close."""
    return candles.close.diff()


class Level(Signal):
    features = (own, "return_lag_0")
    weight: float = 0.5
    bars: int = 10
    kind: Literal["a", "b"] = "a"
    names: tuple[str, ...] = ("x",)
    limits = {"bars": (1, math.inf), "weight": (0.0, 1.0)}
    in_files = ("table_",)

    def learn(self, market: dict[str, Candles], progress: Progress) -> None:
        self.level_ = float(np.mean([candles.close.mean() for candles in market.values()]))
        self.table_ = np.arange(3.0)

    def predict(self, candles: Candles) -> pd.Series[float]:
        self.require_fit(candles)
        return np.log(self.level_ / candles.close) * self.weight

    def write_files(self, folder: Path) -> None:
        (folder / "table.json").write_text(json.dumps(self.table_.tolist()))

    def read_files(self, folder: Path) -> None:
        self.table_ = np.array(json.loads((folder / "table.json").read_text()))


class Deeper(Level):
    bars = 20  # an annotation is inherited with its limits
    extra: bool = False


@pytest.fixture
def fitted(candles: Candles) -> Level:
    return Level(weight=1).fit({"BTC/USDT": candles})


def test_parameters_are_the_annotated_attributes_of_the_class_and_its_bases() -> None:
    assert Deeper().parameters == {
        "horizon": 5, "target": "return", "seed": 0, "features": ["own", "return_lag_0"], "weight": 0.5, "bars": 20, "kind": "a",
        "names": ["x"], "extra": False,
    }  # fmt: skip


def test_an_unknown_parameter_is_refused_with_the_nearest_one() -> None:
    with pytest.raises(UnknownName, match=r"^No parameter named 'wieght'. Did you mean 'weight'\?$"):
        Level(wieght=1)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("bars", 2.5, "Parameter 'bars' of Level is 2.5. It must be a whole number."),
        ("bars", True, "Parameter 'bars' of Level is True. It must be a whole number."),
        ("bars", 0, "Parameter 'bars' of Level is 0. It must be at least 1."),
        ("horizon", 0, "Parameter 'horizon' of Level is 0. It must be at least 1."),
        ("weight", 1.5, "Parameter 'weight' of Level is 1.5. It must be between 0.0 and 1.0."),
        ("weight", "much", "Parameter 'weight' of Level is 'much'. It must be a number."),
        ("weight", math.nan, "Parameter 'weight' of Level is nan. It must be a number."),
        ("kind", "c", "Parameter 'kind' of Level is 'c'. It must be 'a' or 'b'."),
        (
            "target",
            "price",
            "Parameter 'target' of Level is 'price'. It must be 'return' or 'direction' or 'volatility'.",
        ),
        ("names", "x", "Parameter 'names' of Level is 'x'. It must be a list, each a text."),
        ("names", [1], "Parameter 'names' of Level is (1,). It must be a list, each a text."),
    ],
)
def test_a_value_of_the_wrong_type_or_size_is_refused(name: str, value: Any, message: str) -> None:
    with pytest.raises(UsageError) as raised:
        Level(**{name: value})
    assert str(raised.value) == message


def test_a_value_takes_the_type_of_its_annotation() -> None:
    signal = Level(weight=1, bars=np.int64(3), names=["p", "q"])
    assert (signal.weight, signal.bars, signal.names) == (1.0, 3, ("p", "q"))
    assert isinstance(signal.weight, float)
    assert type(signal.bars) is int


def test_a_feature_of_the_plugins_own_can_be_given_by_name() -> None:
    assert Level(features=["own"]).features == (own,)


def test_a_parameter_needs_a_default() -> None:
    class Lacking(Signal):
        bars: int

    with pytest.raises(
        PluginError, match=r"^Parameter 'bars' of Lacking has no default\. Give it one, as in bars: int = 1\.$"
    ):
        Lacking()


def test_only_a_signal_that_learns_needs_a_fit() -> None:
    class Fixed(Signal):
        def predict(self, candles: Candles) -> pd.Series[float]:
            return candles.close * 0

    assert not Fixed().needs_fit
    assert Level().needs_fit


def test_warmup_is_that_of_the_slowest_feature() -> None:
    assert Level(features=["own"]).warmup == 1
    assert Level().warmup == 300


def test_a_signal_speaks_only_after_a_fit_and_on_its_own_timeframe(candles: Candles, fitted: Level) -> None:
    with pytest.raises(ModelError, match=r"^Level has not been fitted\. Call fit\(market\) or load\(folder\) first\.$"):
        Level().predict(candles)
    with pytest.raises(ModelError, match=r"^Level was fitted on 1m candles and cannot predict from 1h candles\."):
        fitted.predict(make_candles(20, timeframe="1h"))


def test_saving_and_loading_gives_the_same_signal_exactly(fitted: Level, candles: Candles, tmp_path: Path) -> None:
    fitted.save(tmp_path / "m")
    loaded = Level.load(tmp_path / "m")
    assert loaded.parameters == fitted.parameters
    assert loaded.level_ == fitted.level_
    assert loaded.training_ == fitted.training_
    pd.testing.assert_series_equal(loaded.predict(candles), fitted.predict(candles), check_exact=True)
    assert sorted(file.name for file in (tmp_path / "m").iterdir()) == ["signal.json", "table.json"]


def test_signal_json_says_what_the_model_was_made_from(fitted: Level, candles: Candles, tmp_path: Path) -> None:
    fitted.save(tmp_path / "m")
    saved = json.loads((tmp_path / "m" / "signal.json").read_text())
    assert saved["class"] == "Level"
    assert saved["source"] == "test_signal.py"
    assert saved["parameters"] == fitted.parameters
    assert saved["fitted"]["training_"]["candles"]["BTC/USDT"]["digest"] == candles.digest
    assert saved["fitted"]["training_"]["candles"]["BTC/USDT"]["first"] == "2024-01-01 00:00:00+00:00"
    assert saved["versions"]["numpy"] == np.__version__
    assert saved["files"] == {"table.json": provenance.file_digest(tmp_path / "m" / "table.json")}


def reseal(folder: Path, **changes: Any) -> None:
    """Change signal.json and make its seal fit again, as somebody would who knows how."""
    value = provenance.read_sealed(folder / "signal.json")
    provenance.write_sealed(folder / "signal.json", {**value, **changes})


def refusal(folder: Path, kind: type[Signal] = Level) -> str:
    with pytest.raises(ModelError) as raised:
        kind.load(folder)
    assert "\n" not in str(raised.value)
    return str(raised.value).replace(str(folder), "FOLDER")


def test_a_model_that_does_not_match_is_refused_in_one_line(fitted: Level, tmp_path: Path) -> None:
    folder = tmp_path / "m"
    assert refusal(folder) == "There is no file FOLDER/signal.json. Fit the signal and save it first."

    fitted.save(folder)
    assert refusal(folder, Deeper) == "FOLDER holds a fitted Level, not a Deeper. Load it with that signal."

    reseal(folder, digest="0" * 64)
    assert refusal(folder) == "FOLDER was fitted by another version of test_signal.py or of freqlstm. Fit it again."

    fitted.save(folder)
    reseal(folder, versions={"numpy": "1.0"})
    assert refusal(folder) == f"FOLDER was fitted with numpy 1.0; here is {np.__version__}. Fit it again."

    fitted.save(folder)
    reseal(folder, format=99)
    assert refusal(folder) == "FOLDER has format 99 of signal.json, not 1. Fit it again."


def test_a_damaged_model_is_refused_in_one_line(fitted: Level, tmp_path: Path) -> None:
    folder = tmp_path / "m"
    fitted.save(folder)
    whole = (folder / "signal.json").read_bytes()

    (folder / "signal.json").write_bytes(whole[: len(whole) // 2])
    assert refusal(folder).startswith("FOLDER/signal.json is corrupt: ")
    (folder / "signal.json").write_bytes(b"\xff\xfe")
    assert refusal(folder).startswith("FOLDER/signal.json is corrupt: ")
    (folder / "signal.json").write_text("[]")
    assert refusal(folder).startswith("FOLDER/signal.json is not a file of freqlstm: it has no seal.")
    (folder / "signal.json").write_bytes(whole.replace(b'"weight": 1.0', b'"weight": 0.9'))
    assert refusal(folder).startswith("FOLDER/signal.json was changed since it was written.")

    (folder / "signal.json").write_bytes(whole)
    (folder / "table.json").write_text("[9]")
    assert refusal(folder).startswith("FOLDER/table.json was damaged or changed since it was written.")
    (folder / "table.json").unlink()
    assert refusal(folder) == "FOLDER lacks its file table.json. Delete the folder and fit the signal again."

    reseal(folder, files={"../outside": "0"})
    assert refusal(folder).startswith("FOLDER lacks its file ../outside.")


def test_a_save_that_fails_leaves_nothing_behind(fitted: Level, tmp_path: Path) -> None:
    fitted.table_ = np.array([object()])
    with pytest.raises(TypeError):
        fitted.save(tmp_path / "m")
    assert list(tmp_path.iterdir()) == []


class Says(Signal):
    """Predicts what it is told."""

    def predict(self, candles: Candles) -> Any:
        return self.words  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (lambda c: [1.0], "Says.predict returned a list. It must return a Series or DataFrame at candles.time."),
        (
            lambda c: c.close.iloc[1:],
            "Says.predict returned 299 rows whose index is not candles.time. Give one row for each candle.",
        ),
        (
            lambda c: c.frame,
            "Says.predict returned the columns open, high, low, close, volume. They must be prediction and, where there "
            "are such, prediction_low, prediction_high and prediction_spread.",
        ),
        (
            lambda c: c.close * np.inf,
            "Says.predict returned an infinite prediction. Where nothing can be said it must be NaN.",
        ),
    ],
)
def test_what_is_no_prediction_is_refused(words: Any, message: str, candles: Candles) -> None:
    signal = Says()
    signal.words = words(candles)  # type: ignore[attr-defined]
    with pytest.raises(PluginError) as raised:
        prediction_table(signal, candles)
    assert str(raised.value) == message


def test_a_prediction_without_an_interval_has_nan_there(candles: Candles) -> None:
    signal = Says()
    signal.words = candles.close  # type: ignore[attr-defined]
    table = prediction_table(signal, candles)
    assert list(table.columns) == list(PREDICTION_COLUMNS)
    assert table["prediction"].equals(candles.close.rename("prediction"))
    assert table[["prediction_low", "prediction_high", "prediction_spread"]].isna().all(axis=None)


def test_a_signal_without_predict_says_what_is_missing(candles: Candles) -> None:
    with pytest.raises(PluginError, match=r"^Signal has no predict\. A signal must write predict\(self, candles\)\.$"):
        Signal().predict(candles)


@pytest.mark.parametrize(
    "module", ["freqlstm.signal", "freqlstm.predictions", "freqlstm.targets", "freqlstm.provenance"]
)
def test_importing_it_loads_neither_tensorflow_nor_keras(module: str) -> None:
    program = f"import {module}, sys; print([name for name in ('tensorflow', 'keras') if name in sys.modules])"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "[]"


FILES = """from pathlib import Path
from freqlstm import Signal
class Mine(Signal):
    files = FILES
"""


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ('("bias.csv",)', None),
        ('("bais.csv",)', r"The files of Mine name bais\.csv, but .*bais\.csv is no file\. Put it there\."),
        ('tuple("bias.csv".split())', r"The files of Mine are worked out when it is imported\. Write their names out"),
        (
            '"bias.csv"',
            r"The files of Mine are 'bias\.csv'\. They must be a tuple of names, as in \(\"bias\.csv\",\)\.",
        ),
    ],
)
def test_the_files_of_a_signal_are_names_that_stand_in_its_source(
    written: str, message: str | None, tmp_path: Path
) -> None:
    (tmp_path / "signals").mkdir()
    (tmp_path / "signals" / "bias.csv").write_text("1")
    (tmp_path / "signals" / "mine.py").write_text(FILES.replace("FILES", written))
    plugin = find("signal", "mine", tmp_path)
    with nullcontext() if message is None else pytest.raises(PluginError, match=message):
        assert plugin.load().files == ("bias.csv",)
