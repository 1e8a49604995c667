"""One sweep as one HTML file: readable without a network, a server or any other file."""

from __future__ import annotations

import json
from typing import Any

import pandas as pd

import freqlstm
from freqlstm.files import jsonable
from freqlstm.report.canvas import Figure
from freqlstm.report.evaluation_sections import choice
from freqlstm.report.figures import count, moment, percent, probability, ratio, share, significant, text, tone
from freqlstm.report.markup import chart, figure, folded, section, table, tile
from freqlstm.report.page import links, page, synthetic_banner
from freqlstm.report.sweep_charts import equity_chart, heat_chart, spread_chart
from freqlstm.results import to_toml
from freqlstm.sweep import FRACTIONS, parameter_column
from freqlstm.sweep_result import SURE, SweepResult

CONTENTS = {
    "luck": "Luck", "best": "The best", "heat": "Heat map", "spread": "All of them", "walk": "Walk-forward", "repeat": "Repeat it",
}  # fmt: skip


def sweep_page(result: SweepResult) -> str:
    """The page: a few megabytes, most of them the chart library. The same sweep gives the same page."""
    drawn = _charts(result)
    parts = {
        "luck": _luck_section(result),
        "best": _best_section(result),
        "heat": _heat_section(result),
        "spread": _spread_section(result),
        "walk": _walk_section(result),
        "repeat": _repeat_section(result),
    }
    shown = {name: part for name, part in parts.items() if part}
    return page(
        f"Sweep · {result.run_id}",
        _header(result, {name: CONTENTS[name] for name in shown}),
        shown.values(),
        f"<p>Made by freqlstm {text(freqlstm.__version__)}. Past performance promises nothing. This is not financial advice.</p>",
        drawn,
        synthetic_banner("This sweep used") if result.synthetic else "",
    )


def _charts(result: SweepResult) -> dict[str, Figure]:
    survey, objective = result.survey, result.figures["objective"]
    best = None if result.winner is None else result.winner.objective
    found = {f"heat-{number}": heat_chart(survey, heat, objective) for number, heat in enumerate(survey.heat)}
    if survey.defined:
        found["spread"] = spread_chart(survey, objective, best)
    if result.winner is not None:
        lines = {"the best": result.winner.equity["equity"], "buy and hold": result.held}
        found["equity"] = equity_chart(lines, [])
    if result.walk is not None:
        equity = result.walk.equity
        lines = {
            "out of sample": equity["equity"],
            "best in hindsight": equity["hindsight"],
            "buy and hold": equity["buy_and_hold"],
        }
        found["walk"] = equity_chart(lines, [choice.span.test_start for choice in result.walk.chosen])
    return found


def _header(result: SweepResult, contents: dict[str, str]) -> str:
    config, figures = result.config, result.figures
    warnings = "".join(f'<p class="note">{text(warning)}</p>' for warning in result.manifest.get("warnings", []))
    searched = "" if figures["rows"] >= figures["combinations"] else f" of {count(figures['combinations'])}"
    return (
        f"<h1>{text(config['strategy'])}: {count(figures['rows'])}{searched} combinations</h1>"
        f'<p class="quiet">{text(", ".join(config["pairs"]))} · {text(config["timeframe"])} · {text(config["exchange"])} · '
        f"{text(config['timerange'])} · by {text(figures['objective'])} · run {text(result.run_id)}</p>{warnings}{links(contents)}"
    )


def _luck_section(result: SweepResult) -> str:
    luck, verdict = result.figures["luck"], f"<p><b>{text(result.figures['verdict'])}</b></p>"
    tiles = ""
    if luck is not None:
        tiles = '<div class="tiles">' + "".join(
            (
                tile("trials on these candles", figure("luck.configurations_tried", count(luck["configurations_tried"]))),
                tile("Sharpe ratio of the best", figure("luck.sharpe", ratio(luck["sharpe"]))),
                tile("of the luckiest of as many worthless ones", figure("luck.luckiest_sharpe", ratio(luck["luckiest_sharpe"]))),
                tile("probability of more than luck", figure("luck.deflated_sharpe", share(luck["deflated_sharpe"]))),
            )
        ) + "</div>"  # fmt: skip
    return section(
        "luck",
        "Is it more than luck?",
        "Whoever tries enough worthless combinations finds one that looks good. The deflated Sharpe ratio (Bailey and Lopez de Prado 2014) is "
        "the probability that the best is better than the luckiest of as many worthless ones. Every combination of this sweep counts, and "
        f"everything else that was ever tried on these candles; below {SURE:.0%} it is no discovery.",
        verdict,
        tiles,
    )


