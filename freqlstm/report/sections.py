"""The sections that judge a run: what it earned, what it must beat, what it cost, and what its forecasts are worth."""

from __future__ import annotations

from typing import Any

from freqlstm.report.figures import (
    ABSENT,
    count,
    percent,
    probability,
    ratio,
    share,
    significant,
    text,
    tone,
)
from freqlstm.report.markup import chart, figure, section, table, tile
from freqlstm.results import Result

SKILLED = 0.05  # a p-value below this is called better


def headline(result: Result) -> str:
    """The result after costs, beside everything that it must beat."""
    stats = result.stats
    made, trades, luck = stats["performance"], stats["trades"], stats["luck"]
    tiles = [
        tile("total return, after costs", _figure("performance.total_return", made, percent, tone)),
        tile("Sharpe ratio, annual", _figure("performance.sharpe", made, ratio)),
        tile("deepest drawdown", _figure("performance.max_drawdown", made, share)),
        tile("closed trades", _figure("trades.closed", trades, count)),
        tile("winning trades", _figure("trades.win_rate", trades, share)),
        tile("configurations tried so far", _figure("luck.configurations_tried", luck, count)),
    ]
    return section(
        "result",
        "The result, and what it must beat",
        "",
        f'<div class="tiles">{"".join(tiles)}</div>',
        f'<ul class="claims">{"".join(_claim(verdict, said) for verdict, said in claims(stats))}</ul>',
        _comparison(stats),
        '<p class="note">Ratios are of daily UTC returns, 365 days a year, without a risk-free rate. Drawdowns are '
        "measured at the close of every bar. Annual figures of less than 30 days are left out.</p>",
    )


def claims(stats: dict[str, Any]) -> list[tuple[bool | None, str]]:
    """(true, false or undecided; the sentence) of everything that a reader should know first."""
    made, beats, luck = stats["performance"]["total_return"], stats["beats"], stats["luck"]
    if not stats["trades"]["closed"] and not stats["trades"]["open"]:
        return [(None, "It never traded, so there is nothing to judge.")]
    said: list[tuple[bool | None, str]] = [
        (made > 0, f"{'Earned' if made > 0 else 'Lost'} {share(abs(made), 2)} after all costs.")
    ]
    hold = beats["buy_and_hold"]["total_return"]
    said.append((made > hold, f"{'Above' if made > hold else 'Not above'} buy and hold, which made {percent(hold)}."))
    rules = beats.get("rules_without_signal")
    if rules:
        plain = rules["total_return"]
        said.append(
            (
                made > plain,
                f"{'Above' if made > plain else 'Not above'} the same rules without the signal, which made {percent(plain)}.",
            )
        )
    entries = beats.get("random_entries") or {}
    if entries.get("p_value") is not None:
        better = entries["p_value"] < SKILLED
        said.append(
            (
                better,
                f"{share(entries['p_value'])} of draws with as many trades of the same length at random times did at "
                f"least as well{'.' if better else ': its timing cannot be told from chance.'}",
            )
        )
    low, high = luck["sharpe_low"], luck["sharpe_high"]
    if low is not None and high is not None:
        sure = low > 0 or high < 0
        rest = "." if sure else ", so its sign is not known."
        said.append(
            (
                low > 0 if sure else None,
                f"The Sharpe ratios of 95% of resampled histories lie between {ratio(low)} and {ratio(high)}{rest}",
            )
        )
    deflated = luck["deflated_sharpe"]
    if deflated is not None:
        said.append(
            (
                deflated > 0.95,
                f"Configurations tried on these candles: {count(luck['configurations_tried'])}. The probability that the Sharpe "
                f"ratio is better than luck is {share(deflated)}.",
            )
        )
    return said


def _claim(verdict: bool | None, said: str) -> str:
    return f'<li class="{"open" if verdict is None else "yes" if verdict else "no"}">{said}</li>'


