"""The sections of an evaluation: what the signals are worth, in parts, in residuals, and in what they say of themselves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from freqlstm.evaluation import Evaluation
from freqlstm.report.evaluation_charts import correlation_height, r2_height
from freqlstm.report.figures import ABSENT, count, percent, probability, ratio, share, significant, text
from freqlstm.report.markup import chart, figure, folded, section, table

Write = Callable[[Any], str]

PARTS = (("by_symbol", "Symbol"), ("by_era", "Year"), ("by_fold", "Fold"))


def result_section(evaluation: Evaluation) -> str:
    """What is found, in words, and the table of all signals."""
    figures = evaluation.figures
    findings = "".join(f'<li class="open">{text(finding)}</li>' for finding in figures["findings"])
    return section(
        "result",
        "What the forecasts are worth",
        "",
        f'<ul class="claims">{findings}</ul>',
        _signal_table(figures),
        f'<p class="note">{_explained(figures)}</p>',
        chart("r2", r2_height(figures)),
    )


def _signal_table(figures: dict[str, Any]) -> str:
    naive, reference, volatile = figures["naive"], figures["reference"], figures["target"] == "volatility"
    columns: list[tuple[str, str, Write]] = [
        (f"R² vs {reference}", "r2", lambda value: percent(value, 3)),
        ("±", "r2_error", lambda value: share(value, 3)),
        *([("Error / HAR's", "error_ratio", lambda value: ratio(value, 3))] if reference == "har" else []),
        ("RMSE", "rmse", lambda value: significant(value, 4)),
        ("MAE", "mae", lambda value: significant(value, 4)),
        ("±", "mae_error", lambda value: significant(value, 2)),
        *([("MAPE", "mape", share), ("QLIKE", "qlike", lambda value: ratio(value, 4))] if volatile else []),
        *([] if volatile else [("Direction", "directional_accuracy", lambda value: share(value, 2))]),
        ("IC", "ic", lambda value: ratio(value, 4)),
        ("Rank IC", "rank_ic", lambda value: ratio(value, 4)),
        ("Theil's U", "theil_u", lambda value: ratio(value, 4)),
        (f"p vs {naive}", "dm_p_vs_naive", probability),
        ("corrected", "holm_p_vs_naive", probability),
        *([(f"p vs {reference}", "dm_p_vs_reference", probability)] if reference not in (naive, "zero") else []),
    ]
    rows = []
    for name, each in figures["signals"].items():
        at = f"figures.signals.{name}"
        best = each["best_baseline"]
        against = ABSENT if best is None else figure(
            f"{at}.pooled.dm_p_vs_best", probability(each["pooled"].get("dm_p_vs_best"))
        ) + f"<br><small>{text(best)}</small>"  # fmt: skip
        rows.append(
            [
                text(name),
                *(figure(f"{at}.pooled.{key}", write(each["pooled"].get(key))) if key in each["pooled"] else ABSENT
                  for _, key, write in columns),
                against,
                _over_seeds(at, each["over_seeds"]),
                figure(f"{at}.fit_seconds", ratio(each["fit_seconds"], 1)),
            ]
        )  # fmt: skip
    heads = ["Signal", *(head for head, _, _ in columns), "p vs best baseline", "MAE over seeds", "Fit, s"]
    if not any(each["over_seeds"] for each in figures["signals"].values()):
        place = heads.index("MAE over seeds")
        heads.pop(place)
        for row in rows:
            row.pop(place)
    return table(heads, rows)


def _over_seeds(at: str, over: dict[str, Any] | None) -> str:
    if over is None:
        return ABSENT
    mean = figure(f"{at}.over_seeds.mae_mean", significant(over["mae_mean"], 4))
    spread = figure(f"{at}.over_seeds.mae_sd", significant(over["mae_sd"], 2))
    below = figure(f"{at}.over_seeds.mae_below_naive", count(over["mae_below_naive"]))
    return f"{mean} ± {spread}<br><small>{below} of {over['seeds']} below the naive forecast</small>"


def _explained(figures: dict[str, Any]) -> str:
    percentage = (
        "MAPE is the mean error of the volatility as a fraction of it, and QLIKE the loss of a variance (Patton, 2011). "
        if figures["target"] == "volatility"
        else "There is no percentage error: what is forecast lies around nothing, and of nothing there is no percentage. "
    )
    return (
        f"Every forecast is out of sample, and all are judged by the same {count(figures['rows'])} rows: those of "
        f"{count(figures['bars'])} bars at which each has something to say and the outcome is known. ± is a standard error under "
        f"the stationary bootstrap. p is the one-sided Diebold-Mariano probability of such squared errors if the forecast were no "
        f"better; corrected for the number of signals by Holm. {percentage}A skill that is real can still be too small to pay for trading."
    )


def advantage_section(figures: dict[str, Any]) -> str:
    """When the skill was earned."""
    return section(
        "advantage",
        "When it was earned",
        f"Squared error saved so far against {text(figures['naive'])}, in percent of all of its squared error: a steady rise is "
        "skill, a single step is an accident. What lies far below can be switched on in the legend.",
        chart("advantage", 380),
    )


def parts_section(evaluation: Evaluation) -> str:
    """The same by symbol, year and fold."""
    figures = evaluation.figures
    signals = figures["signals"]
    starts = evaluation.compared.rows.groupby(evaluation.compared.rows["fold"].astype(str))["time"].min()
    tables = []
    for group, title in PARTS:
        keys = list(next(iter(signals.values()))[group])
        rows = []
        for key in keys:
            called = f"{int(key) + 1}: {starts[key]:%Y-%m-%d}" if group == "by_fold" else key
            size = next(iter(signals.values()))[group][key]["rows"]
            rows.append(
                [
                    f"{text(called)}<br><small>{count(size)} rows</small>",
                    *(
                        f"{figure(f'figures.signals.{name}.{group}.{key}.r2', percent(each[group][key]['r2'], 3))}<br><small>p "
                        f"{figure(f'figures.signals.{name}.{group}.{key}.dm_p_vs_naive', probability(each[group][key]['dm_p_vs_naive']))}"
                        "</small>"
                        for name, each in signals.items()
                    ),
                ]
            )
        tables.append(
            folded(f"By {title.lower()} ({len(keys)})", table([title, *signals], rows), opened=len(keys) <= 12)
        )
    return section(
        "parts",
        "In parts",
        f"R² against {text(figures['reference'])}, and the p-value against {text(figures['naive'])}, not corrected.",
        *tables,
    )


def choice(place: str, names: Sequence[str], height: int) -> str:
    """A chart with a button for each signal; the charts are called ``place-0``, ``place-1`` and so on."""
    buttons = "".join(
        f'<button data-place="chart-{place}-0" data-chart="{place}-{number}" aria-pressed="{"false" if number else "true"}">'
        f"{text(name)}</button>"
        for number, name in enumerate(names)
    )
    return (f'<div class="choice">{buttons}</div>' if len(names) > 1 else "") + chart(f"{place}-0", height)


def forecasts_section(names: Sequence[str]) -> str:
    """Actual against predicted, over time and against each other."""
    return section(
        "forecasts",
        "What came, and what was said",
        "Over time: means of neighbouring rows; further symbols can be switched on in the legend. Below, forecast against "
        "outcome: the violet marks are means of tenths of the rows, and would lie on the dotted line if forecasts were of the right size.",
        choice("time", names, 400),
        choice("scatter", names, 440),
    )


def residuals_section(figures: dict[str, Any], names: Sequence[str]) -> str:
    """What is left in the errors."""
    rows = []
    for name in names:
        for symbol, tested in figures["signals"][name]["residuals"].items():
            at = f"figures.signals.{name}.residuals.{symbol}"
            rows.append(
                [
                    f"{text(name)}<br><small>{text(symbol)}</small>",
                    figure(f"{at}.rows", count(tested["rows"])),
                    *(
                        figure(f"{at}.{key}", probability(tested[key]))
                        for key in ("ljung_box_p", "arch_lm_p", "jarque_bera_p")
                    ),
                    figure(f"{at}.skew", ratio(tested["skew"])),
                    figure(f"{at}.kurtosis", ratio(tested["kurtosis"], 1)),
                ]
            )
    return section(
        "residuals",
        "What is left in the errors",
        "Mean error and the middle 80% over time; how errors are spread beside a normal distribution; how they resemble those "
        "before them (within a horizon they must, since outcomes overlap). The tests take every horizon-th row: small p-values "
        "say that the errors have an order in time (Ljung-Box), come in waves (ARCH-LM), or are not normal (Jarque-Bera).",
        choice("residuals", names, 720),
        table(["Signal", "Rows tested", "Ljung-Box p", "ARCH-LM p", "Jarque-Bera p", "Skew", "Kurtosis"], rows),
    )


def intervals_section(figures: dict[str, Any]) -> str:
    """Whether intervals held what they promised; empty without any."""
    rows = []
    for name, each in figures["signals"].items():
        told = each["interval"]
        if told is None:
            continue
        at = f"figures.signals.{name}.interval"
        rows.append(
            [
                text(name),
                figure(f"{at}.level", share(told.get("level"))),
                *(
                    figure(f"{at}.pooled.{key}", share(told["pooled"][key], 2))
                    for key in ("coverage", "below", "above")
                ),
                figure(f"{at}.pooled.width", significant(told["pooled"]["width"], 3)),
            ]
        )
    if not rows:
        return ""
    return section(
        "intervals",
        "What the intervals held",
        "The share of outcomes inside prediction_low and prediction_high, beside what was promised (dotted).",
        table(["Signal", "Promised", "Inside", "Below", "Above", "Mean width"], rows),
        chart("coverage", 340),
    )


def reliability_section(figures: dict[str, Any], drawn: bool) -> str:
    """Whether probabilities are what they say; empty for other targets."""
    if not drawn:
        return ""
    rows = [
        [text(name), figure(f"figures.signals.{name}.reliability.calibration_error", share(each["reliability"]["calibration_error"], 2))]
        for name, each in figures["signals"].items()
        if each["reliability"] is not None
    ]  # fmt: skip
    return section(
        "reliability",
        "Whether it rose as often as was said",
        "Tenths of the rows by rising probability, with two standard errors. The calibration error is the mean distance from the "
        "dotted line.",
        chart("reliability", 420),
        table(["Signal", "Calibration error"], rows),
    )


def alike_section(figures: dict[str, Any]) -> str:
    """How much the signals say the same; empty for fewer than two."""
    if not figures["correlations"]:
        return ""
    return section(
        "alike",
        "How alike the forecasts are",
        "Pearson's correlation of the forecasts. Averaging helps where it is low and both are worth something.",
        chart("alike", correlation_height(figures)),
    )
