"""The state of a sandbox on disk, so that it survives being killed: orders, trades, balances and the clock."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import fields
from decimal import Decimal
from pathlib import Path
from typing import Any

from freqlstm.errors import StoreError
from freqlstm.sandbox.accounts import Balance
from freqlstm.sandbox.orders import Order, Trade
from freqlstm.sandbox.venue import Venue

VERSION = 1
TABLE = "create table if not exists record (kind text, id text, body text, primary key (kind, id)) without rowid"


class Memory:
    """An SQLite file with one row for each order, account and the clock; what is not yet written is lost in a kill.

    Each change is one transaction, made before the client has its answer.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._database = sqlite3.connect(path, isolation_level=None, timeout=0.5)
            for setting in ("locking_mode = exclusive", "journal_mode = wal", "synchronous = normal"):
                self._database.execute(f"pragma {setting}")
            self._database.execute("begin immediate")
            self._database.execute(TABLE)
            self._database.execute("commit")
        except sqlite3.Error as error:
            if "locked" in str(error):
                raise StoreError(
                    f"{path} belongs to a sandbox that is running. Stop it, or name another file."
                ) from error
            raise StoreError(
                f"{path} cannot be the state of a sandbox ({error}). Name another file, or delete this one."
            ) from error

    def restore(self, venue: Venue) -> bool:
        """Give ``venue`` the state that was kept; False if there is none."""
        rows = {(kind, key): json.loads(body) for kind, key, body in self._database.execute("select * from record")}
        clock = rows.get(("venue", ""))
        if clock is None:
            return False
        if clock["version"] != VERSION or clock["market"] != _market(venue):
            raise StoreError(
                f"{self.path} is the state of another replay ({', '.join(clock['market'])}). "
                f"Start with the same pairs, timeframe and time range, or with another file."
            )
        venue.epoch = clock["epoch"]
        for name in (key for kind, key in rows if kind == "account" and key in venue.accounts):
            account, kept = venue.accounts[name], rows["account", name]
            account.revoked, account.may_withdraw = kept["revoked"], kept["may_withdraw"]
            account.balances = {
                asset: Balance(Decimal(free), Decimal(locked)) for asset, (free, locked) in kept["balances"].items()
            }
        orders = sorted((_order(body) for (kind, _), body in rows.items() if kind == "order"), key=lambda each: each.id)
        for order in orders:
            venue.matching.adopt(venue.accounts[order.key], order)
        venue.matching.orders, venue.matching.trades = clock["orders"], clock["trades"]
        for tape in venue.replay.tapes.values():
            tape.hidden = set(clock["hidden"])
        venue.resume(clock["open_time"], clock["tick"])
        return True

    def keep(self, venue: Venue) -> None:
        """Write what has changed."""
        changed, venue.matching.changed = venue.matching.changed, []
        rows = [
            ("order", str(order.id), _written(order)) for order in {order.id: order for _, order in changed}.values()
        ]
        for key, account in venue.accounts.items():
            balances = {asset: [str(each.free), str(each.locked)] for asset, each in account.balances.items()}
            kept = {"revoked": account.revoked, "may_withdraw": account.may_withdraw, "balances": balances}
            rows.append(("account", key, kept))
        replay, matching = venue.replay, venue.matching
        hidden = sorted({time for tape in replay.tapes.values() for time in tape.hidden})
        clock = {
            "version": VERSION, "market": _market(venue), "epoch": venue.epoch, "open_time": replay.open_time,
            "tick": replay.tick, "orders": matching.orders, "trades": matching.trades, "hidden": hidden,
        }  # fmt: skip
        rows.append(("venue", "", clock))
        self._database.execute("begin")
        self._database.executemany(
            "insert or replace into record values (?, ?, ?)",
            [(kind, key, json.dumps(body)) for kind, key, body in rows],
        )
        self._database.execute("commit")

    def wipe(self) -> None:
        """Forget the orders."""
        self._database.execute("delete from record where kind = 'order'")

    def close(self) -> None:
        """Let go of the file."""
        self._database.close()


def _market(venue: Venue) -> list[str]:
    return [f"{candles.symbol} {candles.timeframe} {candles.digest[:12]}" for candles in venue.market.values()]


def _written(order: Order) -> dict[str, Any]:
    body = {each.name: getattr(order, each.name) for each in fields(order)}
    body["trades"] = [
        {name: str(value) if isinstance(value, Decimal) else value for name, value in vars(trade).items()}
        for trade in order.trades
    ]
    return {name: str(value) if isinstance(value, Decimal) else value for name, value in body.items()}


def _order(body: dict[str, Any]) -> Order:
    numbers = {each.name for each in fields(Order) if each.type == "Decimal"}
    trades = [
        Trade(**_numbers(trade, {each.name for each in fields(Trade) if each.type == "Decimal"}))
        for trade in body["trades"]
    ]
    return Order(**{**_numbers(body, numbers), "trades": trades})


def _numbers(body: dict[str, Any], names: set[str]) -> dict[str, Any]:
    return {name: Decimal(value) if name in names else value for name, value in body.items()}
