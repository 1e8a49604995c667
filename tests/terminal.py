"""``freqlstm`` typed into a terminal: a process of its own, with the processes that it starts."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]

# A network that is fitted in a moment, every day on the two days before: for tests that are not about its skill.
SMALL = ("--set", "prediction.seeds=1", "--set", "prediction.epochs=1",
         "--set", 'prediction.features=["return_lag_0", "rsi_14"]')  # fmt: skip
DAILY = ("--train", "2d", "--min-train", "2d", "--test", "1d")
DEMO = ("--exchange", "demo", *DAILY, *SMALL)  # a time range from 3 January 2024 on has a fold for each of its days


def command(*arguments: object) -> list[str]:
    """What to start. ``-P``: like the installed command, it imports nothing from the current folder."""
    return [sys.executable, "-P", "-m", "freqlstm.cli.main", *map(str, arguments)]


def environment(**changes: str) -> dict[str, str]:
    """The variables for it: this checkout is what it imports."""
    path = os.pathsep.join(filter(None, [changes.pop("PYTHONPATH", ""), str(CHECKOUT), os.environ.get("PYTHONPATH")]))
    return {**os.environ, "PYTHONPATH": path, **changes}


def typed(
    *arguments: object, cwd: Path, env: Mapping[str, str] | None = None, code: int = 0, before: tuple[str, ...] = ()
) -> subprocess.CompletedProcess[str]:
    """What came of the command in folder ``cwd``; ``before`` is put in front of it, as in ``unshare -n freqlstm``."""
    ended = subprocess.run(
        [*before, *command(*arguments)], cwd=cwd, env=env or environment(), capture_output=True, text=True, timeout=300
    )
    assert ended.returncode == code, ended.stdout + ended.stderr
    return ended
