"""A run of tests fails where a key is in what a test says or logs, or in a file that it leaves."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from secrecy import OF_SANDBOX

TESTS = """
import logging

from freqlstm.paper.keys import Keys

KEYS = Keys("K" * 60 + "shut", "S" * 60 + "shut")


def test_says(): print("they are", KEYS.key)
def test_logs(): logging.getLogger("any").warning("%s", KEYS.secret)
def test_hides(tmp_path): (tmp_path / "log.txt").write_text(f"{KEYS} signature=[hidden]"); print(KEYS)
def test_keeps(tmp_path): (tmp_path / "keys.toml").write_text(KEYS.secret)
def test_writes(tmp_path): (tmp_path / "status.json").write_text('{"key": "' + KEYS.key + '"}')
def test_signs(tmp_path): (tmp_path / "trace.txt").write_text("GET /order?signature=" + "0af9" * 16)
"""


@pytest.fixture
def swept(tmp_path: Path) -> Iterator[None]:
    """The run that this is a test of would fail as well."""
    yield
    shutil.rmtree(tmp_path / "base")


@pytest.mark.usefixtures("swept")
def test_a_key_that_is_printed_logged_or_written_fails_the_run(tmp_path: Path) -> None:
    (tmp_path / "test_leaking.py").write_text(TESTS)
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "secrecy", "-p", "no:cacheprovider", "-q", "--basetemp", tmp_path / "base", tmp_path],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)}, capture_output=True, text=True,
    )  # fmt: skip
    assert ran.returncode == 1
    assert "Captured stdout call shows a secret (KKKKKK…)" in ran.stdout
    assert "Captured log call shows a secret (SSSSSS…)" in ran.stdout
    (line,) = {
        line for line in ran.stdout.splitlines() if line.startswith("E   ") and "These files show a secret" in line
    }
    assert line.count("; ") == 1
    assert "test_writes0/status.json (KKKKKK…)" in line
    assert "test_signs0/trace.txt (signature…)" in line
    assert "2 failed, 4 passed, 1 error" in ran.stdout


def test_the_keys_of_a_sandbox_are_among_the_secrets() -> None:
    from freqlstm.sandbox.accounts import KEY, SECRET

    assert (KEY, SECRET) == OF_SANDBOX
