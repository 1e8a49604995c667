"""``freqlstm paper``: trade on paper, and look at, stop and reconcile sessions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from freqlstm.cli.console import (
    PathName,
    json_option,
    note,
    pairs_option,
    print_json,
    print_table,
    progress_bar,
    timeframe_option,
)  # fmt: skip
from freqlstm.errors import PaperError, UnknownName, UsageError

if TYPE_CHECKING:
    from freqlstm.paper.session import Session
    from freqlstm.paper.target import Target
    from freqlstm.paper_run import PaperRun

SANDBOX = "http://127.0.0.1:8700"
EVERY = 2.0  # seconds between two writings of status.json


def name_option(command: Any) -> Any:
    """``--name``, of a session."""
    return click.option("--name", metavar="NAME", help="Of the session; STRATEGY-EXCHANGE unless you choose one.")(
        command
    )


@click.group(invoke_without_command=True)
@click.option("-c", "--config", type=PathName(dir_okay=False), help="A run file: that of a backtest will do.")
@click.option("-s", "--strategy", metavar="NAME", help="A name that `freqlstm strategies` lists, or a file.")
@pairs_option
@timeframe_option
@click.option(
    "--exchange", type=click.Choice(["testnet", "demo", "sandbox"]), default="testnet", show_default=True,
    help="Binance's spot testnet, its demo exchange, or `freqlstm sandbox`.",
)  # fmt: skip
@click.option(
    "--sandbox", "sandbox_url", metavar="URL", default=SANDBOX, show_default=True, help="Where the sandbox is."
)
@name_option
@click.option("--cash", type=float, help="Of the quote asset, that the session may use; 10000.")
@click.option("--fee", type=float, help="Commission a side that sizes leave room for; 0.001.")
@click.option("--slippage", type=float, help="A side, that sizes leave room for; 0.0001.")
@click.option("--set", "changes", metavar="NAME=VALUE", multiple=True,
              help="A parameter of the strategy, or of one of its signals: prediction.units=64.")  # fmt: skip
@click.option("--limit", "limits", metavar="NAME=VALUE", multiple=True,
              help="Of risk: max_order, max_position, max_daily_loss, max_orders_per_bar, max_orders_per_hour, max_distance.")  # fmt: skip
@click.option("--train", metavar="TIME", help="Longest train span of a fit; 90d.")
@click.option("--test", metavar="TIME", help="Time between two fits; 7d.")
@click.option("--min-train", metavar="TIME", help="Shortest train span of a fit; 30d.")
@click.option("--seed", type=int, help="Of weights and shuffles; 1.")
@click.option("--poll", is_flag=True, help="Without websockets: ask for the last 30 minutes by REST again and again.")
@click.option(
    "--keys", type=PathName(dir_okay=False), help="TOML with api_key and api_secret, mode 600; else the environment."
)
@click.option(
    "--webhooks", type=PathName(dir_okay=False), help="URLs to tell, one a line, mode 600; else FREQLSTM_WEBHOOKS."
)
@click.option(
    "--accept-balances", is_flag=True, help="Take over what the account holds, if it differs from the journal."
)
@click.option("--may-withdraw", is_flag=True, help="Accept keys of an account that may withdraw.")
@click.option("--resume", is_flag=True, help="Trade again after `freqlstm paper stop`.")
@click.pass_context
def paper(
    ctx: click.Context, /, config: Path | None, changes: tuple[str, ...], limits: tuple[str, ...], exchange: str, sandbox_url: str,
    name: str | None, poll: bool, keys: Path | None, webhooks: Path | None, accept_balances: bool, may_withdraw: bool,
    resume: bool, **flags: Any,
) -> None:  # fmt: skip
    """Trade on paper: the strategy of a backtest, live, on an exchange where no real money is.

    A session is kept in paper/NAME and goes on where it was when it is started again, after whatever ended it. SIGINT and
    SIGTERM end it, SIGUSR1 cancels its orders before, SIGUSR2 sells what it holds too, as `freqlstm paper stop` does. API keys
    come from FREQLSTM_API_KEY and FREQLSTM_API_SECRET; a sandbox needs none.
    """
    if ctx.invoked_subcommand is not None:
        return
    from freqlstm.paper.notify import read_webhooks
    from freqlstm.paper_run import session_name
    from freqlstm.project import Project

    project = Project(ctx.obj)
    run = build_paper_run(config, flags, changes, limits)
    options = {"poll": poll, "accept_balances": accept_balances, "may_withdraw": may_withdraw}
    target, secret = _target(exchange, sandbox_url, keys)
    _trade(
        project,
        run,
        target,
        secret,
        name or session_name(run, exchange),
        read_webhooks(webhooks),
        resume,
        options,
    )


def build_paper_run(
    file: Path | None, flags: dict[str, Any], changes: tuple[str, ...], limits: tuple[str, ...]
) -> PaperRun:
    """The session of ``file`` (or the defaults) with the flags that were given in place of its keys."""
    from freqlstm.cli.backtest import content_of, parameters_of, set_parameter
    from freqlstm.paper_run import paper_run_of, read_paper_run

    content = content_of({} if file is None else read_paper_run(file).as_dict(), flags)
    for name in ("train", "test", "min_train"):
        if name in content:
            content.setdefault("folds", {})[name] = content.pop(name)
    for name, value in parameters_of(changes).items():
        set_parameter(content, name, value)
    content["limits"] = {**content.get("limits", {}), **parameters_of(limits)}
    return paper_run_of(content, "the command line")


def _target(exchange: str, url: str, keys: Path | None) -> tuple[Target, Any]:
    """(exchange, keys)."""
    from freqlstm.paper.keys import guard_logs, read_keys
    from freqlstm.paper.target import sandbox, target

    guard_logs()
    if exchange != "sandbox":
        return target(exchange), read_keys(keys)
    made, found = sandbox(url)
    return made, found if keys is None and found is not None else read_keys(keys)


def _trade(
    project: Any, run: PaperRun, target: Target, keys: Any, name: str, webhooks: list[Any], resume: bool,
    options: dict[str, Any],
) -> None:  # fmt: skip
    import signal

    from freqlstm.cli.paper_view import View
    from freqlstm.paper.limits import KillSwitch, Stop
    from freqlstm.paper.notify import Notifier
    from freqlstm.paper_run import opened

    if resume:
        KillSwitch(project.paper / name / "stop").reset()
    notifier, view = Notifier(webhooks, name), View()

    def tell(kind: str, text: str) -> None:
        notifier(kind, text)
        view.tell(kind, text)

    try:
        with progress_bar() as progress:
            context = opened(run, project, target, keys, name, tell=tell, progress=progress, **options)
            session = context.__enter__()
        try:
            note(
                f"Session {name} trades {', '.join(run.pairs)} {run.timeframe} on {target.name}; Ctrl-C ends it, and it can be gone on with."
            )
            if warning := session.gateway.clock_warning():
                note(warning)
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, lambda *_: session.stop("it was interrupted"))
            if hasattr(signal, "SIGUSR1"):
                session.gateway.switch.obey_signals({signal.SIGUSR1: Stop.CANCEL, signal.SIGUSR2: Stop.FLATTEN})
            session.tick = ticker(session, project.paper / name, view)
            with view:
                why = session.run()
            session.tick()
        finally:
            context.__exit__(None, None, None)
        note(f"Session {name} has ended: {why}.")
        if session.gateway.switch.state is not None:
            note("--resume lets it trade again.")
        if session.failed:
            raise PaperError(f"{why.rstrip('.')}. Put that right and start it again: it goes on where it was.")
    except BaseException as error:
        if not isinstance(error, (KeyboardInterrupt, click.exceptions.Exit)):
            notifier("halt", f"It ended: {error}")
        raise
    finally:
        notifier.close()


def ticker(session: Session, folder: Path, view: Any) -> Any:
    """What a session does when it has nothing to do: show how it is, and keep that where other processes look."""
    import time

    from freqlstm.paper.status import status_of, write_status

    written = [0.0, -1]

    def tick() -> None:
        now = time.monotonic()
        if now - written[0] < (0.5 if view.live else EVERY) and written[1] == session.settled_ms:
            return
        status = status_of(session, folder.name)
        view.show(status)
        if now - written[0] >= EVERY or session.settled_ms != written[1]:
            written[:] = now, session.settled_ms
            write_status(folder, status)

    return tick


def _folder(root: Path, name: str | None) -> Path:
    """The folder of the session that is meant: the only one, if none is named."""
    from freqlstm.project import Project

    sessions = sorted(path.parent for path in Project(root).paper.glob("*/journal.sqlite"))
    names = [folder.name for folder in sessions]
    if name is None and len(sessions) == 1:
        return sessions[0]
    if not sessions:
        raise PaperError(
            f"There is no session in {Project(root).paper}. `freqlstm paper --strategy lstm_rsi` begins one."
        )
    if name is None:
        raise UsageError(f"There are the sessions {', '.join(names)}. Name one with --name.")
    if name not in names:
        raise UnknownName("session", name, names)
    return Project(root).paper / name


@paper.command()
@name_option
@json_option
@click.pass_obj
def status(root: Path, name: str | None, as_json: bool) -> None:
    """Say how a session is doing."""
    from freqlstm.cli.paper_view import print_status
    from freqlstm.paper.status import read_status

    told = read_status(_folder(root, name))
    if as_json:
        print_json(told)
    else:
        print_status(told)


@paper.command()
@name_option
@click.option("--cancel", "how", flag_value="cancel", help="Cancel what rests at the exchange too.")
@click.option("--flatten", "how", flag_value="flatten", help="Cancel, and sell at the market what the session holds.")
@click.option("--wait", type=float, default=60.0, show_default=True, help="Seconds to wait for it to end.")
@click.pass_obj
def stop(root: Path, name: str | None, how: str | None, wait: float) -> None:
    """Stop a session. It sends nothing more until it is started with --resume."""
    import time

    from freqlstm.paper.journal import Journal
    from freqlstm.paper.limits import KillSwitch, Stop
    from freqlstm.paper.session import NOT_FLAT
    from freqlstm.paper.status import is_running

    def unfinished() -> list[str]:
        with Journal.read(folder / "journal.sqlite") as journal:
            return [facts["text"] for _, _, facts in journal.events(NOT_FLAT)]

    folder = _folder(root, name)
    running, before = is_running(folder), len(unfinished())
    KillSwitch(folder / "stop").trip(Stop(how or "keep"), "freqlstm paper stop")
    until = time.monotonic() + wait
    while is_running(folder) and time.monotonic() < until:
        time.sleep(0.1)
    if is_running(folder):
        raise PaperError(
            f"Session {folder.name} has been told to stop and is still running after {wait:g} seconds. Look at it."
        )
    if news := unfinished()[before:]:
        raise PaperError(
            f"Session {folder.name} is stopped. {news[-1]} Start it again, without --resume, to try once more."
        )
    if how and not running:
        note(
            "It was not running, so nothing was cancelled or sold: start it without --resume, and it does that and ends."
        )
    click.echo(f"Session {folder.name} is stopped. --resume lets it trade again.")


@paper.command()
@name_option
@click.option(
    "--reference",
    metavar="EXCHANGE",
    default="binance",
    show_default=True,
    help="Whose stored candles are the public market.",
)
@json_option
@click.pass_obj
def reconcile(root: Path, name: str | None, reference: str, as_json: bool) -> None:
    """Compare a session with a backtest over its candles, and write its tearsheet."""
    from freqlstm.files import jsonable
    from freqlstm.paper_report import account
    from freqlstm.project import Project
    from freqlstm.report.tearsheet import write_tearsheet
    from freqlstm.store import write_json

    folder = _folder(root, name)
    with progress_bar() as progress:
        made = account(folder.name, Project(root), reference=reference, progress=progress)
        progress(0, 1, "drawing the tearsheet")
        write_tearsheet(made.result, folder / "tearsheet.html")
    told = {**made.reconciliation.as_dict(), "public": made.public, "tearsheet": str(folder / "tearsheet.html")}
    write_json(folder / "reconciliation.json", jsonable(told))
    if as_json:
        print_json(told)
        return
    found, public = made.reconciliation, made.public
    click.echo(
        f"{folder.name}: {found.bars:,} bars; {found.decisions_equal:,} of {found.decisions_compared:,} decisions are those of the "
        f"backtest; {found.paired:,} trades paired"
    )
    columns = ("closed trades", "number", "profit")
    rows: list[tuple[Any, ...]] = [
        ("the session's own fills", found.session_trades, f"{found.session_profit:,.2f}"),
        (f"the same at the prices of {reference}", public["fills"], "no candles" if public["profit"] is None else f"{public['profit']:,.2f}"),
        ("backtest on the session's candles", found.backtest_trades, f"{found.backtest_profit:,.2f}"),
    ]  # fmt: skip
    print_table(columns, rows, right=columns[1:])
    click.echo()
    columns = ("difference put down to", "number", "worth")
    rows = [(cause, int(each["count"]), f"{each['amount']:+,.4f}") for cause, each in found.causes.items()]
    print_table(columns, rows or [("none", 0, "")], right=columns[1:])
    click.echo(f"\n{folder / 'tearsheet.html'}")
