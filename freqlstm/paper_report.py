"""What a session of paper trading came to: its tearsheet, and its reconciliation with a backtest."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from freqlstm import ledger, stats
from freqlstm.backtest import _columns, buy_and_hold, decisions_for, explained_by, skill_of
from freqlstm.bars import Bars
from freqlstm.candles import Candles, step_of
from freqlstm.engines.backtrader import simulate
from freqlstm.engines.fills import Fill, trade_list
from freqlstm.errors import JournalError, NoCandles
from freqlstm.job import Job
from freqlstm.manifest import manifest
from freqlstm.paper.archive import Archive, moment
from freqlstm.paper.broker import PaperBroker
from freqlstm.paper.decision import SPARE
from freqlstm.paper.diary import Entry
from freqlstm.paper.journal import Journal
from freqlstm.paper.machine import Orders
from freqlstm.paper.playback import played, read_rules
from freqlstm.paper.reconcile import Expected, Reconciliation, Side, reconcile
from freqlstm.paper_run import BEGAN, Trader, paper_run_of
from freqlstm.plugins import find
from freqlstm.predictions import Predictions, walk_forward
from freqlstm.progress import Progress, silent
from freqlstm.results import Result, main_prediction
from freqlstm.store import CandleStore, Project
from freqlstm.strategy import check_parameters, history_needed, overrides_next

PUBLIC = "binance"  # whose stored candles are the public market


@dataclass(frozen=True)
class Account:
    """A session and the backtest over its candles, side by side."""

    result: Result  # of the session
    reconciliation: Reconciliation
    public: dict[str, Any]  # the same orders filled at the public market's prices


def account(name: str, project: Project, *, reference: str = PUBLIC, progress: Progress = silent) -> Account:
    """Read the session's journal, run its candles through a backtest, and compare."""
    folder = project.paper / name
    journal = Journal.read(folder / "journal.sqlite")
    try:
        return _Accounting(name, project, folder, journal, progress).done(reference)
    finally:
        journal.close()


