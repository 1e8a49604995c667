"""Seven days of recorded minutes through the sandbox, TLS, websockets, the gateway and Backtrader, beside the backtest."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd
from conftest import SHARED
from paper.exchange import Floor, traded
from paper.test_parity import FILES, START, TRICKS, market_of, run_of, same

from freqlstm.paper_report import account
from freqlstm.project import Project

WHOLE = pd.Timestamp("2021-05-20", tz="UTC")  # from here on no minute of the four symbols is missing
CASES = {
    "plain": (("BTC/USDT",), {}),
    "stops": (("BTC/USDT",), {"oversold": 40, "overbought": 60, "trailing_stop": 0.005}),
    "portfolio": (tuple(FILES), {"oversold": 40, "overbought": 60, "stop_loss": 0.01}),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--days", type=float, default=7.0)
    parser.add_argument("--case", choices=CASES, action="append")
    parser.add_argument("--tricks", type=int, default=50, help="Bars from one injected candle to the next; 0: none.")
    given = parser.parse_args()
    bars, failed = int(given.days * 1440), False
    for case in given.case or CASES:
        pairs, parameters = CASES[case]
        root = Path(tempfile.mkdtemp(prefix="parity-"))
        began = time.monotonic()
        start = START if len(pairs) == 1 else WHOLE
        with Floor(market_of(SHARED, pairs, bars, start), start=int(start.value // 10**6)) as floor:

            def trick(bar: int, floor: Floor = floor) -> None:
                if given.tricks and bar % given.tricks == 0:
                    floor.do(lambda: floor.sandbox.arm(TRICKS[bar // given.tricks % len(TRICKS)]))

            traded(floor, run_of(*pairs, parameters=parameters), root, bars, trick)
        made = account("test", Project(root))
        found = made.reconciliation
        try:
            same(made, bars, trades=1)
            verdict = "as the backtest"
        except AssertionError as error:
            verdict, failed = f"NOT as the backtest: {str(error)[:200]}", True
        sys.stdout.write(
            f"{case}: {found.bars:,} bars, {found.decisions_equal:,} of {found.decisions_compared:,} decisions equal, {found.paired:,} trades "
            f"paired, profit {found.session_profit:,.2f} and {found.backtest_profit:,.2f}, {time.monotonic() - began:.0f} s: {verdict}\n"
            f"  {found.causes}\n"
        )
        sys.stdout.flush()
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