def _comparison(stats: dict[str, Any]) -> str:
    beats = stats["beats"]
    rivals = [
        ("performance", "This strategy", stats["performance"]),
        ("beats.buy_and_hold", "Buy and hold", beats["buy_and_hold"]),
    ]
    if beats.get("rules_without_signal"):
        rivals.append(("beats.rules_without_signal", "Same rules, no signal", beats["rules_without_signal"]))
    lines: list[tuple[str, str, Any]] = [
        ("Total return", "total_return", percent),
        ("Annual return", "annual_return", percent),
        ("Annual volatility", "annual_volatility", share),
        ("Sharpe ratio", "sharpe", ratio),
        ("Sortino ratio", "sortino", ratio),
        ("Calmar ratio", "calmar", ratio),
        ("Deepest drawdown", "max_drawdown", share),
        ("Longest drawdown, days", "longest_drawdown_days", lambda value: ratio(value, 1)),
        ("Final equity", "final_equity", ratio),
    ]
    entries = beats.get("random_entries") or {}
    heads = ["", *(name for _, name, _ in rivals), "Random entries"]
    rows = []
    for label, key, write in lines:
        last = ABSENT
        if key == "total_return" and entries.get("median_return") is not None:
            median = figure("beats.random_entries.median_return", percent(entries["median_return"]))
            low = figure("beats.random_entries.low_return", percent(entries["low_return"]))
            high = figure("beats.random_entries.high_return", percent(entries["high_return"]))
            last = f'{median} <span class="quiet">({low} to {high})</span>'
        rows.append([label, *(_figure(f"{path}.{key}", figures, write) for path, _, figures in rivals), last])
    return table(heads, rows, own=1)


def equity_section() -> str:
    """Equity beside buy and hold, and the drawdowns."""
    return section(
        "equity",
        "Equity and drawdown",
        "Buy and hold starts with the same cash, pays the same costs and is spread equally over the symbols.",
        chart("equity", 460),
    )


def trades_on_candles(result: Result, step: str, left_out: int) -> str:
    """The candle chart; a portfolio has a button for each symbol."""
    symbols = list(result.market)
    buttons = "".join(
        f'<button data-place="chart-candles-0" data-chart="candles-{number}" aria-pressed="{"false" if number else "true"}">'
        f"{text(symbol)}</button>"
        for number, symbol in enumerate(symbols)
    )
    note = (
        f"Candles are drawn {step} wide; trades stand at their true times and prices. Below: the mean prediction within "
        f"each drawn candle, and the band from its lowest to its highest."
    )
    if left_out:
        note += f" Only the latest trades are marked: {left_out:,} earlier ones are in trades.csv."
    choice = f'<div class="choice">{buttons}</div>' if len(symbols) > 1 else ""
    return section("candles", "Trades on the candles", note, choice, chart("candles-0", 560))


def skill_section(result: Result, height: int) -> str:
    """What the forecasts are worth, against forecasts that cost nothing; the chart is ``height`` pixels high, 0 for none."""
    rows = []
    for symbol, aliases in result.stats["skill"].items():
        for alias, skill in aliases.items():
            at = f"skill.{symbol}.{alias}"
            rows.append(
                [
                    f'{text(symbol)}<br><span class="quiet">{text(alias)}</span>',
                    _figure(f"{at}.rows", skill, count),
                    _figure(f"{at}.r2", skill, lambda value: percent(value, 3)),
                    _figure(f"{at}.ic", skill, lambda value: ratio(value, 4)),
                    _figure(f"{at}.rank_ic", skill, lambda value: ratio(value, 4)),
                    _figure(f"{at}.directional_accuracy", skill, lambda value: share(value, 2)),
                    _figure(f"{at}.rmse", skill, lambda value: significant(value, 4)),
                    _with_p(f"{at}.zero_rmse", f"{at}.dm_p_vs_zero", skill),
                    _with_p(f"{at}.persistence_rmse", f"{at}.dm_p_vs_persistence", skill),
                    _inside(at, skill),
                    _verdict(skill),
                ]
            )
    if not rows:
        return section("skill", "Forecast skill", "This strategy asks no signal for a forecast.")
    heads = [
        "Forecast",
        "Rows",
        "R² vs zero",
        "IC",
        "Rank IC",
        "Direction",
        "RMSE",
        "of zero",
        "of persistence",
        "In the interval",
        "Verdict",
    ]
    return section(
        "skill",
        "Forecast skill",
        "Every prediction is out of sample. <em>Zero</em> forecasts no change, <em>persistence</em> the last horizon once "
        "more; both cost nothing. p is the one-sided Diebold-Mariano probability of such errors if the forecast were no "
        "better. <em>In the interval</em> is the share of outcomes between the forecast's bounds, and the share that there "
        "should be. A skill that is real can still be too small to pay for trading.",
        table(heads, rows),
        chart("skill", height) if height else "",
    )


