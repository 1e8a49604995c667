"""BROKEN: a condition that looks back further than it says."""

from freqlstm import Strategy


class ShortWarmup(Strategy):
    def enter_long(self, bars):
        return bars.close > bars.close.rolling(200, min_periods=1).mean()

    def exit_long(self, bars):
        return bars.close < bars.close.rolling(200, min_periods=1).mean()
