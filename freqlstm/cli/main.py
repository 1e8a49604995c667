"""The verbs of ``freqlstm``, each in a module of its own that is imported when it is asked for."""

from __future__ import annotations

import errno
import os
import sys
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import click

from freqlstm import __version__
from freqlstm.cli.console import PathName
from freqlstm.errors import FreqlstmError, UnknownName


class Verb(NamedTuple):
    """What the list of verbs says of one; its command lives in ``freqlstm.cli.VERB``."""

    summary: str
    example: str


VERBS = {
    "init": Verb("Start a project folder.", "freqlstm init mybot"),
    "new": Verb("Write a strategy or signal that runs as it is.", "freqlstm new strategy my_dip"),
    "download": Verb("Fetch missing candles from an exchange.", "freqlstm download -p BTC/USDT -i 1m --days 90"),
    "import": Verb("Store candles from CSV, Parquet or Feather files.", "freqlstm import user_data/data/binance"),
    "import-series": Verb(
        "Store an external series from a file.",
        "freqlstm import-series fear_greed index.csv --time date --known-after 1d",
    ),
    "download-series": Verb("Fetch an external series from its source.", "freqlstm download-series fear_greed"),
    "data": Verb("List, check and resample stored candles.", "freqlstm data check BTC/USDT"),
    "strategies": Verb("List strategies, or describe one.", "freqlstm strategies lstm_rsi"),
    "signals": Verb("List signals, or describe one.", "freqlstm signals lstm"),
    "train": Verb("Fit a signal and save it.", "freqlstm train --signal lstm"),
    "tune": Verb("Find better parameters of a signal.", "freqlstm tune lstm --trials 20"),
    "evaluate": Verb("Compare the forecasts of signals on the same rows.", "freqlstm evaluate lstm momentum"),
    "predict": Verb("Print the newest forecast of a signal.", "freqlstm predict --signal lstm"),
    "backtest": Verb("Run a strategy over candles, to an HTML tearsheet.", "freqlstm backtest --strategy lstm_rsi"),
    "sweep": Verb(
        "Run a strategy with every combination of parameters.", "freqlstm sweep -s lstm_rsi --set threshold=0:0.002:21"
    ),
    "check": Verb("Prove that a plugin never peeks at the future.", "freqlstm check lstm_rsi"),
    "reproduce": Verb("Run a result again and compare.", "freqlstm reproduce RUN_ID"),
    "report": Verb("Make the tearsheet of a result again.", "freqlstm report RUN_ID"),
    "sandbox": Verb("Run a local exchange that replays candles.", "freqlstm sandbox -p BTC/USDT --speed 60"),
    "paper": Verb("Trade on paper, live.", "freqlstm paper --exchange sandbox --strategy lstm_rsi"),
    "doctor": Verb("Check this machine and say what to put right.", "freqlstm doctor"),
}

# What users of freqtrade type.
ALIASES = {
    "backtesting": ["backtest"],
    "create-userdir": ["init"],
    "download-data": ["download"],
    "list-data": ["data", "list"],
    "list-strategies": ["strategies"],
    "hyperopt": ["tune"],
    "lookahead-analysis": ["check"],
    "new-strategy": ["new", "strategy"],
    "userdir": ["init"],
}


FULL = (errno.ENOSPC, errno.EDQUOT)


class VerbGroup(click.Group):
    """A group whose commands are imported one at a time, and the one place where errors become a line."""

    verb = ""  # the one that was asked for

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        attribute = f"{cmd_name}_" if cmd_name == "import" else cmd_name.replace("-", "_")
        command: click.Command = getattr(import_module(f"freqlstm.cli.{attribute}"), attribute)
        command.epilog = command.epilog or f"Example: {VERBS[cmd_name].example}"
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        verb, *rest = args
        verb, *inserted = ALIASES.get(style(verb), [style(verb)])
        if verb not in VERBS:
            raise UnknownName("command", args[0], VERBS, "`freqlstm --help` lists what there is.")
        self.verb = verb
        return super().resolve_command(ctx, [verb, *inserted, *rest])

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Every verb with its example; imports none of them."""
        with formatter.section("Verbs"):
            for name, verb in VERBS.items():
                formatter.write(f"  {name:<15} {verb.summary}\n  {'':<15}   $ {verb.example}\n")

    def main(self, *args: Any, **options: Any) -> Any:
        _open_streams()
        try:
            code = super().main(*args, **{**options, "prog_name": "freqlstm", "standalone_mode": False})
            sys.stdout.flush()
        except FreqlstmError as error:
            code = _fail(str(error), error.exit_code)
        except OSError as error:
            if error.filename is not None or error.errno not in FULL:  # then it is not about what is printed
                raise
            sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - or the exit would try once more
            code = _fail(f"The output could not be written: {error.strerror}. Make room, or send it elsewhere.", 1)
        except click.exceptions.NoArgsIsHelpError as error:  # its message is the whole help
            click.echo(error.format_message(), err=True)
            code = error.exit_code
        except click.UsageError as error:
            path = error.ctx.command_path if error.ctx else f"freqlstm {self.verb}".strip()
            message = error.format_message()
            stop = "" if message.endswith((".", "?", "?)")) else "."
            code = _fail(f"{message}{stop} `{path} --help` lists what there is.", error.exit_code)
        except click.ClickException as error:
            code = _fail(error.format_message(), error.exit_code)
        except (KeyboardInterrupt, click.Abort):
            code = _fail(
                "Interrupted. Nothing half-written is left: the same command again goes on or starts over.", 130
            )
        sys.exit(code if isinstance(code, int) else 0)


def _open_streams() -> None:
    """Open what was closed before the start on nothing, lest a file be opened under its number and printed into."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115


def style(name: str) -> str:
    """A verb as it is listed, however it was typed."""
    return name.lower().replace("_", "-")


def _fail(message: str, code: int) -> int:
    """Print one line, however the message was broken, and return the exit code."""
    with suppress(OSError):  # nobody can be told, but the exit code tells
        click.echo(f"Error: {' '.join(message.split())}", err=True)
    return code


@click.group(cls=VerbGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option(
    "--project",
    metavar="DIR",
    type=PathName(exists=True, file_okay=False, resolve_path=True),
    default=".",
    help="The project's folder, if it is not the current one.",
)
@click.version_option(__version__, prog_name="freqlstm")
@click.pass_context
def main(ctx: click.Context, project: Path) -> None:
    """Backtest LSTM strategies on high-frequency candles, without ever peeking at the future.

    `freqlstm VERB --help` explains a verb. Results go to stdout, progress and warnings to stderr.
    """
    ctx.obj = project


if __name__ == "__main__":
    main()
