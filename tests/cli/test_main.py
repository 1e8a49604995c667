from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import click
import pytest

from freqlstm import __version__
from freqlstm.cli import main as cli
from freqlstm.cli.main import ALIASES, VERBS, main
from freqlstm.errors import StoreError

CHECKOUT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself_with_an_example(freqlstm, verb: str) -> None:
    shown = freqlstm(verb, "--help")
    assert shown.exit_code == 0
    assert VERBS[verb].example in " ".join(shown.stdout.split())
    assert shown.stdout.startswith(f"Usage: freqlstm {verb} ")


@pytest.mark.parametrize("verb", VERBS)
def test_every_option_of_every_verb_is_explained(verb: str) -> None:
    command = main.get_command(click.Context(main), verb)
    commands = [command, *getattr(command, "commands", {}).values()]
    bare = [
        f"{one.name} {option.opts[-1]}"
        for one in commands
        for option in one.params
        if isinstance(option, click.Option) and not option.help
    ]
    assert not bare
    assert all(one.help for one in commands)


def test_the_list_of_verbs_shows_each_with_its_example(freqlstm) -> None:
    shown = freqlstm("--help").stdout
    for name, verb in VERBS.items():
        assert f"  {name:<15} {verb.summary}\n" in shown
        assert f"$ {verb.example}\n" in shown


def test_h_is_help(freqlstm) -> None:
    assert freqlstm("-h").stdout == freqlstm("--help").stdout


def test_without_a_verb_the_help_is_shown_as_an_error(freqlstm) -> None:
    shown = freqlstm()
    assert (shown.exit_code, shown.stdout) == (2, "")
    assert shown.stderr.startswith("Usage: freqlstm")


def test_the_version_is_that_of_the_package(freqlstm) -> None:
    assert freqlstm("--version").stdout == f"freqlstm, version {__version__}\n"


@pytest.mark.parametrize("alias", ALIASES)
def test_what_users_of_freqtrade_type_works(freqlstm, alias: str) -> None:
    shown = freqlstm(alias, "--help")
    assert shown.exit_code == 0
    assert shown.stdout.startswith(f"Usage: freqlstm {ALIASES[alias][0]} ")


@pytest.mark.parametrize("written", ["Strategies", "list_strategies", "LIST-STRATEGIES"])
def test_the_style_of_a_verb_does_not_matter(freqlstm, written: str) -> None:
    assert freqlstm(written).exit_code == 0


def test_an_unknown_verb_gets_the_nearest_one(freqlstm) -> None:
    shown = freqlstm("bactest")
    assert shown.exit_code == 2
    assert shown.stderr == (
        "Error: No command named 'bactest'. Did you mean 'backtest'? `freqlstm --help` lists what there is.\n"
    )


def test_an_unknown_option_gets_the_nearest_one(freqlstm) -> None:
    shown = freqlstm("data", "list", "--jsno")
    assert shown.exit_code == 2
    assert shown.stderr == (
        "Error: No such option '--jsno'. Did you mean '--json'? `freqlstm data list --help` lists what there is.\n"
    )


def test_a_project_that_is_not_there_is_refused(freqlstm) -> None:
    shown = freqlstm("--project", "nowhere", "strategies")
    assert shown.exit_code == 2
    assert shown.stderr == (
        "Error: Invalid value for '--project': Directory 'nowhere' does not exist. `freqlstm --help` lists what there is.\n"
    )


def test_the_project_can_be_another_folder(freqlstm, tmp_path: Path) -> None:
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    freqlstm("--project", str(folder), "new", "strategy", "far_away")
    assert (folder / "strategies" / "far_away.py").is_file()
    assert "far_away" in freqlstm("--project", str(folder), "strategies").stdout
    assert "far_away" not in freqlstm("strategies").stdout


def test_our_errors_are_one_line_and_their_exit_code(freqlstm, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise StoreError("The disk is full.\nFree some space.")

    monkeypatch.setattr(cli.VerbGroup, "get_command", lambda *_: click.Command("strategies", callback=fail))
    shown = freqlstm("strategies")
    assert (shown.exit_code, shown.stdout, shown.stderr) == (1, "", "Error: The disk is full. Free some space.\n")


def test_any_other_error_is_a_bug_and_shows_its_traceback(freqlstm, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(cli.VerbGroup, "get_command", lambda *_: click.Command("strategies", callback=fail))
    with pytest.raises(ZeroDivisionError):
        freqlstm("strategies")


def test_ctrl_c_is_one_line_and_exit_code_130(tmp_path: Path) -> None:
    (tmp_path / "strategies").mkdir()
    (tmp_path / "strategies" / "endless.py").write_text("import time\nopen('started', 'w').close()\ntime.sleep(60)\n")
    process = subprocess.Popen(
        [sys.executable, "-m", "freqlstm.cli.main", "strategies", "endless"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not (tmp_path / "started").exists():
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert (process.returncode, out) == (130, "")
    assert err.strip() == (
        "Error: Interrupted. Nothing half-written is left: the same command again goes on or starts over."
    )


def test_the_console_script_is_this_group() -> None:
    setup = (CHECKOUT / "setup.cfg").read_text()
    assert "freqlstm = freqlstm.cli.main:main" in setup
    assert importlib.import_module("freqlstm.cli.main").main is main
