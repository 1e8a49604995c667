"""BROKEN: writes into the candles that it is given."""

from freqlstm import Signal


class Mutating(Signal):
    def predict(self, candles):
        candles.frame["close"] = candles.frame["close"].clip(lower=1.0) * 1.0 + 0.01
        return candles.close * 0.0
