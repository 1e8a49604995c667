"""Ridge regression on the features of the newest bar: the cheapest forecast that an LSTM has to beat."""

from freqlstm.linear import LinearSignal


class Ridge(LinearSignal):
    l2: float = 0.01  # penalty on squared weights, beside the mean squared error

    limits = {"l2": (0.0, 1e6)}
    search = {"l2": (1e-4, 10.0, "log")}
