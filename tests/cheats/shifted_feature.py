"""CHEAT: a feature shifted by -1, which is the next bar's."""

from freqlstm import Signal
from freqlstm.features import compute, feature


@feature(warmup=5)
def next_return(candles):
    return candles.close.pct_change().shift(-1)


class ShiftedFeature(Signal):
    features = (next_return,)

    def predict(self, candles):
        return compute(self.features, candles)["next_return"]
