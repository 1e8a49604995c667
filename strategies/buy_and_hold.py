"""Buy at once and never sell: what every other strategy must beat."""

from freqlstm import Strategy


class BuyAndHold(Strategy):
    def enter_long(self, bars):
        return bars.close > 0
