"""CHEAT: the label as a feature."""

from freqlstm import Signal
from freqlstm.features import compute, feature
from freqlstm.labels import forward_return


@feature(warmup=1)
def coming_return(candles):
    return forward_return(candles, 5).fillna(0.0)


class LabelFeature(Signal):
    features = (coming_return,)

    def predict(self, candles):
        return compute(self.features, candles)["coming_return"]
