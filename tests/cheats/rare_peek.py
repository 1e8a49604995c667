"""CHEAT: peeks only at bars that are rare: far oversold, below the band, and the next bar leaps."""

from freqlstm import Strategy


class RarePeek(Strategy):
    def enter_long(self, bars):
        oversold = (bars.rsi(14) < 3) & (bars.close < bars.bollinger(20, 2.0).lower)
        return oversold & (bars.close.shift(-1) > bars.close * 1.01)

    def exit_long(self, bars):
        return bars.rsi(14) > 60
