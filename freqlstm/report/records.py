"""The sections that account for a run: its trades, its training, its candles, its manifest."""

from __future__ import annotations

import json
from typing import Any

import pandas as pd

from freqlstm.report.figures import ABSENT, count, moment, percent, significant, text, tone
from freqlstm.report.markup import folded, section, table
from freqlstm.results import Result, jsonable, to_toml

SHOWN = 15  # rows of each list of trades
MOST_FOLDS = 60
HIDDEN = ("quality", "signals", "warnings")  # parts of the manifest that have sections of their own

COUNTED = {
    "Candles": "rows",
    "Missing": "missing",
    "Duplicated": "duplicates",
    "Out of order": "out_of_order",
    "Off the grid": "off_grid",
    "High or low does not enclose open and close": "ohlc_violations",
    "Without volume": "zero_volume",
    "Frozen at one price": "frozen",
    "With an outlier wick": "outlier_wicks",
}


def trades_section(result: Result) -> str:
    """The last, best and worst trades, those still open and the refused orders."""
    trades = result.trades
    closed = trades[trades["status"] == "closed"].sort_values("exit_time", kind="stable")
    opened, refused = trades[trades["status"] == "open"], trades[trades["status"] == "refused"]
    if not len(trades):
        return section("trades", "Trades", "There was none: no condition to enter was ever true.")
    lists = []
    if len(opened):
        lists.append(folded(f"Still open ({len(opened):,})", _trade_table(opened.tail(SHOWN)), opened=True))
    if len(closed):
        ranked = closed.sort_values("net_return", kind="stable")
        lists.append(folded(_title("Last", closed), _trade_table(closed.tail(SHOWN).iloc[::-1]), opened=True))
        lists.append(folded(_title("Best", closed), _trade_table(ranked.tail(SHOWN).iloc[::-1])))
        lists.append(folded(_title("Worst", closed), _trade_table(ranked.head(SHOWN))))
    if len(refused):
        lists.append(folded(_title("Refused orders, last", refused), _refused_table(refused.tail(SHOWN).iloc[::-1])))
    return section("trades", "Trades", "Times are UTC. The whole list is in trades.csv beside this page.", *lists)


def _title(name: str, trades: pd.DataFrame) -> str:
    return f"{name} {min(SHOWN, len(trades)):,} of {len(trades):,}"


def _trade_table(trades: pd.DataFrame) -> str:
    heads = ["Entry", "Exit", "Trade", "Prediction", "Bars", "Net", "Return", "Why"]
    rows = [
        [
            _stack(_once(moment(trade["entry_time"])), significant(trade["entry_price"], 7)),
            _stack(_once(moment(trade["exit_time"])), significant(trade["exit_price"], 7)),
            _stack(f"{text(trade['side'])} {text(trade['symbol'])}", significant(trade["size"])),
            significant(trade["prediction"], 3),
            count(trade["bars_held"]),
            f'<span class="{tone(trade["net_pnl"])}">{significant(trade["net_pnl"], 5)}</span>',
            f'<span class="{tone(trade["net_return"])}">{percent(trade["net_return"])}</span>',
            _stack(_reason(trade["entry_reason"], trade["votes"]), text(trade["exit_reason"])),
        ]
        for trade in trades.to_dict("records")
    ]
    return table(heads, rows, words=[7])


def _once(written: str) -> str:
    """A text that is never broken into lines."""
    return f'<span class="once">{written}</span>'


def _stack(above: str, below: str) -> str:
    return f"{above}<br><small>{below}</small>"


def _reason(reason: Any, votes: Any) -> str:
    return text(reason) if not votes else f"{text(reason)} ({text(votes)})"


def _refused_table(trades: pd.DataFrame) -> str:
    rows = [
        [
            _once(moment(trade["decided_at"])),
            text(trade["symbol"]),
            text(trade["side"]),
            significant(trade["size"]),
            text(trade["refused_because"]),
            text(trade["entry_reason"]),
        ]
        for trade in trades.to_dict("records")
    ]
    return table(["Decided at", "Symbol", "Side", "Size", "Refused because", "Why it was wanted"], rows, words=[4, 5])


