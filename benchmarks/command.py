"""One run of a program, from its start to its end."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.measure import BrokenVariant, rusage_mb

FREQLSTM = [sys.executable, "-c", "from freqlstm.cli.main import main; main()"]


def run(command: Sequence[str], folder: Path | str = ".") -> dict[str, Any]:
    """Seconds, peak memory of its largest process, and what it printed; the caller should be small: see ``peak_mb``."""
    with tempfile.TemporaryFile("w+") as said:
        start = time.perf_counter()
        with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=said, text=True) as process:
            assert process.stdout is not None
            printed = process.stdout.read()
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.perf_counter() - start
        if process.returncode:
            said.seek(0)
            last = (said.read().strip().splitlines() or [f"exit code {process.returncode}"])[-1]
            raise BrokenVariant(f"{' '.join(command)} ended with {last}")
    return {"seconds": seconds, "peak_mb": rusage_mb(usage.ru_maxrss), "printed": printed}
