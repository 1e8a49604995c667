"""How long one waits for a first word."""

from __future__ import annotations

import sys
from typing import Any

from benchmarks.measure import Variant
from benchmarks.row import Row, Target, within

HEAVY = ("backtrader", "ccxt", "keras", "matplotlib", "numba", "numpy", "pandas", "plotly", "pyarrow", "quantstats", "scipy",
         "sklearn", "tensorflow")  # fmt: skip


def rows(ground: Any) -> list[Row]:
    """One row."""
    return [
        Row(
            "help", "freqlstm --help, from start to end", Variant("freqlstm --help", "startup:freqlstm_help"),
            [Variant("import tensorflow", "startup:import_tensorflow", needs="tensorflow")],
            [within(0.25, "0.25 s"), Target("nothing heavy", lambda row: row.ours.told["heavy"] == [])],
            note=lambda row: f"heavy modules loaded: {', '.join(row.ours.told['heavy']) or 'none'}",
        )
    ]  # fmt: skip


def freqlstm_help() -> dict[str, Any]:
    """The help, and which heavy modules a second run of it finds loaded."""
    from benchmarks.command import FREQLSTM, run

    told = run([*FREQLSTM, "--help"])
    if "backtest" not in told.pop("printed"):
        raise RuntimeError("freqlstm --help names no verb")
    look = (
        "import sys\nfrom freqlstm.cli.main import main\ntry:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        f"print('\\n' + ' '.join(sorted(set(sys.modules) & set({HEAVY!r}))))"
    )
    return {**told, "heavy": run([sys.executable, "-c", look])["printed"].splitlines()[-1].split()}


def import_tensorflow() -> dict[str, Any]:
    """What every program that begins with TensorFlow pays."""
    from benchmarks.command import run

    told = run([sys.executable, "-c", "import tensorflow"])
    del told["printed"]
    return told
