"""The charts that can be zoomed, as the plain dictionaries that plotly.js draws; each holds a few thousand points at most."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from freqlstm.candles import Candles
from freqlstm.report.canvas import (
    FORECAST,
    GAIN,
    HOLD,
    LOSS,
    QUIET,
    STRATEGY,
    Figure,
    axis,
    blank,
    milliseconds,
    rounded,
    thrice,
)  # fmt: skip
from freqlstm.report.figures import significant
from freqlstm.results import Result, main_prediction
from freqlstm.stats import drawdown

MOST_CANDLES = 2500  # drawn; more cannot be told apart
MOST_TRADES = 1500  # marked on the candles of one symbol

NICE_STEPS = pd.to_timedelta(
    [
        "1s",
        "5s",
        "15s",
        "30s",
        "1min",
        "3min",
        "5min",
        "15min",
        "30min",
        "1h",
        "2h",
        "4h",
        "6h",
        "12h",
        "1D",
        "2D",
        "7D",
    ]
)


def equity_chart(result: Result) -> Figure:
    """Equity beside buy and hold, and below it how far each lies under its peak."""
    equity = result.equity
    bucket = np.arange(len(equity)) // max(1, -(-len(equity) // MOST_CANDLES))
    last = np.flatnonzero(np.diff(bucket, append=bucket[-1:] + 1))
    time = milliseconds(pd.DatetimeIndex(equity.index)[last] + next(iter(result.market.values())).step)
    traces: list[Figure] = []
    for name, column, colour in (("Strategy", "equity", STRATEGY), ("Buy and hold", "buy_and_hold", HOLD)):
        curve = equity[column]
        below = drawdown(curve, result.cash).groupby(bucket).max().to_numpy()
        line = {"color": colour, "width": 1.6}
        hover = {"x": time, "type": "scatter", "mode": "lines", "name": name, "legendgroup": name, "line": line}
        traces.append(
            {**hover, "y": rounded(curve.to_numpy()[last], 8), "hovertemplate": "%{y:,.2f}<extra>" + name + "</extra>"}
        )
        traces.append(
            {
                **hover,
                "y": rounded(-100 * below, 4),
                "yaxis": "y2",
                "showlegend": False,
                "fill": "tozeroy" if column == "equity" else "none",
                "hovertemplate": "%{y:.2f}%<extra>" + name + " below its peak</extra>",
            }
        )
    layout = blank(460)
    layout["yaxis"] |= {"domain": [0.36, 1], "title": {"text": "equity"}}
    layout["yaxis2"] = {**axis(), "domain": [0, 0.28], "title": {"text": "drawdown"}, "ticksuffix": "%"}
    layout["xaxis"] |= {"anchor": "y2"}
    return {"data": traces, "layout": layout}


def trade_chart(result: Result, symbol: str) -> Figure:
    """Candles of one symbol with its trades at their true times and prices, and the prediction below."""
    candles = result.market[symbol]
    step = drawn_step(candles)
    start = candles.time.floor(step)
    table = candles.frame.groupby(start).agg({"open": "first", "high": "max", "low": "min", "close": "last"})
    price = {column: rounded(table[column].to_numpy(), 8) for column in table.columns}
    traces: list[Figure] = [
        {
            "type": "candlestick",
            "x": milliseconds(pd.DatetimeIndex(table.index)),
            **price,
            "name": symbol,
            "showlegend": False,
            "increasing": {"line": {"color": "#7fb89e", "width": 1}, "fillcolor": "#7fb89e"},
            "decreasing": {"line": {"color": "#d99a9b", "width": 1}, "fillcolor": "#d99a9b"},
            "xhoverformat": "%Y-%m-%d %H:%M",
        },
        *_trade_marks(marked_trades(result.trades, symbol)),
    ]
    layout = blank(560)
    layout["xaxis"]["rangeslider"] = {"visible": False}
    forecast = drawn_prediction(result, symbol)
    if forecast is None:
        return {"data": traces, "layout": layout}
    traces += _prediction_lines(forecast, pd.DatetimeIndex(forecast.index).floor(step))
    layout["yaxis"] |= {"domain": [0.32, 1]}
    layout["yaxis2"] = {**axis(), "domain": [0, 0.24], "title": {"text": str(forecast.name)}, "exponentformat": "none"}
    layout["xaxis"] |= {"anchor": "y2"}
    return {"data": traces, "layout": layout}


def drawn_prediction(result: Result, symbol: str) -> pd.Series[float] | None:
    """The main prediction of ``symbol``; None if it never speaks."""
    column = main_prediction(result.predictions.get(symbol, pd.DataFrame()))
    return column if column is not None and column.notna().any() else None


def drawn_step(candles: Candles) -> pd.Timedelta:
    """The shortest nice step of which no more than 2,500 candles are drawn."""
    if not len(candles):
        return candles.step
    span = candles.time[-1] - candles.time[0] + candles.step
    wide_enough = [step for step in NICE_STEPS if step >= candles.step and span / step <= MOST_CANDLES]
    return wide_enough[0] if wide_enough else pd.Timedelta(days=-(-span.days // MOST_CANDLES))


def marked_trades(trades: pd.DataFrame, symbol: str) -> pd.DataFrame:
    """The last trades of ``symbol`` that were filled."""
    return trades[(trades["symbol"] == symbol) & trades["entry_time"].notna()].tail(MOST_TRADES)


def _trade_marks(trades: pd.DataFrame) -> list[Figure]:
    marks: list[Figure] = []
    for side, shape, colour in (("long", "triangle-up", GAIN), ("short", "triangle-down", LOSS)):
        own = trades[trades["side"] == side]
        if len(own):
            marks.append(
                _markers(f"{side} entry", own["entry_time"], own["entry_price"], shape, colour, 9)
                | {"text": [_entry_text(trade) for trade in own.to_dict("records")]}
            )
    closed = trades[trades["exit_time"].notna()]
    for name, colour, own in (
        ("exit with a gain", GAIN, closed[closed["net_pnl"] > 0]),
        ("exit with a loss", LOSS, closed[closed["net_pnl"] <= 0]),
    ):
        if len(own):
            lines = {"x": thrice(milliseconds(own["entry_time"]), milliseconds(own["exit_time"]))}
            lines |= {"y": thrice(rounded(own["entry_price"], 8), rounded(own["exit_price"], 8))}
            line = {"color": colour, "width": 1, "dash": "dot"}
            marks.append({**lines, "type": "scatter", "mode": "lines", "line": line, "legendgroup": name} | _SILENT)
            marks.append(
                _markers(name, own["exit_time"], own["exit_price"], "circle-open", colour, 7)
                | {"legendgroup": name, "text": [_exit_text(trade) for trade in own.to_dict("records")]}
            )
    return marks


_SILENT = {"showlegend": False, "hoverinfo": "skip"}


def _markers(name: str, time: pd.Series[Any], price: pd.Series[float], shape: str, colour: str, size: int) -> Figure:
    marker = {"symbol": shape, "size": size, "color": colour, "line": {"width": 1.5, "color": colour}}
    if not shape.endswith("open"):
        marker["line"] = {"width": 1, "color": "#fff"}
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": milliseconds(time),
        "y": rounded(price, 8),
        "marker": marker,
        "hovertemplate": "%{text}<extra></extra>",
    }


def _entry_text(trade: dict[Any, Any]) -> str:
    why = f"<br>{_plain(trade['entry_reason'])}" if trade["entry_reason"] else ""
    said = "" if pd.isna(trade["prediction"]) else f"<br>prediction {significant(trade['prediction'], 3)}"
    return f"{trade['side']} {significant(trade['size'])} at {significant(trade['entry_price'])}{said}{why}"


def _exit_text(trade: dict[Any, Any]) -> str:
    why = f"<br>{_plain(trade['exit_reason'])}" if trade["exit_reason"] else ""
    return f"exit at {significant(trade['exit_price'])}, net {significant(trade['net_pnl'], 4)}{why}"


def _plain(reason: Any) -> str:
    """A reason that plotly cannot take for markup."""
    return str(reason).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _prediction_lines(prediction: pd.Series[float], start: pd.DatetimeIndex) -> list[Figure]:
    """The mean prediction of each drawn candle within the band of its lowest and highest."""
    grouped = prediction.groupby(start)
    time = milliseconds(pd.DatetimeIndex(grouped.mean().index))
    low, mean, high = (rounded(values.to_numpy(), 4) for values in (grouped.min(), grouped.mean(), grouped.max()))
    line = {"x": time, "type": "scatter", "mode": "lines", "yaxis": "y2", "showlegend": False}
    band = {"line": {"width": 0}, "hoverinfo": "skip"}
    return [
        {**line, **band, "y": low},
        {**line, **band, "y": high, "fill": "tonexty", "fillcolor": "rgba(122,92,196,0.22)"},
        {
            **line,
            "y": mean,
            "line": {"color": FORECAST, "width": 1.2},
            "hovertemplate": "%{y:.3~g}<extra>mean prediction</extra>",
        },
    ]


def cost_chart(costs: dict[str, Any]) -> Figure:
    """From what the trades earned before costs to what was left."""
    steps = [costs["gross_pnl"], -costs["commission"], -costs["slippage"], costs["net_pnl"]]
    layout = blank(440)
    layout["xaxis"] |= {"type": "category", "showgrid": False}
    layout["margin"] |= {"t": 24}
    return {
        "data": [
            {
                "type": "waterfall",
                "x": ["before costs", "commission", "slippage", "after costs"],
                "measure": ["relative", "relative", "relative", "total"],
                "y": steps,
                "text": [f"{value:+,.2f}".replace("-", "−") for value in steps],
                "textposition": "outside",
                "cliponaxis": False,
                "connector": {"line": {"color": QUIET, "width": 1, "dash": "dot"}},
                "increasing": {"marker": {"color": GAIN}},
                "decreasing": {"marker": {"color": LOSS}},
                "totals": {"marker": {"color": STRATEGY}},
                "hoverinfo": "x+text",
            }
        ],
        "layout": {**layout, "showlegend": False},
    }


def skill_chart(skill: dict[str, dict[str, dict[str, Any]]]) -> Figure | None:
    """Root mean square errors over that of the zero forecast, so that 1 is what costs nothing; None without forecasts."""
    names: list[str] = []
    forecast: list[float] = []
    persistence: list[float] = []
    for symbol, aliases in skill.items():
        for alias, figures in aliases.items():
            if figures and figures.get("zero_rmse"):
                names.append(symbol if len(aliases) == 1 else f"{symbol}<br>{alias}")
                forecast.append(figures["rmse"] / figures["zero_rmse"])
                persistence.append(figures["persistence_rmse"] / figures["zero_rmse"])
    if not names:
        return None
    layout = blank(skill_height(len(names)))
    layout["xaxis"] |= {
        "type": "linear",
        "rangemode": "tozero",
        "title": {"text": "error / error of zero", "standoff": 4},
    }
    layout["yaxis"] |= {"type": "category", "showgrid": False, "autorange": "reversed"}
    layout["shapes"] = [
        {"type": "line", "yref": "paper", "y0": 0, "y1": 1, "x0": 1, "x1": 1, "line": {"color": "#222", "dash": "dot"}}
    ]
    bars = (("forecast", forecast, FORECAST), ("persistence", persistence, QUIET))
    return {
        "data": [
            {
                "type": "bar",
                "orientation": "h",
                "name": name,
                "x": values,
                "y": names,
                "marker": {"color": colour},
                "text": [f"{value:.3f}" for value in values],
                "textposition": "inside",
                "insidetextanchor": "end",
                "textfont": {"color": "#fff"},
                "hovertemplate": "%{x:.4f}<extra>" + name + "</extra>",
            }
            for name, values, colour in bars
        ],
        "layout": {**layout, "barmode": "group", "bargap": 0.3},
    }


def skill_height(forecasts: int) -> int:
    """Pixels of the skill chart."""
    return 110 + 62 * forecasts
