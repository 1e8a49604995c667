"""Backtests of LSTM strategies on high-frequency candles that never peek at the future."""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from freqlstm.bars import Bars
    from freqlstm.candles import Candles
    from freqlstm.columns import vote
    from freqlstm.errors import FreqlstmError
    from freqlstm.features import feature
    from freqlstm.signal import Signal
    from freqlstm.strategy import Strategy

try:
    __version__ = version("freqlstm")
except PackageNotFoundError:  # run from a folder that was never installed
    __version__ = "0+unknown"

_HOME = {
    "Bars": "freqlstm.bars",
    "Candles": "freqlstm.candles",
    "FreqlstmError": "freqlstm.errors",
    "Signal": "freqlstm.signal",
    "Strategy": "freqlstm.strategy",
    "feature": "freqlstm.features",
    "vote": "freqlstm.columns",
}

__all__ = ["Bars", "Candles", "FreqlstmError", "Signal", "Strategy", "feature", "vote"]


def __getattr__(name: str) -> object:
    """Import a public name when it is first used, so that ``import freqlstm`` stays light."""
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'freqlstm' has no attribute {name!r}")