class _Accounting:
    def __init__(self, name: str, project: Project, folder: Path, journal: Journal, progress: Progress) -> None:
        self.name, self.project, self.folder, self.journal = name, project, folder, journal
        self.progress = progress
        content = tomllib.loads(journal.facts.run_toml)
        self.trader = Trader.of(paper_run_of(content, str(folder / "run.toml")), project)
        self.run = self.trader.run
        bars = [candle.open_ms for _, candle, _ in journal.delivered()]
        if not bars:
            raise JournalError(f"Session {name} has no bar yet. Come back when the first candle has closed.")
        began = journal.events(BEGAN)
        self.start_ms, self.end_ms = int(began[0][2]["open_ms"]), bars[-1] + self._step_ms()
        if journal.epoch > 1:
            self.start_ms = bars[0]
        self.archive = Archive(folder / "candles", journal)

    def _step_ms(self) -> int:
        return int(step_of(self.journal.facts.timeframe).total_seconds() * 1000)

    def done(self, reference: str) -> Account:
        job = self._job()
        traded = job.traded()
        names = tuple(f"{column}{ending}" for column in job.signals for ending in ("", "_low", "_high", "_spread"))
        like = {symbol: candles.rows(0, 0) for symbol, candles in job.market.items()}
        orders = Orders(self.trader.strategy, self.trader.parameters, self.run.cash, self.run.costs)
        broker, entries = played(self.journal, orders, like, names)
        fills = [each._replace(row=min(each.row, len(traded[each.symbol]) - 1)) for each in broker.holdings.fills]
        index = pd.DatetimeIndex([moment(entry.open_ms) for entry in entries]).rename("time")
        session = Side(
            trade_list(fills, broker.refusals, traded, _explained(entries)), broker.refusals,
            pd.Series(np.array(broker.equity), index=index),
        )  # fmt: skip
        expected, forecasts, history = self._expected(job, traded)
        found = reconcile(session, entries, expected)
        result = self._result(job, session, broker, entries, forecasts, history)
        return Account(result, found, self._public(fills, broker, traded, entries, reference))

    def _job(self) -> Job:
        run, trader = self.run, self.trader
        rules = {symbol: each.market_rules for symbol, each in read_rules(self.journal).items()}
        market = {pair: self._revised(self.archive.candles(pair, 0, self.end_ms)) for pair in run.pairs}
        strategy = find("strategy", run.strategy, self.project.root)
        return Job(
            strategy=strategy, parameters=trader.parameters, signals=dict(trader.uses), market=market, start=moment(self.start_ms),
            end=moment(self.end_ms), folds=run.folds, rules=rules, costs=run.costs, cash=run.cash, seed=run.seed,
        )  # fmt: skip

    def _revised(self, candles: Candles) -> Candles:
        """The candles as the exchange says now that they were."""
        later = {
            moment(one.open_ms): one.floats for symbol, one in self.journal.revisions() if symbol == candles.symbol
        }
        known = [time for time in later if time in candles.time]
        if not known:
            return candles
        frame = candles.frame.copy()
        for time in known:
            frame.loc[time] = later[time]
        return replace(candles, frame=frame)

    def _expected(
        self, job: Job, traded: Mapping[str, Candles]
    ) -> tuple[Expected, dict[str, Predictions], dict[str, int]]:
        forecasts = {
            name: walk_forward(
                use.plugin, use.seeded(job.seed), dict(job.market), job.start, job.end, job.folds, self.project.models,
                progress=self.progress,
            )
            for name, use in job.signals.items()
        }  # fmt: skip
        tables = {symbol: _columns(forecasts, symbol, candles) for symbol, candles in traded.items()}
        parameters = check_parameters(self.trader.strategy, job.parameters)
        decisions = {}
        look_back = max((each.description.memory for each in forecasts.values()), default=0) + SPARE
        if not overrides_next(self.trader.strategy):
            for symbol, candles in traded.items():
                decisions[symbol] = decisions_for(job, self.trader.strategy, parameters, tables[symbol], symbol)
                few = Bars(candles.rows(0, 50), tables[symbol].iloc[:50])
                look_back = max(look_back, history_needed(self.trader.strategy, parameters, few) + SPARE)
        outcome = simulate(
            self.trader.strategy, dict(job.parameters), traded, predictions=tables, decisions=decisions, rules=job.rules,
            costs=job.costs, cash=job.cash,
        )  # fmt: skip
        trades = trade_list(outcome.fills, outcome.refusals, traded, explained_by(decisions, tables))
        revised: dict[str, set[int]] = {}
        for symbol, candle in self.journal.revisions():
            revised.setdefault(symbol, set()).add(candle.open_ms)
        expected = Expected(
            trades, outcome.refusals, outcome.equity["equity"], traded, tables, decisions, job.rules, job.costs.commission, look_back,
            {symbol: frozenset(times) for symbol, times in revised.items()},
        )  # fmt: skip
        return expected, forecasts, {symbol: each.offset for symbol, each in decisions.items()}

    def _result(
        self, job: Job, session: Side, broker: PaperBroker, entries: list[Entry], forecasts: dict[str, Predictions],
        history: dict[str, int],
    ) -> Result:  # fmt: skip
        """The session as the report of a backtest shows one, with what was predicted then."""
        traded = job.traded()
        equity = pd.DataFrame({"equity": session.equity, "cash": np.array(broker.idle_cash)})
        equity["buy_and_hold"] = buy_and_hold(traded, equity.index, job.cash, job.costs)
        tables = {symbol: _said(entries, symbol, candles) for symbol, candles in traded.items()}
        spoken = {
            name: replace(
                forecast,
                table={
                    symbol: table[[f"{name}{ending}" for ending in ("", "_low", "_high", "_spread")]].set_axis(
                        ["prediction", "prediction_low", "prediction_high", "prediction_spread"], axis=1
                    )
                    for symbol, table in tables.items()
                },
            )
            for name, forecast in forecasts.items()
        }
        returns = stats.daily_returns(equity["equity"], job.cash)
        low, high = stats.sharpe_interval(returns, seed=job.seed)
        tried = np.nan_to_num(ledger.trials(self.project.ledger, job.stretch))
        made = stats.performance(equity["equity"], job.cash)
        figures: dict[str, Any] = {
            "performance": made,
            "trades": stats.trade_summary(session.trades),
            "costs": stats.cost_summary(session.trades),
            "beats": {
                "buy_and_hold": stats.performance(equity["buy_and_hold"], job.cash),
                "rules_without_signal": None,
                "random_entries": stats.random_entries(
                    session.trades, traded, job.cash, job.costs.commission, job.costs.slippage, seed=job.seed
                ),
            },
            "skill": {symbol: skill_of(spoken, candles) for symbol, candles in traded.items()},
            "luck": {
                "configurations_tried": len(tried),
                "deflated_sharpe": stats.deflated_sharpe(
                    returns, tried if len(tried) else np.array([made["sharpe"] or 0.0])
                ),
                "sharpe_low": low,
                "sharpe_high": high,
            },
        }
        warnings = [
            f"These are orders on the {self.journal.facts.exchange} exchange, on paper: its market is one of its own."
        ]
        return Result(
            run_id=f"paper-{self.name}", config={**self.run.as_dict(), "exchange": self.journal.facts.exchange},
            manifest={**manifest(job, forecasts, history, {}), "warnings": warnings},
            market=traded, predictions=tables, trades=session.trades, equity=equity, stats=figures,
        )  # fmt: skip

    def _public(
        self,
        fills: list[Fill],
        broker: PaperBroker,
        traded: Mapping[str, Candles],
        entries: list[Entry],
        reference: str,
    ) -> dict[str, Any]:
        """The same fills at the opens of the public market's candles, where they are stored."""
        store = CandleStore(self.project.data)
        opens: dict[str, pd.Series[float]] = {}
        for symbol, candles in traded.items():
            try:
                there = store.read(
                    reference, symbol, candles.timeframe, candles.time[0], candles.time[-1] + candles.step
                )
                opens[symbol] = there.open.reindex(candles.time)
            except NoCandles:
                continue
        repriced, without = [], 0
        for fill in fills:
            price = float(opens[fill.symbol].iloc[fill.row]) if fill.symbol in opens else float("nan")
            if np.isnan(price):
                without += 1
                continue
            share = fill.commission / (abs(fill.size) * fill.price) if fill.size else 0.0
            repriced.append(fill._replace(price=price, commission=abs(fill.size) * price * share))
        if without or not repriced:
            return {"exchange": reference, "fills": len(repriced), "without_price": without, "profit": None}
        trades = trade_list(repriced, [], traded, lambda symbol, reason, row: (reason, "", float("nan")))
        ended = trades[trades["status"] == "closed"]
        return {
            "exchange": reference,
            "fills": len(repriced),
            "without_price": 0,
            "profit": float(ended["net_pnl"].sum()),
        }


def _said(entries: list[Entry], symbol: str, candles: Candles) -> pd.DataFrame:
    rows = [entry.said[symbol] for entry in entries if symbol in entry.candles]
    return pd.DataFrame(rows, index=candles.time, dtype=np.float64)


def _explained(entries: list[Entry]) -> Any:
    rows: dict[str, list[Entry]] = {}
    for entry in entries:
        for symbol in entry.candles:
            rows.setdefault(symbol, []).append(entry)

    def explain(symbol: str, reason: str, row: int) -> tuple[str, str, float]:
        entry = rows[symbol][row]
        decision = entry.decisions[symbol]
        said = main_prediction(pd.DataFrame([entry.said[symbol]]))
        fired = decision.fired.get(reason, "")
        prediction = float("nan") if said is None else float(said.iloc[0])
        return (f"{reason}: {fired}" if fired else reason), decision.votes.get(reason, ""), prediction

    return explain
