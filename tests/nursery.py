"""Paper traders that begin at once: everything is imported a single time, and each trader is a fork that runs the command.

Each has a process of its own, with its own connections and files, and can be killed like any other. :mod:`chaos` asks, one JSON
object a line: ``{"run": [argument, …]}`` is answered by the number of a new process, ``{"wait": number}`` by what it returned,
``{"look": number}`` by the same or null while it runs.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from functools import partial

import mutant

from freqlstm import paper_run  # so that no trader has to import it
from freqlstm.cli.main import main
from freqlstm.paper import gateway
from freqlstm.paper.pace import Pace

assert paper_run
HURRIED = partial(  # of a market in which a bar of one minute takes a second
    Pace, grace=0.1, slack=1.0, timeout=1.5, tick=0.1, look=5.0, silence=5.0, deaf=2.0, clock=5.0, audit=5.0,
)  # fmt: skip


def born(arguments: list[str]) -> int:
    """The number of a new process that runs the command with these arguments."""
    number = os.fork()
    if number:
        return number
    code = 70
    try:
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.dup2(2, 1)
        main(arguments)
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def became(number: int, options: int) -> int | None:
    """What a process returned, as :attr:`subprocess.Popen.returncode` has it; None while it runs."""
    ended, status = os.waitpid(number, options)
    return os.waitstatus_to_exitcode(status) if ended else None


def keep() -> None:
    """Answer until nobody asks any more."""
    answers = os.fdopen(os.dup(1), "w")
    for line in sys.stdin:
        asked = json.loads(line)
        if "run" in asked:
            told: int | None = born(asked["run"])
        elif "wait" in asked:
            told = became(asked["wait"], 0)
        else:
            told = became(asked["look"], os.WNOHANG)
        answers.write(f"{json.dumps(told)}\n")
        answers.flush()


if __name__ == "__main__":
    gateway.Pace = HURRIED  # type: ignore[assignment,misc]
    for name in sys.argv[1:]:
        mutant.MUTATIONS[name]()
    keep()
