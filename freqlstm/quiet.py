"""Keep TensorFlow's start-up messages from the user's screen, and let everything else through."""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

NOISE = re.compile(
    rb"^(WARNING: All log messages before absl::InitializeLog|[IWE]\d{4} [\d:. ]+\S+\.cc:\d+\]|To enable the following instructions)"
)


@contextmanager
def quiet_tensorflow() -> Iterator[None]:
    """Hold back what is written to the standard error stream in the block, then write it again without the noise.

    TensorFlow's C++ code writes before any of its settings are read, so nothing gentler helps. Where TensorFlow is
    loaded already, nothing is held back.
    """
    if "tensorflow" in sys.modules:
        yield
        return
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.stderr.flush()
    try:
        screen = os.dup(2)
    except OSError:  # there is no standard error stream
        yield
        return
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(screen, 2)
            os.close(screen)
            held.seek(0)
            for line in held:
                if not NOISE.match(line):
                    os.write(2, line)
