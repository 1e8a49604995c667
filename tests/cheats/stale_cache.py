"""CHEAT: a cache that does not look at the candles, and so serves the predictions of older ones."""

import numpy as np

from freqlstm import Signal

_cache = {}


class StaleCache(Signal):
    @property
    def warmup(self):
        return 20

    def predict(self, candles):
        key = candles.symbol, candles.time[0], len(candles)
        if key not in _cache:
            _cache[key] = candles.by_segment(lambda stretch: np.log(stretch.close).diff(20), 20)["close"]
        return _cache[key].copy()
