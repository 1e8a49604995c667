"""CHEAT: an external series joined by the date it is about, before anybody knew it."""

import pandas as pd

from freqlstm import Signal
from freqlstm.features import compute, feature


@feature(warmup=0, beside=("mood",))
def mood_of_the_day(candles):
    series = candles.beside["mood"]
    by_date = pd.Series(series.value, index=series.time)
    return by_date.reindex(candles.time, method="ffill")


class SeriesByDate(Signal):
    features = ("return_lag_0", mood_of_the_day)

    def predict(self, candles):
        return compute(self.features, candles)["mood_of_the_day"]
