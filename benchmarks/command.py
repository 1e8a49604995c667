"""One run of a program, from its start to its end."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.measure import rusage_mb

FREQLSTM = [sys.executable, "-c", "from freqlstm.cli.main import main; main()"]


def run(command: Sequence[str], folder: Path | str = ".") -> dict[str, Any]:
    """Seconds, peak memory of its largest process, and what it printed; the caller should be small: see ``peak_mb``."""
    start = time.perf_counter()
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        printed = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with exit code {process.returncode}")
    return {"seconds": time.perf_counter() - start, "peak_mb": rusage_mb(usage.ru_maxrss), "printed": printed}
