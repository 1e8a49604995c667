"""Whether this machine can run freqlstm: versions, folders, space, and that the heavy libraries start at all."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from configparser import ConfigParser
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from freqlstm.errors import FreqlstmError
from freqlstm.plugins import FOLDERS, discover, shown
from freqlstm.progress import Progress, silent

FREE_BYTES = 1_000_000_000  # a year of 1-minute candles of a symbol takes 20 MB, a tearsheet 5 MB
BACKENDS = ("tensorflow", "torch", "jax")
START_SECONDS = 120  # what an import of TensorFlow may take on a slow disk


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at; ``advice`` is empty if it is as it should be."""

    name: str
    found: str
    advice: str = ""

    @property
    def ok(self) -> bool:
        return not self.advice


def examine(root: Path, progress: Progress = silent) -> list[Finding]:
    """Everything that a run in the project at ``root`` needs."""
    findings: list[Finding] = []
    parts = (_versions(), _folder(root), _time_zones(), _plugins(root), _libraries())
    for done, part in enumerate(parts):
        progress(done, len(parts), "looking around")
        findings.extend(part)
    return findings


def requirements() -> tuple[SpecifierSet, list[Requirement]]:
    """The ranges of Python and of every package that are known to be good, from setup.cfg or its installed copy."""
    setup = Path(__file__).resolve().parents[1] / "setup.cfg"
    if setup.is_file():
        config = ConfigParser()
        config.read(setup, encoding="utf-8")
        options = config["options"]
        return SpecifierSet(options["python_requires"]), [
            Requirement(line) for line in options["install_requires"].strip().splitlines()
        ]
    installed = distribution("freqlstm")
    needed = [Requirement(text) for text in installed.requires or []]
    return SpecifierSet(installed.metadata["Requires-Python"]), [
        requirement for requirement in needed if "extra" not in str(requirement.marker)
    ]


def _versions() -> Iterator[Finding]:
    python, packages = requirements()
    fits = python.contains(platform.python_version(), prereleases=True)
    yield Finding("python", platform.python_version(), "" if fits else f"Use a Python {python}.")
    for package in packages:
        try:
            found = version(package.name)
        except PackageNotFoundError:
            yield Finding(package.name, "absent", f"Install it: pip install '{package}'")
            continue
        fits = package.specifier.contains(found, prereleases=True)
        yield Finding(
            package.name, found, "" if fits else f"Known to work: {package.specifier}. pip install '{package}'"
        )


def _folder(root: Path) -> Iterator[Finding]:
    try:
        with tempfile.TemporaryFile(dir=root):
            yield Finding("project", f"{root} may be written")
    except OSError as error:
        advice = "Choose another folder with --project, or give yourself the right to write there."
        yield Finding("project", f"{root}: {error.strerror}", advice)
    free = shutil.disk_usage(root).free
    advice = "" if free >= FREE_BYTES else f"Free some space: runs and models want {FREE_BYTES / 1e9:.0f} GB."
    yield Finding("disk", f"{free / 1e9:.1f} GB free", advice)


def _time_zones() -> Iterator[Finding]:
    try:
        ZoneInfo("America/New_York")
        yield Finding("time zones", "known")
    except ZoneInfoNotFoundError:
        yield Finding("time zones", "absent", "Install them: pip install tzdata")


def _plugins(root: Path) -> Iterator[Finding]:
    """Files that cannot even be parsed, or whose names collide."""
    for kind, folder in FOLDERS.items():
        try:
            plugins = discover(kind, root)
        except FreqlstmError as error:
            yield Finding(folder, "unusable", str(error))
            continue
        broken = [plugin for plugin in plugins if plugin.summary.startswith("(broken")]
        advice = f"Correct {shown(broken[0].path)}: {broken[0].summary}" if broken else ""
        yield Finding(folder, f"{len(plugins)} found", advice)


def _libraries() -> Iterator[Finding]:
    """Start the libraries that bring machine code, each in a process of its own, since one that fails may take it down."""
    backend = _start("import keras; print(keras.backend.backend())")
    wish = os.environ.get("KERAS_BACKEND") or _configured_backend() or "tensorflow"
    advice = f"Keras does not start with the {wish} backend: install it, or set KERAS_BACKEND=tensorflow."
    yield Finding("keras backend", backend, "" if backend in BACKENDS else advice)
    indicators = _start("import pandas_ta_classic as ta; print(ta.version)")
    advice = (
        ""
        if indicators[:1].isdigit()
        else "Install it again: pip install --force-reinstall --no-deps pandas-ta-classic"
    )
    yield Finding("pandas-ta", indicators, advice)


def _configured_backend() -> str:
    home = Path(os.environ.get("KERAS_HOME", Path.home() / ".keras"))
    try:
        return str(json.loads((home / "keras.json").read_text(encoding="utf-8")).get("backend", ""))
    except (OSError, ValueError):
        return ""


def _start(program: str) -> str:
    """What ``program`` prints last in a new Python, or how it ended."""
    quiet = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    try:
        ended = subprocess.run(
            [sys.executable, "-c", program],
            capture_output=True,
            text=True,
            timeout=START_SECONDS,
            env=quiet,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"not started after {START_SECONDS} s"
    if ended.returncode < 0:
        return f"killed by signal {-ended.returncode}"
    lines = (ended.stdout if ended.returncode == 0 else ended.stderr).strip().splitlines()
    return lines[-1] if lines else f"exit code {ended.returncode}"
