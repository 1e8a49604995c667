"""Buy below the lower Bollinger band when the LSTM expects the price to come back."""

from freqlstm import Strategy


class LstmBollinger(Strategy):
    signals = dict(prediction="lstm")
    params = dict(
        threshold=0.0002,  # predicted log return over the signal's horizon
        period=20,  # bars of the bands
        deviations=2.0,  # standard deviations from the middle to a band
        trailing_stop=0.01,  # of the best close since the entry
    )

    def enter_long(self, bars):
        bands = bars.bollinger(self.p.period, self.p.deviations)
        return (bars.prediction > self.p.threshold) & (bars.close < bands.lower)

    def exit_long(self, bars):
        bands = bars.bollinger(self.p.period, self.p.deviations)
        return (bars.prediction < -self.p.threshold) | (bars.close > bands.upper)
