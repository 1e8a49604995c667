"""The tables of a journal.

Prices, quantities and amounts are decimal text; moments are milliseconds since 1970. A table's primary key is what makes
writing the same fact twice harmless.
"""

VERSION = 2

SCHEMA = """
CREATE TABLE session (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    version INTEGER NOT NULL, tag TEXT NOT NULL,
    strategy TEXT NOT NULL, digest TEXT NOT NULL, pairs TEXT NOT NULL, timeframe TEXT NOT NULL, exchange TEXT NOT NULL,
    parameters TEXT NOT NULL, run_toml TEXT NOT NULL, created_ms INTEGER NOT NULL);
-- An epoch ends when the exchange is reset: every account begins anew, and order and trade numbers with it.
CREATE TABLE epochs (epoch INTEGER PRIMARY KEY, began_ms INTEGER NOT NULL, why TEXT NOT NULL);
CREATE TABLE start_balances (
    epoch INTEGER NOT NULL, asset TEXT NOT NULL, total TEXT NOT NULL, PRIMARY KEY (epoch, asset)) WITHOUT ROWID;
-- Deposits, withdrawals and differences that the person accepted.
CREATE TABLE adjustments (
    epoch INTEGER NOT NULL, key TEXT NOT NULL, asset TEXT NOT NULL, amount TEXT NOT NULL, time_ms INTEGER NOT NULL,
    why TEXT NOT NULL, PRIMARY KEY (epoch, key)) WITHOUT ROWID;
CREATE TABLE bars (
    symbol TEXT NOT NULL, open_ms INTEGER NOT NULL,
    open TEXT NOT NULL, high TEXT NOT NULL, low TEXT NOT NULL, close TEXT NOT NULL, volume TEXT NOT NULL,
    source TEXT NOT NULL, delivered_ms INTEGER NOT NULL, stale INTEGER NOT NULL,
    PRIMARY KEY (symbol, open_ms)) WITHOUT ROWID;
-- What the exchange said of a bar after it had been decided upon, which is never fed again.
CREATE TABLE revisions (
    symbol TEXT NOT NULL, open_ms INTEGER NOT NULL,
    open TEXT NOT NULL, high TEXT NOT NULL, low TEXT NOT NULL, close TEXT NOT NULL, volume TEXT NOT NULL,
    source TEXT NOT NULL, seen_ms INTEGER NOT NULL,
    PRIMARY KEY (symbol, open_ms, open, high, low, close, volume)) WITHOUT ROWID;
CREATE TABLE gaps (
    symbol TEXT NOT NULL, open_ms INTEGER NOT NULL, noted_ms INTEGER NOT NULL,
    PRIMARY KEY (symbol, open_ms)) WITHOUT ROWID;
CREATE TABLE predictions (
    symbol TEXT NOT NULL, open_ms INTEGER NOT NULL, name TEXT NOT NULL, value REAL, model TEXT NOT NULL,
    PRIMARY KEY (symbol, open_ms, name)) WITHOUT ROWID;
CREATE TABLE decisions (
    symbol TEXT NOT NULL, open_ms INTEGER NOT NULL, name TEXT NOT NULL, fired TEXT NOT NULL, acted INTEGER NOT NULL,
    PRIMARY KEY (symbol, open_ms, name)) WITHOUT ROWID;
CREATE TABLE models (
    id TEXT NOT NULL, symbol TEXT NOT NULL, since_ms INTEGER NOT NULL, digest TEXT NOT NULL,
    PRIMARY KEY (id, symbol, since_ms)) WITHOUT ROWID;
CREATE TABLE orders (
    cid TEXT PRIMARY KEY, epoch INTEGER NOT NULL, symbol TEXT NOT NULL, open_ms INTEGER NOT NULL,
    side TEXT NOT NULL, kind TEXT NOT NULL, quantity TEXT NOT NULL, stop_price TEXT, limit_price TEXT,
    reason TEXT NOT NULL, reduces INTEGER NOT NULL, deadline_ms INTEGER,
    state TEXT NOT NULL, exchange_id INTEGER, executed TEXT NOT NULL, sent_ms INTEGER, window_ms INTEGER NOT NULL,
    resolved_ms INTEGER, note TEXT NOT NULL, written_ms INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX orders_by_time ON orders (written_ms);
CREATE INDEX orders_by_state ON orders (epoch, state);
CREATE INDEX orders_by_bar ON orders (open_ms);
CREATE TABLE fills (
    epoch INTEGER NOT NULL, symbol TEXT NOT NULL, trade_id INTEGER NOT NULL, cid TEXT NOT NULL, side TEXT NOT NULL,
    price TEXT NOT NULL, quantity TEXT NOT NULL, commission TEXT NOT NULL, commission_asset TEXT NOT NULL,
    time_ms INTEGER NOT NULL, maker INTEGER NOT NULL, quoted TEXT,
    PRIMARY KEY (epoch, symbol, trade_id)) WITHOUT ROWID;
CREATE INDEX fills_by_order ON fills (cid);
CREATE TABLE balances (
    time_ms INTEGER NOT NULL, asset TEXT NOT NULL, free TEXT NOT NULL, locked TEXT NOT NULL, why TEXT NOT NULL,
    PRIMARY KEY (time_ms, asset, why)) WITHOUT ROWID;
-- Profit of the epoch, in units of the quote asset, when a UTC day was first traded on.
CREATE TABLE days (
    epoch INTEGER NOT NULL, day TEXT NOT NULL, profit TEXT NOT NULL, PRIMARY KEY (epoch, day)) WITHOUT ROWID;
CREATE TABLE events (id INTEGER PRIMARY KEY, time_ms INTEGER NOT NULL, kind TEXT NOT NULL, facts TEXT NOT NULL);
"""
