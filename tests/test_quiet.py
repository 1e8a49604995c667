"""TensorFlow's start-up messages are held back, and nothing else is."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import os, sys
from freqlstm.quiet import quiet_tensorflow
with quiet_tensorflow():
    print("WARNING: All log messages before absl::InitializeLog() is called are written to STDERR", file=sys.stderr)
    print("I0000 00:00:1795250034.038886   14058 port.cc:153] oneDNN custom operations are on.", file=sys.stderr)
    os.write(2, b"a real warning\\n")
    print("E0000 00:00:1795250037.666333   14058 cuda_platform.cc:52] failed call to cuInit", file=sys.stderr)
    {last}
print("afterwards", file=sys.stderr)
"""


def said(last: str = "") -> str:
    return subprocess.run([sys.executable, "-c", PROGRAM.format(last=last)], capture_output=True, text=True).stderr


def test_only_the_noise_is_held_back() -> None:
    assert said() == "a real warning\nafterwards\n"


def test_an_error_in_the_block_is_shown_with_what_came_before() -> None:
    text = said("raise SystemExit('broken')")
    assert text.startswith("a real warning\n")
    assert text.endswith("broken\n")


def test_it_does_nothing_where_there_is_no_standard_error_stream() -> None:
    assert said("sys.stderr = None; os.close(2)") in ("a real warning\n", "")