def training_section(result: Result) -> str:
    """The folds of every signal: which model spoke when, and what it had seen."""
    parts = []
    for name, signal in result.manifest.get("signals", {}).items():
        folds = signal.get("folds") or []
        if folds:
            more = f" (first {MOST_FOLDS} of {len(folds)})" if len(folds) > MOST_FOLDS else ""
            parts.append(f"<h3>{text(name)}{more}</h3>{record_table(folds[:MOST_FOLDS])}")
    if not parts:
        return section("training", "Training", "No signal of this run had anything to learn.")
    note = (
        "Each model predicts only its own test span, and saw nothing that was not known when its training span ended."
    )
    return section("training", "Training", note, *parts)


def record_table(records: list[dict[str, Any]]) -> str:
    """One row a record, one column for everything that any of them tells."""
    heads = list(dict.fromkeys(key for record in records for key in record))
    rows = [[_cell(record.get(head)) for head in heads] for record in records]
    return table([head.replace("_", " ") for head in heads], rows)


def _cell(value: Any) -> str:
    """Any value of a record, in few characters."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return count(value)
    if isinstance(value, float):
        return significant(value, 4)
    if isinstance(value, list | tuple):
        return ", ".join(_cell(item) for item in value) or ABSENT
    if isinstance(value, dict):
        return ", ".join(f"{text(key)} {_cell(item)}" for key, item in value.items()) or ABSENT
    if isinstance(value, str) and len(value) >= 16 and value[4:5] == "-" and "T" in value:
        return moment(value).removesuffix(" 00:00")
    return (
        text(value)
        if not isinstance(value, str) or len(value) <= 24
        else f'<span title="{text(value)}">{text(value[:8])}…</span>'
    )


def quality_section(result: Result) -> str:
    """What is wrong with the candles, which were used as they are."""
    quality: dict[str, dict[str, Any]] = result.manifest.get("quality", {})
    if not quality:
        return section("quality", "Data quality", "No report of the candles was kept.")
    reports = list(quality.values())
    rows = [
        ["First candle", *(moment(report.get("first")) for report in reports)],
        ["Last candle", *(moment(report.get("last")) for report in reports)],
        *([name, *(count(report.get(key)) for report in reports)] for name, key in COUNTED.items()),
        ["Gaps", *(count(len(report.get("gaps") or [])) for report in reports)],
        ["Score of 100", *(significant(report.get("score"), 4) for report in reports)],
    ]
    gaps = sorted(
        ((symbol, gap) for symbol, report in quality.items() for gap in report.get("gaps") or []),
        key=lambda found: -int(found[1]["missing"]),
    )
    listed = [[text(s), moment(gap["start"]), moment(gap["end"]), count(gap["missing"])] for s, gap in gaps[:20]]
    return section(
        "quality",
        "Data quality",
        "Of all candles that this run could see, training included. Nothing was repaired; no window and no label spans a gap.",
        table(["", *quality], rows),
        folded(f"Longest {len(listed)} of {len(gaps):,} gaps", table(["Symbol", "From", "To", "Missing"], listed))
        if gaps
        else "",
    )


def manifest_section(result: Result) -> str:
    """What is needed to repeat the run."""
    manifest = {key: value for key, value in result.manifest.items() if key not in HIDDEN}
    signals = {
        name: {key: value for key, value in signal.items() if key != "folds"}
        for name, signal in result.manifest.get("signals", {}).items()
    }
    shown = json.dumps(jsonable({**manifest, "signals": signals}), indent=2, ensure_ascii=False)
    return section(
        "manifest",
        "How to repeat it",
        f"<code>freqlstm reproduce {text(result.run_id)}</code> runs it again from its run file and compares bit for bit.",
        folded("Run file", f"<pre>{text(to_toml(result.config))}</pre>"),
        folded("Manifest: versions, digests, seed, timings", f"<pre>{text(shown)}</pre>"),
    )