def _best_section(result: SweepResult) -> str:
    survey, names = result.survey, list(result.config["sweep"])
    if not len(survey.best):
        return ""
    held = result.figures["beats"]["buy_and_hold"]
    rows = [
        [
            str(number), f'<span class="{tone(row["total_return"])}">{percent(row["total_return"])}</span>', ratio(row["sharpe"]),
            ratio(row["sortino"]), ratio(row["calmar"]), share(row["max_drawdown"], 2), count(row["trades"]), count(row["refused"]),
            *(text(_short(row[parameter_column(name)])) for name in names),
        ]
        for number, row in enumerate(survey.best.to_dict("records"), start=1)
    ]  # fmt: skip
    rows.append(
        [
            "hold", percent(held["total_return"]), ratio(held["sharpe"]), ratio(held["sortino"]), ratio(held["calmar"]),
            share(held["max_drawdown"], 2), "", "", *[""] * len(names),
        ]
    )  # fmt: skip
    heads = ("", "Return", "Sharpe", "Sortino", "Calmar", "Max. drawdown", "Trades", "Refused", *names)
    return section(
        "best",
        "The best combinations",
        "After all costs, on the candles that they were chosen on. The first was run again in Backtrader, and every trade is the same.",
        chart("equity", 380) if result.winner is not None else "",
        table(heads, rows, words=(0,)),
    )


def _heat_section(result: SweepResult) -> str:
    survey = result.survey
    if not survey.heat:
        return ""
    pairs = [each.across if each.across == each.down else f"{each.across} × {each.down}" for each in survey.heat]
    rows = [[text(name), share(value)] for name, value in survey.matters.items()]
    return section(
        "heat",
        "Where it is good",
        "The best of all combinations with these two values, whatever the others. A parameter that matters changes the objective; a result to "
        "believe in has good neighbours, and a single bright cell among dark ones is luck.",
        choice("heat", pairs, 460),
        "<p>Share of the objective's variance that the value of one parameter alone explains:</p>",
        table(("Parameter", "Explained"), rows, words=(0,)),
    )


def _spread_section(result: SweepResult) -> str:
    survey, objective = result.survey, result.figures["objective"]
    if not survey.defined:
        return ""
    return section(
        "spread",
        "All combinations",
        f"Of {count(survey.count)} combinations {count(survey.defined)} have a {text(objective)}; its mean is {_objective_text(objective, survey.mean)}, its standard "
        f"deviation {share(survey.deviation) if objective in FRACTIONS else ratio(survey.deviation)}, and {share(survey.positive)} are above 0. All are in sweep.parquet.",
        chart("spread", 320),
    )


def _walk_section(result: SweepResult) -> str:
    told = result.figures["walk"]
    if told is None:
        return ""
    names, objective = list(result.config["sweep"]), result.figures["objective"]
    spans = [
        [
            moment(each["train_start"]), moment(each["test_start"]), moment(each["test_end"]), _objective_text(objective, each["trained"]),
            f'<span class="{tone(each["tested"].get("total_return"))}">{percent(each["tested"].get("total_return"))}</span>',
            count(each["tested"].get("trades")), *(text(_short((each["parameters"] or {}).get(name))) for name in names),
        ]
        for each in told["spans"]
    ]  # fmt: skip
    results = [
        [
            title, percent(each["total_return"]), ratio(each["sharpe"]), ratio(each["sortino"]), share(each["max_drawdown"], 2),
        ]
        for title, each in (
            ("Walk-forward, out of sample", told["out_of_sample"]),
            ("Best in hindsight", told["in_sample"]),
            ("Buy and hold", told["buy_and_hold"]),
        )
    ]  # fmt: skip
    interval = (
        ""
        if told["sharpe_low"] is None
        else f" 95% of resampled Sharpe ratios lie from {ratio(told['sharpe_low'])} to {ratio(told['sharpe_high'])}."
    )
    return section(
        "walk",
        "Chosen on the past, traded on the next",
        "For each test span the best combination of the train span before it, which ends where the test span begins. Each test span starts "
        "without a position and with what is left of the one before; what is open at its end is sold at its last close, costs paid. "
        "The best in hindsight is the first of the table above over the same days, and knows them."
        f"{interval} Probability of a true ratio above 0: {probability(told['above_zero'])}.",
        chart("walk", 380),
        table(("", "Return", "Sharpe", "Sortino", "Max. drawdown"), results, words=(0,), own=1),
        table(
            ("Trained from", "Traded from", "Until", f"{objective.capitalize()} then", "Return next", "Trades", *names),
            spans,
        ),
    )


def _repeat_section(result: SweepResult) -> str:
    manifest = {key: value for key, value in result.manifest.items() if key not in ("signals", "warnings", "quality")}
    shown = json.dumps(jsonable(manifest), indent=2, ensure_ascii=False)
    here = f"backtests/results/{text(result.run_id)}"
    best = (
        ""
        if result.best_config is None
        else f" <code>freqlstm backtest {here}/best.toml</code> makes the tearsheet of the best."
    )
    return section(
        "repeat",
        "How to repeat it",
        f"<code>freqlstm sweep -c {here}/run.toml</code> does it again.{best}",
        folded("Run file", f"<pre>{text(to_toml(result.config))}</pre>"),
        folded("Manifest: versions, digests, timings", f"<pre>{text(shown)}</pre>"),
    )


def _objective_text(objective: str, value: float | None) -> str:
    """What a combination has of the objective."""
    return percent(value) if objective in FRACTIONS else ratio(value)


def _short(value: Any) -> str:
    if value is None or (isinstance(value, float) and pd.isna(value)):
        return ""
    return significant(value) if isinstance(value, float) else str(value)
