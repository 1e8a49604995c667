"""Follow a turn of the MACD when the LSTM expects it to go on."""

from freqlstm import Strategy


class LstmMacd(Strategy):
    signals = dict(prediction="lstm")
    params = dict(
        threshold=0.0002,  # predicted log return over the signal's horizon
        fast=12,  # bars
        slow=26,  # bars
        smoothing=9,  # bars of the MACD's signal line
        stop_loss=0.01,  # of the entry price
    )

    def enter_long(self, bars):
        macd = bars.macd(self.p.fast, self.p.slow, self.p.smoothing)
        return (bars.prediction > self.p.threshold) & (macd.histogram > 0) & (macd.macd < 0)

    def exit_long(self, bars):
        macd = bars.macd(self.p.fast, self.p.slow, self.p.smoothing)
        return (bars.prediction < 0) & (macd.histogram < 0)
