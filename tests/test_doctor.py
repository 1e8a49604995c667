from __future__ import annotations

from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from freqlstm import doctor


def only(part, name: str) -> doctor.Finding:
    return next(finding for finding in part if finding.name == name)


def test_the_ranges_come_from_the_packages_own_metadata() -> None:
    python, packages = doctor.requirements()
    assert python.contains("3.11.7")
    assert not python.contains("3.10.13")
    assert {"keras", "numpy", "backtrader"} <= {package.name for package in packages}
    assert not any("extra" in str(package.marker) for package in packages)


def test_a_version_outside_its_range_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "version", lambda name: "1.26.4" if name == "numpy" else "0")
    finding = only(doctor._versions(), "numpy")
    assert (finding.found, finding.ok) == ("1.26.4", False)
    assert finding.advice == "Known to work: <3,>=2.1. pip install 'numpy<3,>=2.1'"


def test_an_absent_package_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(doctor, "version", absent)
    finding = only(doctor._versions(), "backtrader")
    assert (finding.found, finding.advice) == ("absent", "Install it: pip install 'backtrader==1.9.78.123'")


def test_an_old_python_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.platform, "python_version", lambda: "3.9.1")
    assert only(doctor._versions(), "python").advice == "Use a Python <3.14,>=3.11."


def test_a_folder_that_may_not_be_written_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(dir: Path) -> None:
        raise PermissionError(13, "Permission denied")

    assert only(doctor._folder(tmp_path), "project").ok
    monkeypatch.setattr(doctor.tempfile, "TemporaryFile", refuse)
    finding = only(doctor._folder(tmp_path), "project")
    assert finding.found == f"{tmp_path}: Permission denied"
    assert finding.advice.startswith("Choose another folder with --project")


def test_a_full_disk_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "FREE_BYTES", 10**18)
    assert only(doctor._folder(tmp_path), "disk").advice.startswith("Free some space")


def test_a_broken_plugin_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "strategies").mkdir()
    (tmp_path / "strategies" / "bad.py").write_text("def x(:\n")
    assert only(doctor._plugins(tmp_path), "strategies").advice == (
        "Correct strategies/bad.py: (broken: line 1: SyntaxError: invalid syntax)"
    )
    assert only(doctor._plugins(tmp_path), "signals").ok


def test_a_library_that_dies_or_fails_is_found() -> None:
    assert doctor._start("print(1); print(2)") == "2"
    assert doctor._start("import os, signal; os.kill(os.getpid(), signal.SIGILL)") == "killed by signal 4"
    assert doctor._start("raise ImportError('no such backend')") == "ImportError: no such backend"


def test_a_backend_that_does_not_start_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    monkeypatch.setattr(doctor, "_start", lambda program: "ModuleNotFoundError: No module named 'torch'")
    assert only(doctor._libraries(), "keras backend").advice == (
        "Keras does not start with the torch backend: install it, or set KERAS_BACKEND=tensorflow."
    )
    assert not only(doctor._libraries(), "pandas-ta").ok
