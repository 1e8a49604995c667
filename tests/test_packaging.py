from __future__ import annotations

import configparser
import json
import os
import re
import shutil
import site
import subprocess
import sys
import venv
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from terminal import DEMO

CHECKOUT = Path(__file__).resolve().parents[1]
SOURCES = ("freqlstm", "strategies", "signals", "setup.cfg", "pyproject.toml", "README.md", "LICENSE")


def setup() -> configparser.ConfigParser:
    config = configparser.ConfigParser()
    config.read(CHECKOUT / "setup.cfg", encoding="utf-8")
    return config


def test_every_folder_of_the_package_is_listed() -> None:
    folders = {
        path.parent.relative_to(CHECKOUT).as_posix().replace("/", ".") for path in CHECKOUT.glob("freqlstm/**/*.py")
    }
    listed = setup()["options"]["packages"].split()
    assert set(listed) == folders | {"freqlstm_strategies", "freqlstm_signals"}


def test_every_dependency_is_pinned_in_the_lock_file() -> None:
    options = setup()
    wanted = options["options"]["install_requires"] + "".join(options["options.extras_require"].values())
    names = {re.split(r"[<>=]", line)[0] for line in wanted.split()}
    locked = {line.split("==")[0] for line in (CHECKOUT / "requirements.lock").read_text().splitlines() if "==" in line}
    assert names <= locked
    assert not [name for name in locked if name.startswith("nvidia")]


def test_the_licence_is_the_gpl() -> None:
    text = (CHECKOUT / "LICENSE").read_text()
    assert "GNU GENERAL PUBLIC LICENSE" in text
    assert "Version 3, 29 June 2007" in text
    assert setup()["metadata"]["license"] == "GPL-3.0-or-later"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout, built from a copy so that nothing is left behind in it."""
    copy = tmp_path_factory.mktemp("copy")
    for name in SOURCES:
        source = CHECKOUT / name
        if source.is_dir():
            shutil.copytree(source, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        elif source.exists():
            shutil.copy(source, copy / name)
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(copy / "dist"), str(copy)]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    return next((copy / "dist").glob("*.whl"))


# Runs at the start of every process of the environment below, those that fit signals included.
GUARD = """
import sys

def guard(event, arguments):
    if event == "open" and str(arguments[0]).startswith({forbidden!r}):
        raise PermissionError(f"{{arguments[0]}} belongs to the checkout, not to what was installed")

sys.addaudithook(guard)
"""


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    """``installed("strategies", cwd=folder)``: freqlstm from its wheel, in an environment that has only its dependencies."""
    home = tmp_path_factory.mktemp("elsewhere") / "env"
    venv.create(home, with_pip=False, symlinks=True)
    library = home / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
    # The dependencies come from this environment, one by one: its own freqlstm, if it has one, stays out of sight.
    for place in map(Path, site.getsitepackages()):
        for entry in place.iterdir():
            if "freqlstm" not in entry.name.lower() and entry.suffix != ".pth" and not (library / entry.name).exists():
                (library / entry.name).symlink_to(entry)
    python = home / "bin" / "python"
    pip = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        str(python),
        "install",
        "--quiet",
        "--no-deps",
        "--no-index",
        str(wheel),
    ]
    done = subprocess.run(pip, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    forbidden = tuple(f"{CHECKOUT / name}{os.sep}" for name in ("freqlstm", "strategies", "signals", "tests"))
    (library / "sitecustomize.py").write_text(GUARD.format(forbidden=forbidden))
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}

    def run(*arguments: str, cwd: Path) -> str:
        command = [str(home / "bin" / "freqlstm"), *arguments]
        ended = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    return run


@pytest.mark.slow
def test_the_wheel_holds_the_packages_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0].split("-")[0] for name in names} == {
        "freqlstm",
        "freqlstm_strategies",
        "freqlstm_signals",
    }
    assert {"freqlstm/py.typed", "freqlstm_strategies/lstm_rsi.py", "freqlstm_signals/lstm.py"} <= set(names)
    assert any(name.endswith("licenses/LICENSE") for name in names)
    sources = {
        path.relative_to(CHECKOUT).as_posix()
        for path in CHECKOUT.glob("freqlstm/**/*")
        if path.suffix in (".py", ".css", ".html", ".js")
    }
    assert sources <= set(names)


@pytest.mark.slow
def test_the_installed_wheel_starts_a_project_and_finds_its_plugins(
    installed: Callable[..., str], tmp_path: Path
) -> None:
    installed("init", "demo", cwd=tmp_path)
    listed = installed("strategies", cwd=tmp_path / "demo")
    assert "my_strategy" in listed
    assert "freqlstm_strategies/lstm_rsi.py" in listed
    assert str(CHECKOUT) not in listed
    assert "my_signal" in installed("signals", cwd=tmp_path / "demo")
    assert installed("--version", cwd=tmp_path) == f"freqlstm, version {setup()['metadata']['version']}\n"


@pytest.mark.slow
def test_the_installed_wheel_runs_the_main_job_and_the_users_own_strategy(
    installed: Callable[..., str], tmp_path: Path
) -> None:
    installed("init", "demo", cwd=tmp_path)
    project = tmp_path / "demo"
    days = ("--timerange", "20240103-20240105")
    told = installed("backtest", "--strategy", "lstm_rsi", *DEMO, *days, cwd=project)
    sheet = Path(told.splitlines()[-1])
    assert sheet.parent.parent == project / "backtests" / "results"
    assert "SYNTHETIC" in sheet.read_text()
    installed("new", "strategy", "mine", cwd=project)
    run = Path(
        installed("backtest", "--strategy", "mine", *DEMO, *days, "--export", "none", cwd=project).splitlines()[-1]
    )
    plugins = json.loads((run / "manifest.json").read_text())["plugins"]
    assert [(plugin["kind"], plugin["name"], plugin["origin"]) for plugin in plugins] == [
        ("strategy", "mine", "project"),
        ("signal", "lstm", "shipped"),
    ]
