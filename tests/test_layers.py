"""The layers of freqlstm: the table, and that the modules keep to it."""

from __future__ import annotations

import ast
import graphlib
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "freqlstm"

# A module imports from layers below its own, or from its own layer as long as no circle comes of it.
LAYERS = {
    0: {"errors", "progress", "project", "quiet"},
    1: {
        "candles", "costs", "external", "files", "memo", "place", "quality", "runfile", "series_store", "store",
        "timerange",
    },
    2: {
        "absent", "bars", "beside", "bits", "blocks", "calibration", "catalogue", "columns", "compiling", "conformal",
        "demo", "feature_base", "features", "folds", "indicator_kernels", "indicators", "ingest", "labels",
        "lstm_kernels", "measures", "purity", "reliability", "residuals", "results", "rolling", "rolling_kernels", "series_files",
        "shelf", "skill", "stats", "stretches", "targets", "uncertainty", "windows",
    },
    3: {
        "compiled_network", "compiled_step", "connectors", "descent", "desk", "exchange", "inference", "jobs", "keras_signal",
        "linear", "parameters", "plugins", "prequential", "provenance", "recording", "search", "selection", "signal",
        "strategy", "supervised", "sweep_space", "training", "update_state", "update_step", "updating", "xla",
    },
    4: {"boosting", "decider", "engines", "live", "models", "predictions"},
    5: {
        "backtest", "checks", "contest", "doctor", "download", "evaluation", "event_log", "findings", "forecast",
        "importance", "inner_folds", "job", "ledger", "manifest", "paper", "sandbox", "scaffold", "study", "sweep",
        "sweep_parts", "sweep_result", "sweep_search", "sweep_survey", "sweep_walk", "sweep_winner", "tuning",
    },
    6: {"report"},
    7: {"evaluation_run", "paper_report", "paper_run", "reproduce", "run", "sweep_run", "tuned"},
    8: {"cli"},
}  # fmt: skip
LAYER = {module: layer for layer, modules in LAYERS.items() for module in modules}

# What only these modules may import.
OWNERS = {
    "aiohttp": {"paper", "sandbox"},
    "backtrader": {"desk", "engines", "paper", "strategy"},
    "ccxt": {"exchange", "paper"},
    "click": {"cli"},
    "cryptography": {"sandbox"},
    "fsspec": {"place"},
    "jax": {"xla"},
    "joblib": {"jobs"},
    "keras": {
        "boosting",
        "compiled_network",
        "compiled_step",
        "descent",
        "inference",
        "keras_signal",
        "training",
        "update_step",
        "xla",
    },
    "numba": {"compiling", "lstm_kernels"},
    "optuna": {"study", "sweep_search", "tuning"},
    "pandas_ta_classic": {"indicators"},
    "plotly": {"report"},
    "pyarrow": {"store"},
    "quantstats": {"report"},
    "rich": {"cli"},
    "sklearn": {"calibration", "linear"},
    "tensorboard": {"event_log"},
    "tensorflow": {"training", "xla"},
}


def modules() -> Iterator[tuple[str, Path]]:
    """(name of the module or sub-package in the table, file) of everything but ``freqlstm/__init__.py``, the facade."""
    for path in sorted(PACKAGE.rglob("*.py")):
        inside = path.relative_to(PACKAGE)
        if inside != Path("__init__.py"):
            yield inside.parts[0].removesuffix(".py"), path


def imports(path: Path) -> Iterator[str]:
    """The dotted names that a file imports anywhere, also inside functions."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_the_table_has_no_module_that_there_is_not() -> None:
    assert set(LAYER) == {name for name, _ in modules()}


FILES = [pytest.param(name, path, id=path.relative_to(PACKAGE).as_posix()) for name, path in modules()]


@pytest.mark.parametrize(("name", "path"), FILES)
def test_a_module_has_its_place_in_the_table(name: str, path: Path) -> None:
    assert name in LAYER


@pytest.mark.parametrize(("name", "path"), FILES)
def test_a_module_imports_nothing_from_above(name: str, path: Path) -> None:
    used = {imported.split(".")[1] for imported in imports(path) if imported.startswith("freqlstm.")}
    above = {other for other in used & LAYER.keys() if LAYER[other] > LAYER[name]}
    assert not above


def test_no_circle_of_imports() -> None:
    graph: dict[str, set[str]] = {}
    for name, path in modules():
        used = {imported.split(".")[1] for imported in imports(path) if imported.startswith("freqlstm.")}
        graph.setdefault(name, set()).update(used & LAYER.keys() - {name})
    graphlib.TopologicalSorter(graph).prepare()


@pytest.mark.parametrize(("name", "path"), FILES)
def test_a_heavy_library_is_imported_by_its_owner_only(name: str, path: Path) -> None:
    foreign = {
        library for imported in imports(path) if name not in OWNERS.get(library := imported.split(".")[0], {name})
    }
    assert not foreign


@pytest.mark.parametrize(("name", "path"), FILES)
def test_a_module_says_what_it_is_in_one_line(name: str, path: Path) -> None:
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    assert docstring
    assert docstring.splitlines()[0].endswith(".")


def test_only_the_command_line_prints() -> None:
    printing = [
        path.name
        for name, path in modules()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]
    assert not printing
