"""What a sandbox is started with: stored candles or the demo market, and balances as people write them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

import pandas as pd

from freqlstm.candles import Candles
from freqlstm.errors import UsageError
from freqlstm.selection import Selection, Warn
from freqlstm.store import Project

USUAL = pd.Timedelta(days=7)


def replayed(project: Project, warn: Warn, **given: Any) -> tuple[dict[str, Candles], int, int]:
    """(all candles of the selection, start and end of the replay in milliseconds); what is before the start is history.

    Without a time range the last seven days are replayed, or the last half if that is less.
    """
    selection = Selection(**{name: value for name, value in given.items() if value})
    market = selection.load(project, warn)
    start, end = selection.span(market, warn)
    if not selection.timerange:
        start = max(end - USUAL, start + (end - start) / 2)
    return market, _milliseconds(start), _milliseconds(end)


def _milliseconds(moment: pd.Timestamp) -> int:
    return moment.as_unit("ns").value // 1_000_000


def balances_of(given: Iterable[str]) -> dict[str, Decimal]:
    """``USDT=10000`` and the like, by asset."""
    balances = {}
    for text in given:
        asset, _, amount = text.partition("=")
        try:
            balances[asset.strip().upper()] = Decimal(amount)
        except InvalidOperation:
            balances[asset] = Decimal(-1)
        if not asset.strip().isalnum() or not 0 <= balances.get(asset.strip().upper(), Decimal(-1)) < Decimal("1e12"):
            raise UsageError(f"The balance {text!r} is not written ASSET=AMOUNT, as in USDT=10000.")
    return balances


def keys_of(environment: Mapping[str, str]) -> dict[str, str]:
    """The key and secret that the environment names, if it does."""
    key, secret = (environment.get(f"FREQLSTM_SANDBOX_{name}", "") for name in ("KEY", "SECRET"))
    if not key and not secret:
        return {}
    if not re.fullmatch(r"[A-Za-z0-9]{64}", key) or not secret:
        raise UsageError(
            f"FREQLSTM_SANDBOX_KEY has {len(key)} characters and FREQLSTM_SANDBOX_SECRET {len(secret)}. "
            f"A key has 64 letters and digits, and a secret goes with it."
        )
    return {key: secret}
