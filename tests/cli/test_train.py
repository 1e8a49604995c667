"""What ``freqlstm train`` prints of a fit."""

from __future__ import annotations

import pytest

from freqlstm.cli.train import print_report


def test_the_path_of_errors_over_stages_is_a_table_and_is_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    stages = [
        {"stage": 1, "learning_rate": 0.002, "validation_errors": [[0.51234567, 0.5], [0.6]], "kept": True},
        {"stage": 2, "learning_rate": 0.001, "validation_errors": [[0.4]], "kept": False},
    ]
    print_report({"base_error": 0.29998176747454, "stages": stages, "validation_errors": [[0.51234567]], "slope": 1.0})
    assert capsys.readouterr().out.splitlines() == [
        "base_error: 0.299982",
        "slope: 1",
        "",
        "stages",
        "stage  learning rate  validation errors  kept",
        "1      0.002          0.512346 0.5; 0.6  yes",
        "2      0.001          0.4                no",
    ]


def test_the_errors_of_several_networks_are_parted_by_semicolons(capsys: pytest.CaptureFixture[str]) -> None:
    print_report(
        {"best_epochs": [2, 1], "validation_errors": [[0.5, 0.25], [0.125]], "weights": {"lstm": 0.5}, "stages": []}
    )
    assert capsys.readouterr().out.splitlines() == [
        "best_epochs: 2 1",
        "validation_errors: 0.5 0.25; 0.125",
        "weights: lstm 0.5",
        "stages: ",
    ]
