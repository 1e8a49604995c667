"""One evaluation as one HTML file: readable without a network, a server or any other file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import freqlstm
from freqlstm.evaluation import Evaluation
from freqlstm.files import jsonable
from freqlstm.report import evaluation_charts, evaluation_sections, training_charts, uncertainty_charts
from freqlstm.report.canvas import Figure
from freqlstm.report.figures import count, text
from freqlstm.report.markup import chart, folded, section
from freqlstm.report.page import links, page, synthetic_banner
from freqlstm.report.records import record_table
from freqlstm.results import to_toml
from freqlstm.store import write_text

CONTENTS = {
    "result": "Result",
    "advantage": "When",
    "parts": "In parts",
    "forecasts": "Forecasts",
    "residuals": "Errors",
    "intervals": "Intervals",
    "reliability": "Probabilities",
    "alike": "Alike",
    "importance": "Importance",
    "training": "Training",
    "repeat": "Repeat it",
}
MOST_FOLDS = 60


def write_evaluation(evaluation: Evaluation, path: Path) -> None:
    """Write the page of ``evaluation``, whole or not at all."""
    write_text(path, evaluation_page(evaluation))


def evaluation_page(evaluation: Evaluation) -> str:
    """The page: a few megabytes, most of them the chart library. The same evaluation gives the same page."""
    figures, named = evaluation.figures, evaluation.figures["named"]
    drawn = _charts(evaluation)
    parts = {
        "result": evaluation_sections.result_section(evaluation),
        "advantage": evaluation_sections.advantage_section(figures),
        "parts": evaluation_sections.parts_section(evaluation),
        "forecasts": evaluation_sections.forecasts_section(named),
        "residuals": evaluation_sections.residuals_section(figures, named),
        "intervals": evaluation_sections.intervals_section(figures),
        "reliability": evaluation_sections.reliability_section(figures, "reliability" in drawn),
        "alike": evaluation_sections.alike_section(figures),
        "importance": _importance_section(figures),
        "training": _training_section(evaluation, drawn),
        "repeat": _repeat_section(evaluation),
    }
    shown = {name: part for name, part in parts.items() if part}
    return page(
        f"Evaluation · {evaluation.run_id}",
        _header(evaluation, {name: CONTENTS[name] for name in shown}),
        shown.values(),
        f"<p>Made by freqlstm {text(freqlstm.__version__)}. Past skill promises nothing. This is not financial advice.</p>",
        drawn,
        synthetic_banner("This evaluation used") if evaluation.synthetic else "",
    )


def _charts(evaluation: Evaluation) -> dict[str, Figure]:
    """Every chart that page.js may draw, by name."""
    figures, compared = evaluation.figures, evaluation.compared
    found: dict[str, Figure | None] = {
        "r2": evaluation_charts.r2_chart(figures),
        "advantage": evaluation_charts.advantage_chart(compared, figures),
        "coverage": uncertainty_charts.coverage_chart(compared, figures),
        "reliability": uncertainty_charts.reliability_chart(figures),
        "alike": evaluation_charts.correlation_chart(figures),
    }
    for number, name in enumerate(figures["named"]):
        found[f"time-{number}"] = evaluation_charts.time_chart(compared, name)
        found[f"scatter-{number}"] = evaluation_charts.scatter_chart(compared, name)
        found[f"residuals-{number}"] = evaluation_charts.residual_chart(compared, name)
        folds = compared.folds.get(name, [])
        found[f"training-{number}"] = training_charts.training_chart(folds)
        found[f"stages-{number}"] = training_charts.stages_chart(folds)
    for number, told in enumerate(figures.get("importance") or {}):
        found[f"importance-{number}"] = training_charts.importance_chart(figures["importance"][told]["features"])
    return {name: each for name, each in found.items() if each is not None}


def _header(evaluation: Evaluation, contents: dict[str, str]) -> str:
    figures, config = evaluation.figures, evaluation.config
    warnings = "".join(f'<p class="note">{text(warning)}</p>' for warning in evaluation.manifest.get("warnings", []))
    fitted = "one model of all pairs" if config["pooled"] else "one model of each pair"
    folds = config["folds"]
    return (
        f"<h1>{text(figures['target'].capitalize())} of the next {figures['horizon']} bars</h1>"
        f'<p class="quiet">{text(", ".join(figures["symbols"]))} · {text(config["timeframe"])} · {text(config["exchange"])} · '
        f"{text(', '.join(config['timeranges']))} · {count(figures['rows'])} rows<br>"
        f"train {text(folds['train'])}, test {text(folds['test'])}, {fitted} · run {text(evaluation.run_id)}</p>{warnings}{links(contents)}"
    )


def _importance_section(figures: dict[str, Any]) -> str:
    told = figures.get("importance") or {}
    if not told:
        return ""
    height = training_charts.importance_height(max(len(each["features"]) for each in told.values()))
    return section(
        "importance",
        "What they listen to",
        "Squared error added when one feature is shuffled in time, in whole blocks so that it still looks like itself, in percent "
        "of the error of the same rows unshuffled; the line is the standard deviation over the shuffles. Features that say the same "
        "stand in for each other and each seems to matter little. Of boosting, the stages are asked and not the base.",
        evaluation_sections.choice("importance", list(told), height),
    )


def _training_section(evaluation: Evaluation, drawn: dict[str, Figure]) -> str:
    parts = []
    for number, name in enumerate(evaluation.figures["named"]):
        folds = evaluation.compared.folds.get(name, [])
        if not folds:
            continue
        charts = "".join(
            chart(f"{kind}-{number}", 320) for kind in ("training", "stages") if f"{kind}-{number}" in drawn
        )
        hidden = ("validation_errors", "stages")
        records = [{key: value for key, value in fold.items() if key not in hidden} for fold in folds[:MOST_FOLDS]]
        more = f" (first {MOST_FOLDS} of {len(folds)})" if len(folds) > MOST_FOLDS else ""
        parts.append(f"<h3>{text(name)}{more}</h3>{charts}{folded('Fits', record_table(records))}")
    if not parts:
        return ""
    return section(
        "training",
        "How they were fitted",
        "Validation error after each epoch or tree, over that of the first, a line for each network of each fold. Each model "
        "predicts only its own test span, and saw nothing that was not known when its training span ended.",
        *parts,
    )


def _repeat_section(evaluation: Evaluation) -> str:
    manifest = {key: value for key, value in evaluation.manifest.items() if key not in ("signals", "warnings")}
    shown = json.dumps(jsonable(manifest), indent=2, ensure_ascii=False)
    return section(
        "repeat",
        "How to repeat it",
        f"<code>freqlstm evaluate backtests/results/{text(evaluation.run_id)}/run.toml</code> does it again.",
        folded("Run file", f"<pre>{text(to_toml(evaluation.config))}</pre>"),
        folded("Manifest: versions, digests, timings", f"<pre>{text(shown)}</pre>"),
    )
