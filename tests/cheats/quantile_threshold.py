"""CHEAT: a threshold that is a quantile of the whole sample."""

from freqlstm import Strategy


class QuantileThreshold(Strategy):
    signals = {"prediction": "momentum"}

    def enter_long(self, bars):
        return bars.prediction > bars.prediction.quantile(0.9)

    def exit_long(self, bars):
        return bars.prediction < 0
