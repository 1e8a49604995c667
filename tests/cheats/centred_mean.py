"""CHEAT: a centred rolling mean, half of whose window is still to come."""

from freqlstm import Signal
from freqlstm.features import compute, feature


@feature(warmup=10)
def smooth_distance(candles):
    return candles.close / candles.close.rolling(9, center=True, min_periods=1).mean() - 1


class CentredMean(Signal):
    features = ("return_lag_0", smooth_distance)

    def predict(self, candles):
        return compute(self.features, candles)["smooth_distance"]
