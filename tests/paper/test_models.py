"""Models of a session: fitted when their fold begins, swapped in between two bars, and never on other candles."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from signal import SIGKILL

import pandas as pd
import pytest
from conftest import make_candles

from freqlstm.candles import Candles
from freqlstm.errors import ModelError, TooFewCandles
from freqlstm.folds import FoldPlan
from freqlstm.job import SignalUse
from freqlstm.paper.models import Models, loaded
from freqlstm.plugins import find
from freqlstm.predictions import walk_forward

PLAN = FoldPlan(train="3d", test="2h", min_train="1d")
START = 5000  # row at which the session begins


@pytest.fixture(scope="module")
def candles() -> Candles:
    return make_candles(5400, seed=5)


def models_of(
    candles: Candles, folder: Path, gather: Callable[[pd.Timestamp, pd.Timestamp], Mapping[str, Candles]] | None = None
) -> Models:
    uses = {"prediction": SignalUse(find("signal", "ridge", Path()), {"interval_memory": 30})}

    def known(first: pd.Timestamp, end: pd.Timestamp) -> Mapping[str, Candles]:
        return {"BTC/USDT": candles.between(first, end)}

    return Models(
        uses, 1, PLAN, folder / "models", candles.time[START], gather or known, folder / "learned", frozenset({"prediction"})
    )  # fmt: skip


def test_models_change_with_the_folds_between_two_bars_and_are_those_of_the_backtest(
    candles: Candles, tmp_path: Path
) -> None:
    models = models_of(candles, tmp_path)
    assert models.turn(candles.time[START], wait=True) == ["prediction"]
    first = models.speakers["prediction"]
    assert models.turn(candles.time[START + 119]) == []
    swapped_at = next(row for row in range(START + 120, START + 300) if _turned(models, candles, row))
    second = models.speakers["prediction"]
    saved = (tmp_path / "models" / "ridge" / second.model_id / "signal.json").read_bytes()
    assert second.digest == hashlib.sha256(saved).hexdigest() != first.digest
    assert first.model_id != second.model_id
    assert second.since == candles.time[swapped_at]
    models.close()
    use = models._uses["prediction"]
    table = walk_forward(
        use[0], use[1], {"BTC/USDT": candles}, candles.time[START], candles.time[START + 200], PLAN, tmp_path / "models", jobs=1
    )  # fmt: skip
    assert [fold["model_id"] for fold in table.folds] == [first.model_id, second.model_id]
    assert all(fold["from_cache"] for fold in table.folds)


def _turned(models: Models, candles: Candles, row: int) -> bool:
    """A bar of the session: it never waits for a fit."""
    began = time.monotonic()
    turned = models.turn(candles.time[row])
    assert time.monotonic() - began < 2.0
    time.sleep(0.05)
    return turned == ["prediction"]


def test_a_model_that_was_fitted_on_other_candles_is_refused(candles: Candles, tmp_path: Path) -> None:
    models = models_of(candles, tmp_path)
    models.turn(candles.time[START], wait=True)
    models.close()
    plugin = find("signal", "ridge", Path())
    folder = tmp_path / "models" / "ridge" / models.speakers["prediction"].model_id
    other = {"BTC/USDT": make_candles(5400, seed=6).rows(100, START)}
    with pytest.raises(
        ModelError, match=r"was fitted on other candles of BTC/USDT than the session's up to .* so it is refused"
    ):
        loaded(plugin, folder, other, models.fold_at(candles.time[START]))


def test_an_exchange_with_too_short_a_past_says_so(candles: Candles, tmp_path: Path) -> None:
    young = candles.rows(START - 200, len(candles))
    models = models_of(candles, tmp_path, lambda first, end: {"BTC/USDT": young.between(first, end)})
    with pytest.raises(TooFewCandles, match=r"ridge cannot be fitted: the exchange has candles from .* --min-train"):
        models.turn(candles.time[START], wait=True)
    models.close()


def test_a_fit_that_fails_leaves_the_model_before_it_speaking(candles: Candles, tmp_path: Path) -> None:
    broken = False

    def gather(first: pd.Timestamp, end: pd.Timestamp) -> Mapping[str, Candles]:
        return {"BTC/USDT": candles.rows(0, 10) if broken else candles.between(first, end)}

    models = models_of(candles, tmp_path, gather)
    models.turn(candles.time[START], wait=True)
    first = models.speakers["prediction"]
    broken = True
    assert models.turn(candles.time[START + 130], wait=True) == []
    assert models.speakers["prediction"] is first
    assert models.problems["prediction"].startswith("BTC/USDT has 10 candles to train on")
    models.close()


def test_a_killed_process_or_a_full_disk_leaves_the_model_before_it_speaking_and_the_next_fit_works(
    candles: Candles, tmp_path: Path
) -> None:
    full = False

    def gather(first: pd.Timestamp, end: pd.Timestamp) -> Mapping[str, Candles]:
        if full:
            raise OSError(28, "No space left on device")
        return {"BTC/USDT": candles.between(first, end)}

    models = models_of(candles, tmp_path, gather)
    models.turn(candles.time[START], wait=True)
    first = models.speakers["prediction"]
    assert models._processes is not None
    (fitting,) = models._processes._processes
    os.kill(fitting, SIGKILL)
    assert models.turn(candles.time[START + 130], wait=True) == []
    assert models.problems["prediction"] == (
        "ridge was not fitted: the process that fits was killed, perhaps for lack of memory."
    )
    full = True
    assert models.turn(candles.time[START + 250], wait=True) == []
    assert models.problems["prediction"] == "OSError: [Errno 28] No space left on device"
    assert models.speakers["prediction"] is first
    full = False
    assert models.turn(candles.time[START + 370], wait=True) == ["prediction"]
    assert models.problems == {}
    models.close()