def _with_p(error: str, p: str, skill: dict[str, Any]) -> str:
    """A rival's error, and below it the p-value of the comparison."""
    wrong = _figure(error, skill, lambda value: significant(value, 4))
    return f"{wrong}<br><small>p {_figure(p, skill, probability)}</small>"


def _inside(at: str, skill: dict[str, Any]) -> str:
    """The share of outcomes in their interval, and below it the one that was asked for."""
    if skill.get("coverage") is None:
        return ABSENT
    inside = _figure(f"{at}.coverage", skill, lambda value: share(value, 2))
    return f"{inside}<br><small>of {_figure(f'{at}.interval', skill, lambda value: share(value, 1))}</small>"


def _verdict(skill: dict[str, Any]) -> str:
    zero, persistence = skill.get("dm_p_vs_zero"), skill.get("dm_p_vs_persistence")
    if zero is None or persistence is None:
        return '<span class="quiet">too little to judge</span>'
    if max(zero, persistence) < SKILLED:
        return '<span class="gain">better than both</span>'
    if min(zero, persistence) >= SKILLED:
        return '<span class="loss">better than neither</span>'
    return f'<span class="loss">better than {"zero" if zero < SKILLED else "persistence"} only</span>'


def costs_section(result: Result) -> str:
    """From gross to net."""
    costs, trades = result.stats["costs"], result.stats["trades"]
    if not costs["turnover"]:
        return section("costs", "Costs", "Nothing was bought or sold, so nothing was paid.")
    lines = [
        ("Earned before costs", "costs.gross_pnl", costs, ratio),
        ("Commission", "costs.commission", costs, ratio),
        ("Slippage", "costs.slippage", costs, ratio),
        ("Earned after costs", "costs.net_pnl", costs, ratio),
        ("Value bought and sold", "costs.turnover", costs, ratio),
        ("Paid a side, basis points", "costs.paid_bps", costs, ratio),
        ("Break-even a side, basis points", "costs.break_even_bps", costs, ratio),
        ("Mean net return of a trade", "trades.mean_net_return", trades, lambda value: percent(value, 3)),
        ("Median net return of a trade", "trades.median_net_return", trades, lambda value: percent(value, 3)),
        ("Best and worst trade", "", trades, ratio),
        ("Profit factor", "trades.profit_factor", trades, ratio),
        ("Mean bars held", "trades.mean_bars_held", trades, lambda value: ratio(value, 1)),
        ("Longest losing streak, trades", "trades.longest_losing_streak", trades, count),
        ("Long, short", "", trades, ratio),
        ("Still open, refused", "", trades, ratio),
    ]
    pairs = {
        "Best and worst trade": (("best_net_return", percent), ("worst_net_return", percent)),
        "Long, short": (("long", count), ("short", count)),
        "Still open, refused": (("open", count), ("refused", count)),
    }
    rows = [
        [
            label,
            _figure(path, group, write)
            if path
            else ", ".join(_figure(f"trades.{key}", group, wording) for key, wording in pairs[label]),
        ]
        for label, path, group, write in lines
    ]
    return section(
        "costs",
        "Costs",
        "In the quote currency; open trades are valued at the last close. Break-even is the cost of one side at which "
        "these very trades would have earned nothing.",
        f'<div class="two">{chart("costs", 440)}<div>{table(["", ""], rows)}</div></div>',
    )


def _figure(path: str, figures: dict[str, Any], write: Any, colour: Any = None) -> str:
    """The number at ``path`` of stats.json, whose last part is its key in ``figures``."""
    value = figures.get(path.rsplit(".", 1)[-1])
    return figure(path, write(value), colour(value) if colour else "")
