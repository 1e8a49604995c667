"""The ledger of trials."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from freqlstm.errors import StoreError
from freqlstm.ledger import Stretch, Trial, record, record_all, trials

TRIAL = Trial(
    "abc", "binance", "1m", ("BTC/USDT", "ETH/USDT"), "2024-01-01T00:00:00+00:00", "2024-02-01T00:00:00+00:00", 1.5
)


def tried(ledger: Path, **other: str) -> list[float | None]:
    told = {
        "exchange": "binance", "timeframe": "1m", "start": "2024-01-10T00:00:00+00:00", "end": "2024-02-10T00:00:00+00:00",
        **other,
    }  # fmt: skip
    return told_of(ledger, Stretch(symbols=("BTC/USDT",), **told))


def told_of(ledger: Path, stretch: Stretch) -> list[float | None]:
    return [None if math.isnan(sharpe) else sharpe for sharpe in trials(ledger, stretch).tolist()]


def test_nothing_was_tried_before_the_first_trial(tmp_path: Path) -> None:
    assert tried(tmp_path / "trials.jsonl") == []
    assert list(tmp_path.iterdir()) == []


def test_a_configuration_counts_once_with_its_newest_sharpe(tmp_path: Path) -> None:
    ledger = tmp_path / "deep" / "trials.jsonl"
    for trial in (TRIAL, replace(TRIAL, configuration="def", sharpe=None), replace(TRIAL, sharpe=-0.25)):
        record(ledger, trial)
    assert tried(ledger) == [-0.25, None]
    assert len(ledger.read_text().splitlines()) == 3


def test_the_same_configuration_on_another_range_or_symbol_is_another_trial(tmp_path: Path) -> None:
    ledger = tmp_path / "trials.jsonl"
    others = [replace(TRIAL, start="2024-01-05T00:00:00+00:00"), replace(TRIAL, symbols=("BTC/USDT",))]
    for trial in (TRIAL, *others):
        record(ledger, trial)
    assert tried(ledger) == [1.5, 1.5 * math.sqrt(27 / 31), 1.5]


def test_a_ratio_over_another_time_counts_as_what_is_as_lucky_over_this_one(tmp_path: Path) -> None:
    ledger = tmp_path / "trials.jsonl"
    two_days = replace(BATCH, start="2024-01-11T00:00:00+00:00", end="2024-01-13T00:00:00+00:00")
    record_all(ledger, two_days, ["x", "y", "z"], np.array([70.0, -70.0, np.nan]))
    eight = {"start": "2024-01-10T00:00:00+00:00", "end": "2024-01-18T00:00:00+00:00"}
    assert tried(ledger, **eight) == [35.0, -35.0, None]
    assert trials(ledger, two_days)[:2].tolist() == [70.0, -70.0]


def test_a_line_that_a_power_cut_tore_costs_that_trial_only(tmp_path: Path) -> None:
    ledger = tmp_path / "trials.jsonl"
    record(ledger, TRIAL)
    with ledger.open("r+b") as file:
        file.seek(0, 2)
        file.write(ledger.read_bytes()[:40])
    assert tried(ledger) == [1.5]
    record(ledger, replace(TRIAL, configuration="next", sharpe=0.5))
    assert tried(ledger) == [1.5, 0.5]


@pytest.mark.parametrize(
    "other",
    [
        {"exchange": "kraken"}, {"timeframe": "5m"}, {"start": "2024-02-01T00:00:00+00:00", "end": "2024-03-01T00:00:00+00:00"},
        {"start": "2023-12-01T00:00:00+00:00", "end": "2024-01-01T00:00:00+00:00"},
    ],
)  # fmt: skip
def test_trials_on_other_candles_do_not_count(tmp_path: Path, other: dict[str, str]) -> None:
    record(tmp_path / "trials.jsonl", TRIAL)
    assert tried(tmp_path / "trials.jsonl") == [1.5]
    assert tried(tmp_path / "trials.jsonl", **other) == []


def test_trials_of_no_common_symbol_do_not_count(tmp_path: Path) -> None:
    record(tmp_path / "trials.jsonl", TRIAL)
    other = Stretch("binance", "1m", ("SOL/USDT",), TRIAL.start, TRIAL.end)
    assert told_of(tmp_path / "trials.jsonl", other) == []


@pytest.mark.parametrize("line", [b"{", b"[1]", b'{"configuration": "x"}', b"\xff", b"5"])
def test_a_line_that_is_no_trial_is_named(tmp_path: Path, line: bytes) -> None:
    ledger = tmp_path / "trials.jsonl"
    record(ledger, TRIAL)
    with ledger.open("ab") as file:
        file.write(line + b"\n")
    with pytest.raises(StoreError) as error:
        tried(ledger)
    assert str(error.value) == f"Line 2 of {ledger} is not a trial. Restore the file, or move it away to start anew."


def test_two_processes_lose_no_trial(tmp_path: Path) -> None:
    ledger = tmp_path / "trials.jsonl"
    program = (
        "import sys, pathlib; from freqlstm.ledger import Trial, record\n"
        "for n in range(60):\n"
        "    record(pathlib.Path(sys.argv[1]), Trial(f'{sys.argv[2]}{n}', 'binance', '1m', ('BTC/USDT',), '2024-01-01', '2024-03-01', n))"
    )
    workers = [subprocess.Popen([sys.executable, "-c", program, str(ledger), name]) for name in "ab"]
    assert [worker.wait(timeout=60) for worker in workers] == [0, 0]
    assert len(tried(ledger)) == 120


def test_a_full_disk_leaves_the_ledger_as_it_was(tmp_path: Path) -> None:
    """A limit on the size of files, in a process of its own, stops the write in the middle of the line."""
    ledger = tmp_path / "trials.jsonl"
    record(ledger, TRIAL)
    before = ledger.read_bytes()
    program = (
        "import resource, signal, sys, pathlib; from freqlstm.ledger import Trial, record\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)\n"
        "record(pathlib.Path(sys.argv[1]), Trial('x', 'binance', '1m', ('BTC/USDT',), '2024-01-01', '2024-03-01', 1.0))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program, str(ledger), str(len(before) + 20)], capture_output=True, text=True, timeout=60
    )
    assert "StoreError" in ended.stderr
    assert f"The trial could not be added to {ledger}: File too large. Make room" in ended.stderr
    assert ledger.read_bytes() == before


BATCH = Stretch(TRIAL.exchange, TRIAL.timeframe, TRIAL.symbols, TRIAL.start, TRIAL.end)


def test_a_batch_counts_each_of_its_configurations_once_beside_single_trials(tmp_path: Path) -> None:
    ledger = tmp_path / "trials.jsonl"
    record(ledger, TRIAL)
    record_all(ledger, BATCH, ["x", TRIAL.configuration, "y"], np.array([0.5, -1.0, np.nan]))
    record_all(ledger, BATCH, ["y", "z"], np.array([np.nan, 2.0]))
    assert tried(ledger) == [-1.0, 0.5, None, 2.0]
    assert len(ledger.read_text().splitlines()) == 3


def test_a_batch_that_a_power_cut_tore_is_left_out(tmp_path: Path) -> None:
    ledger = tmp_path / "trials.jsonl"
    record_all(ledger, BATCH, ["x", "y"], np.array([0.5, 1.0]))
    whole = ledger.read_bytes()
    ledger.write_bytes(whole + whole[: len(whole) // 2])
    assert tried(ledger) == [0.5, 1.0]
    record(ledger, TRIAL)
    assert tried(ledger) == [0.5, 1.0, 1.5]


@pytest.mark.parametrize("end", ["soon", TRIAL.start])
def test_what_was_tried_for_no_time_is_no_trial(tmp_path: Path, end: str) -> None:
    ledger = tmp_path / "trials.jsonl"
    record(ledger, replace(TRIAL, end=end))
    with pytest.raises(StoreError, match=r"Line 1 of .* is not a trial"):
        tried(ledger)


def test_a_batch_with_more_configurations_than_sharpe_ratios_is_no_trial(tmp_path: Path) -> None:
    ledger = tmp_path / "trials.jsonl"
    record_all(ledger, BATCH, ["x", "y"], np.array([0.5, 1.0]))
    ledger.write_text(json.dumps({**json.loads(ledger.read_text()), "sharpes": ""}) + "\n")
    with pytest.raises(StoreError, match=r"Line 1 of .* is not a trial"):
        tried(ledger)


def test_a_hundred_thousand_trials_are_written_at_once_and_read_within_a_second(tmp_path: Path) -> None:
    ledger = tmp_path / "trials.jsonl"
    names = [f"{number:064x}" for number in range(100_000)]
    clock = time.process_time()
    record_all(ledger, BATCH, names, np.arange(100_000.0))
    record_all(ledger, BATCH, names[:50_000], np.arange(50_000.0) + 1)
    found = trials(ledger, BATCH)
    assert time.process_time() - clock < 2
    assert found.tolist() == [*(np.arange(50_000.0) + 1), *np.arange(50_000.0, 100_000.0)]
    assert ledger.stat().st_size < 3_500_000
