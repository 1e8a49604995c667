"""The control without a network: buy when oversold below the lower band, sell when overbought or above the upper one."""

from freqlstm import Strategy


class RsiBollinger(Strategy):
    params = dict(
        rsi_period=14,  # bars
        oversold=30,  # RSI below which a dip is bought
        overbought=70,  # RSI above which it is sold
        period=20,  # bars of the bands
        deviations=2.0,  # standard deviations from the middle to a band
    )

    def enter_long(self, bars):
        bands = bars.bollinger(self.p.period, self.p.deviations)
        return (bars.rsi(self.p.rsi_period) < self.p.oversold) & (bars.close < bands.lower)

    def exit_long(self, bars):
        bands = bars.bollinger(self.p.period, self.p.deviations)
        return (bars.rsi(self.p.rsi_period) > self.p.overbought) | (bars.close > bands.upper)
