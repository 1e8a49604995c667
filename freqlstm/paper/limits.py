"""Risk limits and the kill switch: what holds an order back whatever the strategy says."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from dataclasses import dataclass, fields
from decimal import Decimal
from enum import StrEnum
from functools import partial
from pathlib import Path

from freqlstm.errors import StoreError, UsageError
from freqlstm.files import write_text
from freqlstm.paper.money import plain
from freqlstm.paper.records import LIMIT, MARKET, SELL, STOP, Intent


@dataclass(frozen=True)
class Limits:
    """The largest risks that are taken; the defaults suit the 10,000 USDT of a new testnet account.

    Orders that only make a position smaller are held back by the two counts alone, and at the market by nothing.
    """

    max_order: Decimal = Decimal(10_000)  # units of the quote asset
    max_position: Decimal = Decimal(10_000)  # units of the quote asset, a symbol
    max_daily_loss: Decimal = Decimal(
        500
    )  # units of the quote asset, since 00:00 UTC; then no entries until the next day
    max_orders_per_bar: int = 12  # over all symbols
    max_orders_per_hour: int = 240
    max_distance: Decimal = Decimal("0.1")  # of a limit or entry stop from the last price, as a fraction of it

    def __post_init__(self) -> None:
        for one in fields(self):
            value = getattr(self, one.name)
            if not value > 0:
                raise UsageError(f"The limit {one.name} is {value}. It must be a number above 0.")

    def refusal(self, intent: Intent, standing: Standing) -> str:
        """Why ``intent`` may not be sent as things stand; empty if it may."""
        if intent.reduces and intent.kind == MARKET:
            return ""
        if standing.orders_in_bar >= self.max_orders_per_bar:
            return f"{standing.orders_in_bar} orders were sent for this bar: max_orders_per_bar is {self.max_orders_per_bar}"
        if standing.orders_in_hour >= self.max_orders_per_hour:
            return f"{standing.orders_in_hour} orders were sent within an hour: max_orders_per_hour is {self.max_orders_per_hour}"
        if intent.reduces:
            return ""
        last = standing.last
        if last is None:
            return "there is no last price yet"
        worth = (intent.price or last) * intent.quantity
        if worth > self.max_order:
            return f"worth {plain(worth)}: max_order is {plain(self.max_order)}"
        position = standing.position + (-intent.quantity if intent.side == SELL else intent.quantity)
        if abs(position) > abs(standing.position) and last * abs(position) > self.max_position:
            return (
                f"the position would be worth {plain(last * abs(position))}: max_position is {plain(self.max_position)}"
            )
        if intent.kind in (LIMIT, STOP) and intent.price is not None:
            distance = abs(intent.price - last) / last
            if distance > self.max_distance:
                return f"{plain(intent.price)} is {distance:.1%} away from the last price {plain(last)}: max_distance is {self.max_distance:.1%}"
        if standing.loss_today >= self.max_daily_loss:
            return (
                f"{plain(standing.loss_today)} was lost since 00:00 UTC: max_daily_loss is {plain(self.max_daily_loss)}"
            )
        if intent.kind == MARKET and standing.last_age_bars > 2:
            return f"the last price is {standing.last_age_bars:.1f} bars old"
        return ""


@dataclass(frozen=True)
class Standing:
    """What the limits look at, at the moment of an order."""

    last: Decimal | None  # price
    last_age_bars: float
    position: Decimal  # units of the base asset, what buying orders may still add included
    loss_today: Decimal  # units of the quote asset; negative is a profit
    orders_in_bar: int
    orders_in_hour: int


class Stop(StrEnum):
    """What the kill switch does with what is there."""

    KEEP = "keep"  # no more orders; resting orders and positions stay
    CANCEL = "cancel"  # and resting orders are cancelled
    FLATTEN = "flatten"  # and positions are sold at the market


class KillSwitch:
    """Once tripped, nothing is sent but what its way of stopping asks for, also after a restart, until it is reset.

    It is a file, so that any process, or a person with an editor, can trip it: empty, or one word of :class:`Stop`,
    perhaps with the reason on the lines below. Deleting the file resets it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._unwritten: tuple[Stop, str] | None = None  # where the file cannot be written, it is on nevertheless

    def trip(self, how: Stop = Stop.KEEP, reason: str = "it was asked to stop") -> None:
        """Stop, and do what ``how`` says."""
        try:
            write_text(self.path, f"{how}\n{reason}\n")
        except StoreError as error:
            self._unwritten = (how, f"{reason} ({error})")

    def obey_signals(self, ways: Mapping[signal.Signals, Stop]) -> None:
        """Let signals to this process trip it; call it from the main thread."""
        for number, how in ways.items():
            signal.signal(number, partial(self._on_signal, how))

    def _on_signal(self, how: Stop, number: int, frame: object) -> None:
        self.trip(how, f"the process received {signal.Signals(number).name}")

    def reset(self) -> None:
        """Allow orders again."""
        self.path.unlink(missing_ok=True)
        self._unwritten = None

    @property
    def state(self) -> tuple[Stop, str] | None:
        """(how, why) if it was tripped, else None."""
        try:
            first, _, rest = self.path.read_text(encoding="utf-8", errors="replace").partition("\n")
        except FileNotFoundError:
            return self._unwritten
        except OSError as error:  # it is there, whatever it says
            return self._unwritten or (Stop.KEEP, f"{self.path} cannot be read ({error.strerror})")
        word = first.strip().lower()
        how = Stop(word) if word in set(Stop) else Stop.KEEP
        return how, rest.strip() or f"the file {self.path} is there"
