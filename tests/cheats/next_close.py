"""CHEAT: buys where the next close is higher."""

from freqlstm import Strategy


class NextClose(Strategy):
    def enter_long(self, bars):
        return bars.close.shift(-1) > bars.close

    def exit_long(self, bars):
        return bars.rsi(14) > 60
