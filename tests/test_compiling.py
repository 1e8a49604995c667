"""Kernels are compiled once, say so, and are cached also where the program cannot write into its own folder."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from freqlstm.engines import kernel

CHECKOUT = Path(__file__).resolve().parents[1]

SMALL = """
from freqlstm.compiling import kernel

@kernel
def twice(x):
    return 2 * x
"""

TELL = """
import sys
sys.path.insert(0, sys.argv[1])
from freqlstm.compiling import announced
said = []
with announced(lambda done, total, text: said.append((done, total, text)), "a small kernel"):
    import small
    assert small.twice(21) == 42
    assert small.twice(2.0) == 4.0
print(said)
"""

ENGINE = """
import sys
sys.path[:0] = sys.argv[1:]
import freqlstm
assert freqlstm.__file__.startswith(sys.argv[1]), freqlstm.__file__
from parity import numbered, difference
from freqlstm.engines.choice import engine
said = []
adventure = numbered(43)
compiled = adventure.run(engine("compiled", lambda done, total, text: said.append(text)))
assert not difference(adventure.run(engine("backtrader")), compiled)
print(said)
"""

INDICATORS = """
import os, sys
sys.path[:0], os.environ["NUMBA_CACHE_DIR"] = sys.argv[1:2], sys.argv[3]
from sweeping import project_of, walk_of
from freqlstm.run import run_backtest, run_of
from pathlib import Path
project = project_of(Path(sys.argv[2]), walk_of(3 * 1440))
said = []
run = run_of({"strategy": "dips", "engine": "backtrader"}, "a test")
run_backtest(run, project, progress=lambda done, total, text: said.append(text))
print([text for text in said if text.startswith("compiling")])
"""

FIRST = "[(0, 1, 'compiling a small kernel (once)')]"


def told(program: str, *arguments: Path, cache: Path) -> str:
    """What ``program`` prints in a fresh process whose user's cache folder is ``cache``."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("NUMBA")}
    ended = subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)], capture_output=True, text=True, cwd=CHECKOUT,
        env={**environment, "XDG_CACHE_HOME": str(cache), "PYTHONDONTWRITEBYTECODE": "1"},
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.strip()


def lock(folder: Path) -> None:
    """Nobody writes compiled code below ``folder``, not even an administrator."""
    for place in [folder, *(path for path in folder.rglob("*") if path.is_dir())]:
        (place / "__pycache__").write_text("in the way")
        place.chmod(0o555)


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A folder with one small kernel."""
    folder = tmp_path / "installed"
    folder.mkdir()
    (folder / "small.py").write_text(SMALL)
    return folder


def test_a_kernel_is_compiled_once_and_announced_then_and_only_then(small: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    assert told(TELL, small, cache=cache) == FIRST
    assert list((small / "__pycache__").glob("small.twice*.nbi"))
    assert not cache.exists()
    assert told(TELL, small, cache=cache) == "[]"
    (small / "small.py").write_text(SMALL.replace("2 * x", "x + x"))  # another text: compiled again
    assert told(TELL, small, cache=cache) == FIRST


def test_where_no_folder_at_all_can_be_written_every_process_compiles(small: Path, tmp_path: Path) -> None:
    lock(small)
    cache = tmp_path / "cache"
    cache.write_text("no folder")
    assert told(TELL, small, cache=cache) == FIRST
    assert told(TELL, small, cache=cache) == FIRST


def test_the_engine_of_a_read_only_installation_is_cached_in_the_users_folder(tmp_path: Path) -> None:
    installed, cache = tmp_path / "installed", tmp_path / "cache"
    shutil.copytree(CHECKOUT / "freqlstm", installed / "freqlstm", ignore=shutil.ignore_patterns("__pycache__"))
    lock(installed)
    tests = CHECKOUT / "tests"
    assert told(ENGINE, installed, tests, cache=cache) == "['compiling the engine (once)']"
    assert list(cache.rglob("kernel.trade*.nbi"))
    assert told(ENGINE, installed, tests, cache=cache) == "[]"


def test_a_backtest_says_that_it_compiles_indicators(tmp_path: Path) -> None:
    said = told(INDICATORS, CHECKOUT / "tests", tmp_path, tmp_path / "compiled", cache=tmp_path)
    assert said == "['compiling indicators (once)']"


def test_the_kernels_of_the_engine_call_none_of_another_module() -> None:
    """The cache does not see changes of other modules."""
    tree = ast.parse(Path(kernel.__file__).read_text(encoding="utf-8"))
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert imported == {"__future__", "typing", "freqlstm.compiling"}
