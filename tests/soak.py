"""The paper trader for an hour at sixtyfold speed: its memory, and whether it falls behind."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from chaos import PAIRS, SPEED, STRATEGY, Trader, market, until_bar
from paper.exchange import Floor


def resident(pid: int) -> float:
    """Memory of a process, in MB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    return float("nan")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=61.0)
    parser.add_argument("--settled", type=float, default=10.0, help="Minutes after which memory may not grow any more.")
    given = parser.parse_args()
    root = Path(tempfile.mkdtemp(prefix="soak-"))
    (root / "strategies").mkdir()
    (root / "strategies" / "restless.py").write_text(STRATEGY)
    candles = market(int(given.minutes * SPEED) + 600)
    start = int(candles[PAIRS[0]].time[300].timestamp() * 1000)
    rows = []
    with Floor(candles, start=start) as floor:
        trader = Trader(floor.sandbox.url, root)
        trader.again()
        until_bar(trader, 60.0)
        floor.do(lambda: floor.sandbox.run(SPEED))
        trader.kill()  # it knew another speed
        trader.again()
        began = time.monotonic()
        while (minutes := (time.monotonic() - began) / 60) < given.minutes:
            time.sleep(10)
            assert trader.runs, "it has ended"
            status = json.loads((trader.folder / "status.json").read_text())
            rows.append((minutes, resident(trader.number), status["bars"], status["decide_ms"]))
        trader.end()
        trader.close()
    table = np.array(rows)
    settled = table[table[:, 0] >= given.settled]
    growth = settled[-3:, 1].mean() / settled[:3, 1].mean() - 1
    half = len(settled) // 2
    early, late = np.median(settled[:half, 3]), np.median(settled[half:, 3])
    sys.stdout.write(
        f"{table[-1, 0]:.0f} minutes, {table[-1, 2]:.0f} bars: memory {settled[0, 1]:.0f} MB after {given.settled:g} minutes, {table[-1, 1]:.0f} MB at "
        f"the end ({growth:+.1%}); a bar took {early:.1f} ms, in the second half {late:.1f} ms\n"
    )
    return int(growth > 0.05 or late > 2 * early + 5)


if __name__ == "__main__":
    sys.exit(main())
