"""Fixtures of the command line's tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from freqlstm.cli.main import main

Freqlstm = Callable[..., Result]


@pytest.fixture
def freqlstm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Freqlstm:
    """``freqlstm("data", "list")`` in an empty project, which is the current folder; bugs show their traceback."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> Result:
        return CliRunner(catch_exceptions=False).invoke(main, [str(argument) for argument in arguments])

    return run
