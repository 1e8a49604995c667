"""From the arrival of the closing candle to the order on the wire, with an LSTM; beside it, keras' own predict."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from conftest import make_candles
from paper.exchange import Floor, driven

from freqlstm.candles import Candles
from freqlstm.costs import Costs
from freqlstm.folds import FoldPlan
from freqlstm.paper_run import PaperRun, opened
from freqlstm.project import Project

STRATEGY = '''"""Trades on next to nothing, but not without a prediction."""

from freqlstm import Strategy


class Quick(Strategy):
    signals = dict(prediction="lstm")
    warmup = 2

    def enter_long(self, bars):
        return (bars.close < bars.close.shift(1)) & (bars.prediction > -1)

    def exit_long(self, bars):
        return (bars.close > bars.close.shift(1)) & (bars.prediction < 1)
'''
HISTORY = 9000


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bars", type=int, default=300)
    parser.add_argument("--units", type=int, default=64)
    parser.add_argument("--lookback", type=int, default=288)
    given = parser.parse_args()
    root = Path(tempfile.mkdtemp(prefix="latency-"))
    (root / "strategies").mkdir()
    (root / "strategies" / "quick.py").write_text(STRATEGY)
    made = make_candles(HISTORY + given.bars + 10, seed=4)
    candles = Candles.from_frame((made.frame * [1, 1, 1, 1, 100]).round(2), "BTC/USDT", "1m")
    run = PaperRun(
        strategy="quick", costs=Costs(slippage=0.0), folds=FoldPlan(train="3d", min_train="1d"),
        signals={"prediction": {"units": given.units, "lookback": given.lookback, "seeds": 1, "epochs": 1, "stride": 4}},
        limits={"max_orders_per_hour": 10**6, "max_daily_loss": 10**6, "max_order": 10**6, "max_position": 10**6},
    )  # fmt: skip
    came: list[float] = []
    waits: list[float] = []
    with Floor({"BTC/USDT": candles}, start=int(candles.time[HISTORY].timestamp() * 1000)) as floor:
        place = floor.sandbox.venue.matching.place

        def arrived(*arguments: Any) -> Any:
            waits.append(time.perf_counter() - came[-1])
            return place(*arguments)

        floor.sandbox.venue.matching.place = arrived  # type: ignore[method-assign]
        target, keys = floor.connect()
        with opened(run, Project(root), target, keys, "quick", now_ms=lambda: floor.now_ms) as session:
            put = session.gateway.bundles.put

            def handed(bundle: Any) -> None:
                came.append(time.perf_counter())
                put(bundle)

            session.gateway._room.candles._deliver = handed  # type: ignore[attr-defined]
            with driven(floor, session, given.bars):
                session.run()
            signal = session.models.speakers["prediction"].forecaster.signal
    told = np.array(waits[5:]) * 1000
    windows = np.zeros((1, given.lookback, len(signal.all_features)), np.float32)
    network = signal.networks_[0]
    network.predict(windows, verbose=0)
    keras = []
    for _ in range(30):
        began = time.perf_counter()
        network.predict(windows, verbose=0)
        keras.append((time.perf_counter() - began) * 1000)
    sys.stdout.write(
        f"{len(told)} orders, LSTM of {given.units} units and {given.lookback} bars: median {np.median(told):.1f} ms, 99th percentile "
        f"{np.percentile(told, 99):.1f} ms from the closing candle to the exchange; keras' predict of the window alone {np.median(keras):.1f} ms\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
