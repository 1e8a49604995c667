"""Pieces of candles that begin at fixed places in time."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import make_candles

from freqlstm.blocks import BLOCK, bar_numbers, first_bar, pieces
from freqlstm.candles import Candles


@pytest.fixture(scope="module")
def holed() -> Candles:
    """Two and a half blocks of bars, of which some are missing, a whole block's first among them."""
    candles = make_candles(10_000)
    bars = bar_numbers(candles)
    return Candles(candles.frame[(bars % 777 != 0) & (bars % BLOCK > 3)], "BTC/USDT", "1m")


def test_every_row_is_in_one_piece_and_they_are_in_order(holed: Candles) -> None:
    own = [piece.time[rows] for piece, rows in pieces(holed, 50, ahead=5)]
    assert own[0].append(own[1:]).equals(holed.time)


def test_a_piece_begins_at_a_fixed_bar_and_reaches_as_far_back_and_ahead_as_asked(holed: Candles) -> None:
    for number, (piece, rows) in enumerate(pieces(holed, 50, ahead=5)):
        bars = bar_numbers(piece)
        first, last = bars[rows][0] // BLOCK * BLOCK, (bars[rows][0] // BLOCK + 1) * BLOCK
        assert first_bar(int(bars[rows][0]), 50) == first - 50
        assert bars[0] >= first - 50
        assert bars[-1] < last + 5
        known = bar_numbers(holed)
        assert len(bars) == np.sum((known >= first - 50) & (known < last + 5)), number


def test_no_candles_are_one_empty_piece(candles: Candles) -> None:
    ((piece, rows),) = pieces(candles.rows(0, 0), 10)
    assert not len(piece)
    assert not len(piece.time[rows])
