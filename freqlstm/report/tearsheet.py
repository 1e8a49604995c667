"""One run as one HTML file: readable without a network, a server or any other file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

import freqlstm
from freqlstm.report import charts, daily, records, sections
from freqlstm.report.canvas import Figure
from freqlstm.report.figures import text
from freqlstm.report.markup import folded, section, table
from freqlstm.report.page import links, page, synthetic_banner
from freqlstm.results import Result
from freqlstm.stats import daily_returns
from freqlstm.store import write_text

CONTENTS = {
    "result": "Result",
    "equity": "Equity",
    "candles": "Candles",
    "skill": "Forecasts",
    "costs": "Costs",
    "trades": "Trades",
    "quantstats": "QuantStats",
    "training": "Training",
    "quality": "Data",
    "manifest": "Repeat it",
}


def write_tearsheet(result: Result, path: Path) -> None:
    """Write the tearsheet of ``result``, whole or not at all."""
    write_text(path, tearsheet(result))


def tearsheet(result: Result) -> str:
    """The page: a few megabytes, most of them the chart library. The same result gives the same page."""
    figures = _figures(result)
    shown = max((charts.drawn_step(candles) for candles in result.market.values()), default=pd.Timedelta(0))
    left_out = sum(
        max(
            int(((result.trades["symbol"] == symbol) & result.trades["entry_time"].notna()).sum()) - charts.MOST_TRADES,
            0,
        )
        for symbol in result.market
    )
    body = [
        sections.headline(result),
        sections.equity_section(),
        sections.trades_on_candles(result, _width(shown), left_out),
        sections.skill_section(result, figures["skill"]["layout"]["height"] if "skill" in figures else 0),
        sections.costs_section(result),
        records.trades_section(result),
        quantstats_section(result),
        records.training_section(result),
        records.quality_section(result),
        records.manifest_section(result),
    ]
    return page(
        f"{_name(result)} · {result.run_id}",
        _header(result),
        body,
        _footer(),
        figures,
        synthetic_banner("This run traded") if result.synthetic else "",
    )


def quantstats_section(result: Result) -> str:
    """QuantStats on daily UTC returns, against buy and hold."""
    returns = daily_returns(result.equity["equity"], result.cash)
    hold = daily_returns(result.equity["buy_and_hold"], result.cash)
    metrics = daily.metrics_table(returns, hold)
    if not metrics:
        return section("quantstats", "QuantStats", "QuantStats needs two days and one return that is not zero.")
    half = -(-len(metrics) // 2)
    tables = [
        table(["", daily.BENCHMARK, daily.STRATEGY], [(text(name), *rest) for name, *rest in part], own=2)
        for part in (metrics[:half], metrics[half:])
        if part
    ]
    pictures = "".join(
        f'<figure><figcaption>{text(title)}</figcaption><img alt="{text(title)}" src="{source}"></figure>'
        for title, source in daily.charts(returns, hold)
    )
    worst = daily.worst_drawdowns(returns)
    drawdowns = table(["From", "Recovered, or last day", "Depth", "Days"], worst) if worst else ""
    return section(
        "quantstats",
        "QuantStats",
        f"QuantStats {text(daily.VERSION)} on {len(returns):,} daily UTC returns, 365 periods a year. It sees one "
        "equity a day, so its drawdowns are shallower than those above, which are measured at every bar.",
        f'<div class="pictures">{pictures}</div>',
        f'<div class="two">{"".join(tables)}</div>',
        folded("Deepest drawdowns between daily closes", drawdowns) if drawdowns else "",
    )


def _figures(result: Result) -> dict[str, Figure]:
    """Every chart that page.js may draw, by name."""
    figures = {"equity": charts.equity_chart(result)}
    for number, symbol in enumerate(result.market):
        figures[f"candles-{number}"] = charts.trade_chart(result, symbol)
    if result.stats["costs"]["turnover"]:
        figures["costs"] = charts.cost_chart(result.stats["costs"])
    skill = charts.skill_chart(result.stats["skill"])
    return figures if skill is None else {**figures, "skill": skill}


def _name(result: Result) -> str:
    return str(result.config["strategy"])


def _header(result: Result) -> str:
    candles = list(result.market.values())
    first, last = min(c.time[0] for c in candles), max(c.time[-1] + c.step for c in candles)
    rows = sum(len(c) for c in candles)
    costs: dict[str, Any] = result.config.get("costs", {})
    paid = ", ".join(f"{name} {value * 100:g}% a side" for name, value in costs.items() if isinstance(value, float))
    warnings = "".join(f'<p class="note">{text(warning)}</p>' for warning in result.manifest.get("warnings", []))
    return (
        f"<h1>{text(_name(result))}</h1>"
        f'<p class="quiet">{text(", ".join(result.market))} · {text(candles[0].timeframe)} · {text(candles[0].exchange)} · '
        f"{first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M} UTC · {rows:,} candles<br>"
        f"{result.cash:,.2f} cash{f' · {text(paid)}' if paid else ''} · run {text(result.run_id)}</p>{warnings}{links(CONTENTS)}"
    )


def _footer() -> str:
    return (
        f"<p>Made by freqlstm {text(freqlstm.__version__)}. A backtest is a simulation: orders here always filled, moved no "
        "price, and met no outage. Past results promise nothing. This is not financial advice.</p>"
    )


def _width(step: pd.Timedelta) -> str:
    minutes = step.total_seconds() / 60
    for size, unit in ((1440, "day"), (60, "hour"), (1, "minute")):
        if minutes >= size and minutes % size == 0:
            number = int(minutes // size)
            return f"{number} {unit}{'s' if number > 1 else ''}"
    return f"{step.total_seconds():g} seconds"
