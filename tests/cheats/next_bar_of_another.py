"""CHEAT: the next bar of another symbol, whose candles reach further than the bar itself."""

from freqlstm import Signal
from freqlstm.features import compute, feature


@feature(warmup=2, beside=("ETH/USDT",))
def ether_leads(candles):
    other = candles.beside.get("ETH/USDT", candles)
    return other.close.pct_change(fill_method=None).shift(-1).reindex(candles.time)


class NextBarOfAnother(Signal):
    features = ("return_lag_0", ether_leads)

    def predict(self, candles):
        return compute(self.features, candles)["ether_leads"]
