"""Buy an oversold dip only where the LSTM expects moves that are worth the costs, the less the wilder it will be."""

import numpy as np

from freqlstm import Strategy


class LstmVolatilityGate(Strategy):
    signals = dict(volatility="lstm_volatility")
    params = dict(
        worth=2.0,  # forecast move over the signal's horizon, in round trips of costs, from which a dip is bought
        round_trip=0.0022,  # costs of buying and selling: commission and slippage of both sides
        usual_move=0.005,  # forecast move up to which the whole exposure is taken; above it, less in proportion
        rsi_period=14,  # bars
        oversold=30,  # RSI below which a dip is bought
        overbought=70,  # RSI above which it is sold
        period=20,  # bars of the bands
        deviations=2.0,  # standard deviations from the middle to a band
        max_holding=240,  # bars
    )

    def move(self, bars):
        """The forecast standard deviation of the log return over the signal's horizon."""
        return np.exp(bars.volatility * 0.5)

    def enter_long(self, bars):
        bands = bars.bollinger(self.p.period, self.p.deviations)
        dip = (bars.rsi(self.p.rsi_period) < self.p.oversold) & (bars.close < bands.lower)
        return dip & (bars.volatility > 2 * np.log(self.p.worth * self.p.round_trip))

    def exit_long(self, bars):
        bands = bars.bollinger(self.p.period, self.p.deviations)
        return (bars.rsi(self.p.rsi_period) > self.p.overbought) | (bars.close > bands.upper)

    def share(self, bars):
        return (self.p.usual_move / self.move(bars)).clip(upper=1.0)
