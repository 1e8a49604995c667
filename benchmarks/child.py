"""The process of one variant: do its work, print what it tells as the last line, a JSON object."""

from __future__ import annotations

import json
import sys
from importlib import import_module
from typing import Any

from benchmarks.measure import peak_mb


def main(work: str, settings: str) -> None:
    """Call ``work``, written module:function, with ``settings``, a JSON object."""
    module, _, function = work.partition(":")
    told: dict[str, Any] = getattr(import_module(f"benchmarks.rows.{module}"), function)(**json.loads(settings))
    sys.stdout.write("\n" + json.dumps({"peak_mb": peak_mb(), **told}) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
