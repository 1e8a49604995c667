"""Bitcoin's stock-to-flow ratio, computed from its schedule of issuance: bitcoins there are over those mined in a year."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import pandas as pd

from freqlstm.connectors.source import Source
from freqlstm.external import ExternalSeries

HALVING = 210_000  # blocks
FIRST_SUBSIDY = 50.0  # bitcoins a block
BLOCKS = 144  # a day: one every ten minutes, which is what the difficulty aims at
# The days on which block 0, 210,000, 420,000 … was mined, UTC.
HALVINGS = ("2009-01-03", "2012-11-28", "2016-07-09", "2020-05-11", "2024-04-20")


class StockToFlow(Source):
    """Computed, nothing is asked. Source: PlanB, Modeling Bitcoin Value with Scarcity (2019).

    The height of the chain is taken to grow by 144 blocks a day from the day after the last halving, so that no day depends
    on when the next one came; blocks were a little faster, so the height is up to 3% short of the true one before a halving. Lost
    coins are counted. A day's value is of its beginning and is taken to be known when it is over.
    """

    name: ClassVar[str] = "stock_to_flow"
    known_after: ClassVar[str] = "1d"

    def _fetch(self, what: Sequence[str], since: pd.Timestamp | None, now: pd.Timestamp) -> ExternalSeries:
        days = pd.date_range(pd.Timestamp(HALVINGS[0], tz="UTC") + pd.Timedelta(days=1), now.floor("D"), freq="D")
        return ExternalSeries.of(self.series_name(what), days, stock_to_flow(days), days + pd.Timedelta(days=1))


def stock_to_flow(days: pd.DatetimeIndex) -> np.ndarray:
    """Shape (days,): stock over the flow of 365 days at the subsidy of the day."""
    starts = pd.DatetimeIndex(HALVINGS, tz="UTC")
    epoch = starts.searchsorted(days, side="left") - 1  # a halving counts from the day after it
    mined = (days - starts[epoch]).days.to_numpy() * BLOCKS
    height = epoch * HALVING + np.where(epoch < len(HALVINGS) - 1, np.minimum(mined, HALVING - 1), mined)
    subsidy = FIRST_SUBSIDY / 2.0 ** (height // HALVING)
    whole = height // HALVING  # epochs that are over
    stock = HALVING * FIRST_SUBSIDY * 2.0 * (1.0 - 0.5**whole) + (height % HALVING) * subsidy
    return np.asarray(stock / (subsidy * BLOCKS * 365))
