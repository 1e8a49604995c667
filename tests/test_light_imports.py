from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[1]

PROGRAM = """
import json, sys
before = set(sys.modules)
{work}
print(json.dumps(sorted({{name.partition(".")[0] for name in set(sys.modules) - before}})), file=sys.__stderr__)
"""

HELP = """
from freqlstm.cli.main import main
try:
    main(["{argument}"])
except SystemExit as end:
    assert not end.code, end.code
"""


def loaded(work: str) -> set[str]:
    """Top-level modules beyond Python's own that ``work`` imports in a fresh process."""
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(work=work)], capture_output=True, text=True, check=True, cwd=CHECKOUT
    )
    names = set(json.loads(ended.stderr.splitlines()[-1]))
    return {name for name in names - sys.stdlib_module_names if not name.startswith("_")}


def test_importing_freqlstm_loads_nothing_else() -> None:
    assert loaded("import freqlstm") == {"freqlstm"}


@pytest.mark.parametrize("argument", ["--help", "-h", "--version"])
def test_help_loads_click_and_nothing_heavier(argument: str) -> None:
    assert loaded(HELP.format(argument=argument)) <= {"freqlstm", "click", "colorama"}


def test_listing_strategies_loads_neither_pandas_nor_backtrader() -> None:
    assert loaded(HELP.format(argument="strategies")) <= {
        "freqlstm",
        "click",
        "colorama",
        "rich",
        "markdown_it",
        "pygments",
    }


def test_help_takes_less_than_a_quarter_of_a_second() -> None:
    seconds = []
    for _ in range(3):  # of processor time, the least of three: what else the machine does must not count
        process = subprocess.Popen(
            [sys.executable, "-m", "freqlstm.cli.main", "--help"], cwd=CHECKOUT, stdout=subprocess.DEVNULL
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0
        seconds.append(usage.ru_utime + usage.ru_stime)
    assert min(seconds) < 0.25
