"""How a session is doing, as a view shows it and as ``status.json`` keeps it for other processes."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from freqlstm.errors import PaperError, StoreError
from freqlstm.files import jsonable, write_json
from freqlstm.store import read_json

if TYPE_CHECKING:
    from freqlstm.paper.session import Session

FILE = "status.json"


def status_of(session: Session, name: str) -> dict[str, Any]:
    """Everything that a person asks a running session."""
    from freqlstm.paper.archive import moment

    gateway, broker, holdings = session.gateway, session.broker, session.broker.holdings
    bundle, said, decisions = session.last
    now = gateway.now_ms()
    rows = {}
    for symbol, feed in session.feeds.items():
        position = holdings.positions[feed]
        close = float(feed.close[0]) if len(feed) else None
        decision = decisions.get(symbol)
        rows[symbol] = {
            "position": str(holdings.held[symbol]), "dust": str(holdings.dust[symbol]), "entry_price": position.price or None,
            "close": close, "unrealized": None if close is None else position.size * (close - position.price),
            "prediction": said.get(symbol, {}), "true": [] if decision is None else list(decision.true),
            "fired": {} if decision is None else dict(decision.fired),
            "model": {column: speaker.model_id for column, speaker in session.models.speakers.items()},
            "open_orders": [
                {"reason": ticket.reason, "kind": ticket.kind, "price": ticket.level, "at_exchange": ticket.resting is not None}
                for ticket in broker.dispatch.open if ticket.symbol == symbol
            ],
        }  # fmt: skip
    return {
        "name": name, "pid": os.getpid(), "strategy": gateway.journal.facts.strategy, "exchange": gateway.journal.facts.exchange,
        "timeframe": gateway.timeframe, "now": moment(now), "bars": session.bars,
        "last_bar": None if bundle is None else moment(bundle.open_ms),
        "last_bar_stale": None if bundle is None else bundle.stale,
        "equity": holdings.value, "cash": float(holdings.money), "start_cash": session.machine.orders.cash, "symbols": rows,
        "halt": session.halt, "decide_ms": round(session.decide_seconds * 1000, 2),
        "trades": holdings.sales, "refusals": broker.refused,
        "models_problem": dict(session.models.problems), "health": asdict(gateway.health()),
        "limits": {**asdict(gateway.limits), **gateway.used(0 if bundle is None else bundle.open_ms)},
    }  # fmt: skip


def write_status(folder: Path, status: dict[str, Any]) -> None:
    """Keep it where other processes look."""
    write_json(folder / FILE, jsonable({**status, "limits": {k: str(v) for k, v in status["limits"].items()}}))


def read_status(folder: Path) -> dict[str, Any]:
    """What a session said last, and whether it is running."""
    if not (folder / "journal.sqlite").is_file():
        raise PaperError(
            f"There is no session {folder.name} in {folder.parent}. `freqlstm paper --name {folder.name}` begins one."
        )
    try:
        status: dict[str, Any] = read_json(folder / FILE)
    except StoreError:
        status = {"name": folder.name}
    return {**status, "running": is_running(folder)}


def is_running(folder: Path) -> bool:
    """Whether a process has the journal of that session open for writing."""
    lock = FileLock(f"{folder / 'journal.sqlite'}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    lock.release()
    return False
