"""CHEAT: closes scaled by the lowest and highest of the whole series."""

from freqlstm import Signal


class MinMax(Signal):
    def predict(self, candles):
        close = candles.close
        return (close - close.min()) / (close.max() - close.min()) - 0.5
