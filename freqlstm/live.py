"""One prediction for the candle that just closed, with all that could be done before it closed done before."""

from __future__ import annotations

import pandas as pd

from freqlstm.candles import Candles
from freqlstm.errors import TooFewCandles
from freqlstm.inference import Memory
from freqlstm.signal import Signal, prediction_table

SPARE = 1024  # bars, at least, by which the candles that are looked at may grow before they begin later


class LivePredictor:
    """Asks a signal for its newest row, candle after candle: what it says is what ``signal.predict`` says of that row.

    Features come from the stored candles by the signal's own code. A network is asked for a window only if it was not
    asked before, and between two candles :meth:`ahead` takes it through all steps of the next window but the last. Other
    signals than those of networks simply predict from as many candles as they need.
    """

    def __init__(self, signal: Signal, advance: bool = False) -> None:
        """With ``advance`` the signal keeps what it learns on the way, as it does in ``signal.advance``."""
        self.signal, self._advance = signal, advance
        self._memory = Memory()
        self._first: pd.Timestamp | None = None  # where the candles begin that are looked at

    def predict(self, candles: Candles) -> pd.Series[float]:
        """The row of the last of ``candles``, known at its close, with the columns of PREDICTION_COLUMNS.

        ``candles`` are all that are known of the symbol, or at least as many as ``signal.recent`` asks for.
        """
        if not len(candles):
            raise TooFewCandles("There is no candle to predict from. Provide those up to the one that just closed.")
        with self._memory.active():
            table = prediction_table(self.signal, self._looked_at(candles), self._advance)
        return table.iloc[-1]

    def ahead(self) -> None:
        """Prepare the next candle's prediction; call it when the last one is done with, or not at all."""
        self._memory.ahead()

    def _looked_at(self, candles: Candles) -> Candles:
        """Those that the newest row needs, and some more before, so that they begin at the same candle most of the time.

        What is made of candles keeps its bits only as long as they begin at the same place.
        """
        needed = self.signal.recent(candles, candles.time[-1])
        if self._first is not None and len(needed) and candles.time[0] <= self._first <= needed.time[0]:
            kept = candles.between(self._first, None)
            if len(kept) <= max(2 * len(needed), len(needed) + SPARE):
                return kept
        self._first = needed.time[0] if len(needed) else None
        return needed
