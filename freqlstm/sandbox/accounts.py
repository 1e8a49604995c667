"""Accounts: keys, balances, and the signature and timing of a request."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from freqlstm.sandbox.listing import text
from freqlstm.sandbox.orders import ZERO, Order
from freqlstm.sandbox.refusal import Refusal, missing

KEY = "sandbox" * 9 + "k"  # 64 letters, as Binance's keys have
SECRET = "password" * 8
BALANCES = {"USDT": Decimal(10_000)}

DEFAULT_WINDOW, LONGEST_WINDOW = 5000, 60_000  # milliseconds
AHEAD = 1000  # milliseconds by which a timestamp may lead the exchange's clock


@dataclass
class Balance:
    """What is free and what open orders hold, of one asset."""

    free: Decimal = ZERO
    locked: Decimal = ZERO


@dataclass(eq=False)
class Account:
    """One account with one key."""

    key: str
    secret: str
    balances: dict[str, Balance] = field(default_factory=dict)
    orders: dict[int, Order] = field(default_factory=dict)
    updated: int = 0
    revoked: bool = False
    may_withdraw: bool = False

    def balance(self, asset: str) -> Balance:
        """The balance of an asset, empty if it never had any."""
        return self.balances.setdefault(asset, Balance())

    def lock(self, asset: str, amount: Decimal) -> bool:
        """Set ``amount`` aside for an order; False if there is not as much."""
        balance = self.balance(asset)
        if balance.free < amount:
            return False
        balance.free -= amount
        balance.locked += amount
        return True

    def release(self, asset: str, amount: Decimal) -> None:
        """Give back what was set aside."""
        balance = self.balance(asset)
        balance.locked -= amount
        balance.free += amount

    def find(self, symbol: str, order_id: int | None, client_id: str | None) -> Order | None:
        """The order of that number, or the newest of that client order id."""
        if order_id is not None:
            order = self.orders.get(order_id)
            return order if order and order.symbol == symbol else None
        same = [each for each in self.orders.values() if each.client_id == client_id and each.symbol == symbol]
        return max(same, key=lambda each: each.id, default=None)

    def open_orders(self, symbol: str | None = None) -> list[Order]:
        """Its open orders, oldest first."""
        return [each for each in self.orders.values() if each.open and symbol in (None, each.symbol)]

    def listed(self) -> list[dict[str, str]]:
        """The balances as GET account has them."""
        return [
            {"asset": asset, "free": text(balance.free), "locked": text(balance.locked)}
            for asset, balance in self.balances.items()
        ]

    def signs(self, payload: str, signature: str) -> bool:
        """Whether ``signature`` is this account's over ``payload``."""
        made = hmac.new(self.secret.encode(), payload.encode(), hashlib.sha256).hexdigest()
        return hmac.compare_digest(made, signature.lower())


def owner(accounts: Mapping[str, Account], key: str | None) -> Account:
    """The account of an API key."""
    if not key or not re.fullmatch(r"[A-Za-z0-9]{64}", key):
        raise Refusal(-2014, "API-key format invalid.")
    if key not in accounts or accounts[key].revoked:
        raise Refusal(-2015, "Invalid API-key, IP, or permissions for action.")
    return accounts[key]


def check_timing(parameters: Mapping[str, Any], now: int) -> None:
    """Refuse a request that is older than its recvWindow, or from the future."""
    stamp, window = parameters.get("timestamp"), parameters.get("recvWindow", DEFAULT_WINDOW)
    if stamp is None or not re.fullmatch(r"\d{1,13}", str(stamp)):
        raise missing("timestamp")
    if not re.fullmatch(r"\d{1,9}(\.\d{1,3})?", str(window)):
        raise missing("recvWindow")
    if float(window) > LONGEST_WINDOW:
        raise Refusal(-1131, "recvWindow must be less than 60000")
    if int(stamp) >= now + AHEAD:
        raise Refusal(-1021, "Timestamp for this request was 1000ms ahead of the server's time.")
    if now - int(stamp) > float(window):
        raise Refusal(-1021, "Timestamp for this request is outside of the recvWindow.")


def check_signature(account: Account, payload: str, signature: str | None) -> None:
    """Refuse a payload that the account's secret did not sign."""
    if not signature:
        raise missing("signature")
    if not re.fullmatch(r"[A-Za-z0-9+/=%_-]{1,512}", signature):
        raise Refusal(-1100, "Illegal characters found in parameter 'signature'; legal range is '^[A-Fa-f0-9]{64}$'.")
    if not account.signs(payload, signature):
        raise Refusal(-1022, "Signature for this request is not valid.")
