from __future__ import annotations

from pathlib import Path


def test_init_makes_a_project_and_says_what_comes_next(freqlstm, tmp_path: Path) -> None:
    shown = freqlstm("init", "demo")
    assert shown.exit_code == 0
    assert shown.stdout.splitlines() == [
        "wrote demo/README.md",
        "wrote demo/.gitignore",
        "wrote demo/strategies/my_strategy.py",
        "wrote demo/signals/my_signal.py",
        "Next: cd demo && freqlstm backtest --strategy my_strategy",
    ]
    assert (tmp_path / "demo" / "backtests").is_dir()


def test_init_in_the_current_folder_needs_no_name(freqlstm, tmp_path: Path) -> None:
    assert freqlstm("init").stdout.endswith("Next: freqlstm backtest --strategy my_strategy\n")
    assert (tmp_path / "strategies" / "my_strategy.py").is_file()


def test_a_second_init_changes_nothing(freqlstm, tmp_path: Path) -> None:
    freqlstm("init", "demo")
    (tmp_path / "demo" / "README.md").write_text("mine")
    assert freqlstm("init", "demo").stdout == "Everything is there already.\n"
    assert (tmp_path / "demo" / "README.md").read_text() == "mine"


def test_a_project_cannot_be_a_file(freqlstm, tmp_path: Path) -> None:
    (tmp_path / "demo").write_text("")
    shown = freqlstm("init", "demo")
    assert (shown.exit_code, shown.stderr) == (2, "Error: demo is a file. Give the name of a folder, new or not.\n")
