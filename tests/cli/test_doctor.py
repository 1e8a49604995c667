from __future__ import annotations

import json
from pathlib import Path

import pytest

from freqlstm import doctor
from freqlstm.doctor import Finding


def findings(freqlstm, monkeypatch: pytest.MonkeyPatch, *made: Finding):
    monkeypatch.setattr(doctor, "examine", lambda root, progress: list(made))
    return freqlstm


def test_a_healthy_machine_is_exit_code_0(freqlstm, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = findings(freqlstm, monkeypatch, Finding("python", "3.11.7"))("doctor")
    assert shown.exit_code == 0
    assert shown.stdout.splitlines()[-1] == "Everything is as it should be."


def test_something_to_put_right_is_exit_code_1_and_says_how(freqlstm, monkeypatch: pytest.MonkeyPatch) -> None:
    run = findings(freqlstm, monkeypatch, Finding("python", "3.11.7"), Finding("numpy", "1.0", "Known to work: >=2.1."))
    shown = run("doctor")
    assert shown.exit_code == 1
    assert "numpy: 1.0. Known to work: >=2.1." in shown.stdout
    assert shown.stdout.splitlines()[-1] == "1 to put right."


def test_the_report_as_json(freqlstm, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = findings(freqlstm, monkeypatch, Finding("numpy", "1.0", "Known to work: >=2.1."))("doctor", "--json")
    assert shown.exit_code == 1
    assert json.loads(shown.stdout) == {
        "ok": False,
        "findings": [{"name": "numpy", "found": "1.0", "advice": "Known to work: >=2.1.", "ok": False}],
    }


@pytest.mark.slow
def test_this_machine_can_run_freqlstm(freqlstm, tmp_path: Path) -> None:
    shown = freqlstm("doctor", "--json")
    wrong = [finding for finding in json.loads(shown.stdout)["findings"] if not finding["ok"]]
    assert not wrong
    assert shown.exit_code == 0
