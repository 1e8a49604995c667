"""The journal of a session: everything that was decided, sent and filled, in one SQLite file.

It is written before anything is sent. An order, a fill, an epoch is on the disk when the method that writes it returns;
what can be had again, such as candles, survives this process at once and a power cut with the next order.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import time
from collections.abc import Iterable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, Self

from freqlstm.errors import JournalError
from freqlstm.paper.database import Database, marks
from freqlstm.paper.keys import hide
from freqlstm.paper.records import FINAL, Balance, Candle, Fill, Order, SessionFacts, State
from freqlstm.paper.rows import CANDLE, FILL, ORDER, candle_of, candle_row, fill_of, fill_row, order_of, order_row, text
from freqlstm.paper.schema import SCHEMA, VERSION


class Journal(Database):
    """The open journal of a session."""

    def __init__(self, path: Path, facts: SessionFacts) -> None:
        """Open the journal at ``path`` for writing, or begin it; refuse one that belongs to another session."""
        super().__init__(path, writes=True)
        try:
            self._begin(facts)
        except BaseException:
            self.close()
            raise

    @classmethod
    def read(cls, path: Path) -> Self:
        """Open an existing journal for reading alone, also while a trader writes it."""
        self = cls.__new__(cls)
        Database.__init__(self, path, writes=False)
        self._load()
        return self

    # The session

    def _begin(self, facts: SessionFacts) -> None:
        if not self._rows("SELECT 1 FROM sqlite_master WHERE name = 'session'"):
            now = int(time.time() * 1000)
            tag = hashlib.sha256(f"{facts}{now}{secrets.token_hex(16)}".encode()).hexdigest()[:6]
            with self._writing() as connection:
                for statement in SCHEMA.split(";"):
                    connection.execute(statement)
                connection.execute(
                    "INSERT INTO session VALUES (1, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    (VERSION, tag, facts.strategy, facts.digest, json.dumps(facts.pairs), facts.timeframe, facts.exchange,
                     facts.parameters, facts.run_toml, now),
                )  # fmt: skip
        self._load()
        self._check(facts)

    def _load(self) -> None:
        try:
            (row,) = self._rows(
                "SELECT version, tag, strategy, digest, pairs, timeframe, exchange, parameters, run_toml FROM session"
            )
        except (JournalError, ValueError) as error:
            raise JournalError(
                f"{self.path} is not a journal of this program. Move it away, or choose another session."
            ) from error
        version, self.tag, strategy, digest, pairs, timeframe, exchange, parameters, run_toml = row
        if version != VERSION:
            raise JournalError(
                f"{self.path} was written by another version of this program (format {version}, not {VERSION}). Begin a new session."
            )
        self.facts = SessionFacts(strategy, digest, tuple(json.loads(pairs)), timeframe, exchange, parameters, run_toml)

    def _check(self, facts: SessionFacts) -> None:
        for name, what in (
            ("strategy", "strategy"), ("pairs", "pairs"), ("timeframe", "timeframe"), ("exchange", "exchange"),
            ("digest", "source of the strategy"), ("parameters", "parameters"),
        ):  # fmt: skip
            ours, theirs = getattr(self.facts, name), getattr(facts, name)
            if ours != theirs:
                shown = [", ".join(value) if isinstance(value, tuple) else value[:60] for value in (ours, theirs)]
                raise JournalError(
                    f"{self.path} belongs to another session: its {what} is {shown[0]}, not {shown[1]}. Choose another session name, or "
                    f"go on with what it was begun with."
                )

    @property
    def epoch(self) -> int:
        """The current epoch, 0 before the first."""
        return int(self._rows("SELECT coalesce(max(epoch), 0) FROM epochs")[0][0])

    def begin_epoch(self, why: str, totals: Mapping[str, Decimal], now_ms: int) -> int:
        """Begin a new epoch in which the account holds ``totals``."""
        epoch = self.epoch + 1
        with self._writing() as connection:
            connection.execute("INSERT INTO epochs VALUES (?, ?, ?)", (epoch, now_ms, why))
            rows = [(epoch, asset, text(total)) for asset, total in totals.items()]
            connection.executemany("INSERT INTO start_balances VALUES (?, ?, ?)", rows)
        return epoch

    def start_balances(self) -> dict[str, Decimal]:
        """What the account held of each asset when the current epoch began."""
        rows = self._rows("SELECT asset, total FROM start_balances WHERE epoch = ?", self.epoch)
        return {asset: Decimal(total) for asset, total in rows}

    def add_adjustment(self, key: str, asset: str, amount: Decimal, time_ms: int, why: str) -> None:
        """A change of the balance that no order made; the same ``key`` counts once."""
        self._insert("adjustments", [(self.epoch, key, asset, text(amount), time_ms, why)])

    def adjustments(self) -> dict[str, Decimal]:
        """The sum of adjustments of each asset in the current epoch."""
        sums: dict[str, Decimal] = {}
        for asset, amount in self._rows("SELECT asset, amount FROM adjustments WHERE epoch = ?", self.epoch):
            sums[asset] = sums.get(asset, Decimal(0)) + Decimal(amount)
        return sums

    # Candles, predictions, decisions

    def add_bars(self, candles: Mapping[str, Candle], source: str, delivered_ms: int, stale: bool) -> None:
        """The candles of one bar as they are handed to the strategy."""
        self._insert(
            "bars",
            [(symbol, *candle_row(each), source, delivered_ms, int(stale)) for symbol, each in candles.items()],
            soon=True,
        )

    def bars(self, symbol: str, since_ms: int = 0) -> list[Candle]:
        rows = self._rows(
            f"SELECT {CANDLE} FROM bars WHERE symbol = ? AND open_ms >= ? ORDER BY open_ms",
            symbol, since_ms,
        )  # fmt: skip
        return [candle_of(row) for row in rows]

    def bar(self, symbol: str, open_ms: int) -> Candle | None:
        """The candle that was handed over, None if there was none."""
        rows = self._rows(f"SELECT {CANDLE} FROM bars WHERE symbol = ? AND open_ms = ?", symbol, open_ms)
        return candle_of(rows[0]) if rows else None

    def last_bar_ms(self) -> int | None:
        """Open time of the newest bar (or proved gap) that was handed over."""
        newest = self._rows("SELECT max(open_ms) FROM (SELECT open_ms FROM bars UNION ALL SELECT open_ms FROM gaps)")[
            0
        ][0]
        return None if newest is None else int(newest)

    def add_revision(self, symbol: str, candle: Candle, source: str, seen_ms: int) -> None:
        """Other values of a bar than those that were decided upon."""
        self._insert("revisions", [(symbol, *candle_row(candle), source, seen_ms)], soon=True)

    def revisions(self) -> list[tuple[str, Candle]]:
        rows = self._rows(f"SELECT symbol, {CANDLE} FROM revisions ORDER BY seen_ms")
        return [(symbol, candle_of(row)) for symbol, *row in rows]

    def add_gap(self, symbol: str, open_ms: int, noted_ms: int) -> None:
        """A candle that the exchange itself does not have."""
        self._insert("gaps", [(symbol, open_ms, noted_ms)], soon=True)

    def gaps(self) -> list[tuple[str, int]]:
        return [
            (symbol, open_ms) for symbol, open_ms in self._rows("SELECT symbol, open_ms FROM gaps ORDER BY open_ms")
        ]

    def add_predictions(self, rows: Iterable[tuple[str, int, str, float | None, str]]) -> None:
        """Rows of (symbol, open_ms, column, value, model); the first value of a bar stays."""
        self._insert("predictions", rows, soon=True)

    def predictions(self, symbol: str, name: str, since_ms: int = 0) -> list[tuple[int, float | None]]:
        """(open_ms, value) of one column, in order."""
        return self._rows(
            "SELECT open_ms, value FROM predictions WHERE symbol = ? AND name = ? AND open_ms >= ? ORDER BY open_ms",
            symbol, name, since_ms,
        )  # fmt: skip

    def add_decisions(self, rows: Iterable[tuple[str, int, str, str, bool]]) -> None:
        """Rows of (symbol, open_ms, condition, what fired, whether it was acted upon)."""
        self._insert("decisions", rows, soon=True)

    def decisions(self, symbol: str, since_ms: int = 0) -> list[tuple[int, str, str, bool]]:
        """(open_ms, condition, what fired, whether it was acted upon), in order."""
        rows = self._rows(
            "SELECT open_ms, name, fired, acted FROM decisions WHERE symbol = ? AND open_ms >= ? ORDER BY open_ms, name",
            symbol, since_ms,
        )  # fmt: skip
        return [(open_ms, name, fired, bool(acted)) for open_ms, name, fired, acted in rows]

    def add_model(self, id: str, symbol: str, since_ms: int, digest: str) -> None:
        """The model that speaks from ``since_ms`` on."""
        self._insert("models", [(id, symbol, since_ms, digest)], soon=True)

    # Orders and fills

    def add_order(self, order: Order, now_ms: int) -> bool:
        """Write down an order; False, and nothing is changed, if there is one of that ``cid``."""
        return bool(self._insert("orders", [(*order_row(order), now_ms)]))

    def update_order(self, cid: str, fills: Iterable[Fill] = (), **changes: Any) -> tuple[Order, list[Fill]]:
        """Change columns of an order and add fills, both or neither; the order then, and the fills that were new.

        The columns: state, exchange_id, executed, sent_ms, window_ms, resolved_ms, note.
        """
        epoch, fresh = self.epoch, []
        with self._writing() as connection:
            for fill in fills:
                row = (epoch, *fill_row(fill))
                if connection.execute(f"INSERT OR IGNORE INTO fills VALUES ({marks(row)})", row).rowcount:
                    fresh.append(fill)
            if changes:
                columns = ", ".join(f"{name} = ?" for name in changes)
                values = [text(value) for value in changes.values()]
                connection.execute(f"UPDATE orders SET {columns} WHERE cid = ?", (*values, cid))
        order = self.order(cid)
        assert order is not None
        return order, fresh

    def order(self, cid: str) -> Order | None:
        found = self._orders("cid = ?", cid)
        return found[0] if found else None

    def orders(self, *, unresolved: bool = False, epoch: int | None = None) -> list[Order]:
        """The orders of the current epoch (or of ``epoch``) as they were written; ``unresolved``: those not final."""
        where = (
            f" AND state IN ({', '.join(repr(str(state)) for state in sorted(set(State) - FINAL))})"
            if unresolved
            else ""
        )
        return self._orders(f"epoch = ?{where} ORDER BY written_ms, cid", self.epoch if epoch is None else epoch)

    def count_orders(self, *, open_ms: int | None = None, since_ms: int = 0) -> int:
        """How many orders were sent: of the bar ``open_ms``, or written down at or after ``since_ms``."""
        if open_ms is not None:
            rows = self._rows("SELECT count(*) FROM orders WHERE sent_ms IS NOT NULL AND open_ms = ?", open_ms)
        else:
            rows = self._rows("SELECT count(*) FROM orders WHERE sent_ms IS NOT NULL AND written_ms >= ?", since_ms)
        return int(rows[0][0])

    def fills(self, *, cid: str | None = None, symbol: str | None = None, epoch: int | None = None) -> list[Fill]:
        """The fills of the current epoch (or of ``epoch``), of one order or symbol, in the order of their trades."""
        where = "epoch = ?"
        values: list[Any] = [self.epoch if epoch is None else epoch]
        for name, value in (("cid", cid), ("symbol", symbol)):
            if value is not None:
                where += f" AND {name} = ?"
                values.append(value)
        rows = self._rows(f"SELECT {FILL} FROM fills WHERE {where} ORDER BY time_ms, symbol, trade_id", *values)
        return [fill_of(row) for row in rows]

    # Balances, days, events

    def add_balances(self, time_ms: int, balances: Mapping[str, Balance], why: str) -> None:
        rows = [(time_ms, asset, text(one.free), text(one.locked), why) for asset, one in balances.items()]
        self._insert("balances", rows, soon=True)

    def day_profit(self, day: str, profit: Decimal) -> Decimal:
        """The profit with which ``day`` (2024-01-31) began: the first that was ever given for it."""
        self._insert("days", [(self.epoch, day, text(profit))])
        return Decimal(self._rows("SELECT profit FROM days WHERE epoch = ? AND day = ?", self.epoch, day)[0][0])

    def event(self, kind: str, time_ms: int, **facts: Any) -> None:
        """Anything else worth knowing later, as JSON."""
        self._insert("events", [(None, time_ms, kind, hide(json.dumps(facts, default=str)))], soon=True)

    def events(self, kind: str | None = None) -> list[tuple[int, str, dict[str, Any]]]:
        """(time_ms, kind, facts), in order."""
        where, values = ("WHERE kind = ?", [kind]) if kind else ("", [])
        rows = self._rows(f"SELECT time_ms, kind, facts FROM events {where} ORDER BY id", *values)
        return [(time_ms, name, json.loads(facts)) for time_ms, name, facts in rows]

    # What a restart goes through again

    def delivered(self) -> list[tuple[str, Candle, bool]]:
        """(symbol, candle, whether it came too late) of the bars that were handed over in the current epoch, in order."""
        began = self._rows("SELECT began_ms FROM epochs WHERE epoch = ? AND epoch > 1", self.epoch)
        rows = self._rows(
            f"SELECT symbol, stale, {CANDLE} FROM bars WHERE delivered_ms >= ? ORDER BY open_ms, symbol",
            began[0][0] if began else 0,
        )
        return [(symbol, candle_of(row), bool(stale)) for symbol, stale, *row in rows]

    def decided_bars(self) -> dict[int, bool]:
        """Open time of every bar that the strategy has gone through -> whether it could be entered on."""
        return {open_ms: bool(acted) for open_ms, _, _, acted in self.decisions("")}

    def all_predictions(self) -> list[tuple[str, int, str, float | None]]:
        """(symbol, open_ms, column, value) of everything that was predicted."""
        return self._rows("SELECT symbol, open_ms, name, value FROM predictions")

    def models(self) -> list[tuple[str, str, int, str]]:
        """(id, symbol, open time from which on it speaks, digest) of every model, in order."""
        return self._rows("SELECT id, symbol, since_ms, digest FROM models ORDER BY since_ms, symbol")

    def _orders(self, where: str, *values: Any) -> list[Order]:
        return [order_of(row) for row in self._rows(f"SELECT {ORDER} FROM orders WHERE {where}", *values)]
