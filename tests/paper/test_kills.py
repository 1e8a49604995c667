"""The paper trader as a process, killed and failed: nothing doubled, nothing lost, nothing in doubt."""

from __future__ import annotations

from pathlib import Path

from chaos import chaos


def test_a_trader_that_is_killed_and_failed_at_any_moment_doubles_loses_and_forgets_nothing(tmp_path: Path) -> None:
    report = chaos(20.0, 5, tmp_path)
    assert not report.wrong, f"{report}\n{(tmp_path / 'trader.log').read_text()[-2000:]}"
    assert report.kills >= 2
    assert report.faults.total() >= 30
    assert len(report.faults) >= 12
    assert report.orders >= 2
    assert report.bars >= 10
