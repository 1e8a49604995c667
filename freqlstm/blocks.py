"""Pieces of candles that begin at fixed places in time, so that the bits of what is made of them never depend on how many were given.

A running sum keeps the rounding of everything since it began. Begun at a place of the calendar, and not at the first candle
at hand, it is the same to the last bit for whoever has enough history, a backtest of a year or a program that starts now.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from freqlstm.candles import Candles

BLOCK = 4096  # bars from one such place to the next


def bar_numbers(candles: Candles) -> np.ndarray:
    """Shape (rows,), int: open times in units of the timeframe since 1970."""
    return np.asarray(candles.time.as_unit("ns").asi8 // candles.step.value)


def first_bar(bar: int, reach: int) -> int:
    """The number of the first bar of the piece that ``bar`` is in."""
    return bar // BLOCK * BLOCK - reach


def pieces(candles: Candles, reach: int, ahead: int = 0) -> Iterator[tuple[Candles, slice]]:
    """(piece, which of its rows belong to it): together, in order, the rows of ``candles``, each in exactly one piece.

    Before its own rows a piece has ``reach`` bars and after them ``ahead`` bars, as far as there are such.
    """
    if not len(candles):
        yield candles, slice(0, 0)
    bars = bar_numbers(candles)
    for block in np.unique(bars // BLOCK):
        first, last = block * BLOCK, (block + 1) * BLOCK
        begin, own, end, after = np.searchsorted(bars, [first - reach, first, last, last + ahead]).tolist()
        yield candles.rows(begin, after), slice(own - begin, end - begin)
