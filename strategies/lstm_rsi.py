"""Buy the oversold dip that the LSTM expects to recover."""

from freqlstm import Strategy


class LstmRsi(Strategy):
    signals = dict(prediction="lstm")
    params = dict(
        threshold=0.0002,  # predicted log return over the signal's horizon
        rsi_period=14,  # bars
        oversold=35,  # RSI below which a dip is bought
        overbought=70,  # RSI above which it is sold
        max_holding=240,  # bars
    )

    def enter_long(self, bars):
        return (bars.prediction > self.p.threshold) & (bars.rsi(self.p.rsi_period) < self.p.oversold)

    def exit_long(self, bars):
        return (bars.prediction < -self.p.threshold) | (bars.rsi(self.p.rsi_period) > self.p.overbought)
