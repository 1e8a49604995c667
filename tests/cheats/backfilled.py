"""CHEAT: bars without trading are filled in with the price of the next trade."""

from freqlstm import Signal
from freqlstm.features import compute, feature


@feature(warmup=10)
def traded_return(candles):
    traded = candles.close.where(candles.volume > 0).bfill()
    return (traded / traded.shift(5) - 1).fillna(0.0)


class Backfilled(Signal):
    features = (traded_return,)

    def predict(self, candles):
        return compute(self.features, candles)["traded_return"]
