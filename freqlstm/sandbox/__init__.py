"""A local exchange with Binance's spot API that replays candles, at any speed, and fails when it is told to."""

from freqlstm.sandbox.background import Controls, in_background
from freqlstm.sandbox.book import Liquidity
from freqlstm.sandbox.limits import Limits
from freqlstm.sandbox.reach import loopback_session
from freqlstm.sandbox.server import Sandbox
from freqlstm.sandbox.venue import Terms

__all__ = ["Controls", "Limits", "Liquidity", "Sandbox", "Terms", "in_background", "loopback_session"]
