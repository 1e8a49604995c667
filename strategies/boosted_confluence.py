"""Buy where a weighted vote of the boosted LSTM, the volatility LSTM, RSI, MACD and Bollinger bands says so."""

import numpy as np

from freqlstm import Strategy, vote


class BoostedConfluence(Strategy):
    signals = dict(prediction="boosted_lstm", volatility="lstm_volatility")
    params = dict(
        threshold=0.0002,  # predicted log return over the signal's horizon
        move=0.002,  # forecast standard deviation of the return over the volatility signal's horizon
        rsi_period=14,  # bars
        oversold=35,  # RSI below which it votes to buy
        overbought=65,  # RSI above which it votes to sell
        quorum=4.0,  # points from which a vote is carried, of 6
        max_holding=240,  # bars
    )

    def enter_long(self, bars):
        points = vote(
            boosted=(2.0, bars.prediction > self.p.threshold),
            volatility=(1.0, bars.volatility > 2 * np.log(self.p.move)),
            rsi=(1.0, bars.rsi(self.p.rsi_period) < self.p.oversold),
            macd=(1.0, bars.macd().histogram > 0),
            bollinger=(1.0, bars.close < bars.bollinger().lower),
        )
        return points >= self.p.quorum

    def exit_long(self, bars):
        points = vote(
            boosted=(2.0, bars.prediction < -self.p.threshold),
            volatility=(1.0, bars.volatility < 2 * np.log(self.p.move)),
            rsi=(1.0, bars.rsi(self.p.rsi_period) > self.p.overbought),
            macd=(1.0, bars.macd().histogram < 0),
            bollinger=(1.0, bars.close > bars.bollinger().upper),
        )
        return points >= self.p.quorum
