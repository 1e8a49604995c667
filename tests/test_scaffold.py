from __future__ import annotations

import os
from pathlib import Path

import pytest

from freqlstm import scaffold
from freqlstm.errors import StoreError, UsageError
from freqlstm.plugins import discover, find


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_what_init_writes_loads(project: Path) -> None:
    scaffold.init(project)
    assert find("strategy", "my_strategy", project).load().__name__ == "MyStrategy"
    assert find("signal", "my_signal", project).load().__name__ == "MySignal"


@pytest.mark.parametrize("written", ["MyDip", "my_dip", "my-dip", "my_dip.py"])
def test_a_name_of_any_style_becomes_a_file_and_a_class(project: Path, written: str) -> None:
    assert scaffold.new("strategy", written, project) == project / "strategies" / "my_dip.py"
    assert find("strategy", "my_dip", project).load().__name__ == "MyDip"


def test_a_new_strategy_differs_from_the_shipped_one_in_its_name_only(project: Path) -> None:
    path = scaffold.new("strategy", "my_dip", project)
    shipped = next(plugin for plugin in discover("strategy", project) if plugin.name == "lstm_rsi")
    assert path.read_text().replace("MyDip", "LstmRsi") == shipped.path.read_text()


def test_a_new_signal_comes_from_the_shipped_one_even_where_that_is_hidden(project: Path) -> None:
    (project / "signals").mkdir()
    (project / "signals" / "lstm.py").write_text("nothing")
    assert "class Deeper(KerasSignal)" in scaffold.new("signal", "deeper", project).read_text()


@pytest.mark.parametrize("name", ["1x", "a b", "class", "_hidden", "", "../x", "é!"])
def test_a_name_that_python_cannot_use_is_refused(project: Path, name: str) -> None:
    with pytest.raises(UsageError) as error:
        scaffold.new("signal", name, project)
    assert str(error.value) == (
        f"{name!r} cannot be the name of a signal. Use letters, digits and '_', as in 'my_signal'."
    )
    assert not (project / "signals").exists()


def test_a_file_that_is_there_is_never_overwritten(project: Path) -> None:
    scaffold.new("strategy", "my_dip", project)
    with pytest.raises(UsageError) as error:
        scaffold.new("strategy", "MyDip", project)
    assert str(error.value) == "strategies/my_dip.py exists already. Choose another name, or change that file."


def test_init_writes_only_what_is_missing(project: Path) -> None:
    (project / ".gitignore").write_text("mine")
    written = {path.name for path in scaffold.init(project)}
    assert written == {"README.md", "my_strategy.py", "my_signal.py"}
    assert (project / ".gitignore").read_text() == "mine"


def test_git_ignores_what_a_run_makes_and_keeps_the_ledger(project: Path) -> None:
    scaffold.init(project)
    assert (project / ".gitignore").read_text().split() == ["/data/", "/models/", "/backtests/results/", "__pycache__/"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_is_one_clear_line(project: Path) -> None:
    project.chmod(0o500)
    with pytest.raises(StoreError, match="may not be written"):
        scaffold.init(project / "demo")


def test_a_place_where_no_folder_can_be_made_is_one_clear_line(project: Path) -> None:
    (project / "file").write_text("")
    with pytest.raises(StoreError, match="could not be written"):
        scaffold.init(project / "file" / "demo")
