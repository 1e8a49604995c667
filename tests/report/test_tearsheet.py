"""The page, as text and in a real browser with the network off."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from browsing import assert_numbers, assert_sense, check_page, number, open_offline

from freqlstm import quality, stats
from freqlstm.candles import Candles
from freqlstm.report import daily, figures, tearsheet, write_tearsheet
from freqlstm.results import Result, trade_table
from freqlstm.skill import forecast_skill

CASH = 10_000.0
COMMISSION, SLIPPAGE = 0.001, 0.0001


def wild_candles(symbol: str, rows: int, seed: int, exchange: str = "demo") -> Candles:
    """Minutes whose volatility comes in clusters."""
    random = np.random.default_rng(seed)
    volatility = 6e-4 * np.exp(
        np.convolve(random.normal(0, 0.04, rows + 500), np.ones(500) / np.sqrt(25), "valid")[:rows]
    )
    close = 30_000 / seed * np.exp(np.cumsum(random.normal(1e-7, volatility)))
    open_ = np.concatenate([close[:1], close[:-1]])
    wick = np.abs(random.normal(0, volatility / 2, (2, rows)))
    frame = pd.DataFrame(
        {
            "open": open_,
            "high": np.maximum(open_, close) * (1 + wick[0]),
            "low": np.minimum(open_, close) * (1 - wick[1]),
            "close": close,
            "volume": random.lognormal(2, 1, rows),
        },
        index=pd.date_range("2024-01-01", periods=rows, freq="min", tz="UTC"),
    )
    return Candles.from_frame(frame, symbol, "1m", exchange)


def _with_interval(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(prediction_low=table["prediction"] - 1e-3, prediction_high=table["prediction"] + 1e-3)


def make_result(
    symbols: tuple[str, ...] = ("BTC/USDT",), rows: int = 20 * 1440, each: int = 40, exchange: str = "demo"
) -> Result:
    """A run whose trades open at random bars, whose equity is what they make, and whose forecasts know a little."""
    random = np.random.default_rng(5)
    market = {symbol: wild_candles(symbol, rows, number + 1, exchange) for number, symbol in enumerate(symbols)}
    time_ = next(iter(market.values())).time
    predictions, found, equity = {}, [], np.full(rows, CASH)
    hold = np.zeros(rows)
    for symbol, candles in market.items():
        close, open_ = candles.close.to_numpy(), candles.open.to_numpy()
        ahead = np.log(np.concatenate([close[5:], np.full(5, close[-1])]) / close)
        said = pd.Series(0.05 * ahead + random.normal(0, 5e-5, rows), index=candles.time)
        said.iloc[: rows // 10] = np.nan
        predictions[symbol] = pd.DataFrame({"prediction": said})
        starts = np.sort(
            random.choice(np.arange(10, max(11, rows - 200), 160), size=min(each, max(rows // 200, 0)), replace=False)
        )
        for count, start in enumerate(starts):
            held = int(random.integers(5, 120))
            way = 1 if count % 3 else -1
            entry, exit_ = open_[start] * (1 + way * SLIPPAGE), open_[start + held] * (1 - way * SLIPPAGE)
            size = 0.3 * CASH / entry
            commission, slippage = (
                COMMISSION * size * (entry + exit_),
                SLIPPAGE * size * (open_[start] + open_[start + held]),
            )
            gross = way * size * (open_[start + held] - open_[start])
            net = gross - commission - slippage
            equity[start : start + held] += np.linspace(0, net, held)
            equity[start + held :] += net
            found.append(
                {
                    "symbol": symbol, "side": "long" if way > 0 else "short", "status": "closed",
                    "decided_at": candles.time[start], "entry_time": candles.time[start],
                    "exit_time": candles.time[start + held], "size": size, "entry_price": entry, "exit_price": exit_,
                    "entry_reason": f"enter_{'long' if way > 0 else 'short'}: prediction > 0.0008, rsi(14) < 35",
                    "exit_reason": "exit: prediction < 0", "votes": "", "prediction": said.iloc[start],
                    "gross_pnl": gross, "commission": commission, "slippage": slippage, "net_pnl": net,
                    "turnover": size * (entry + exit_),
                    "net_return": net / (size * entry), "bars_held": held,
                }
            )  # fmt: skip
        hold += CASH / len(market) * close / close[0]
    if found:
        found.append(
            {
                "symbol": symbols[0], "side": "long", "status": "refused", "decided_at": time_[20], "size": 1e-5,
                "entry_reason": "enter_long", "refused_because": "worth 0.42, below the minimum notional of 5",
            }
        )  # fmt: skip
    trades = trade_table(found)
    curve = pd.DataFrame({"equity": equity, "cash": equity, "buy_and_hold": hold}, index=time_)
    returns = stats.daily_returns(curve["equity"], CASH)
    low, high = stats.sharpe_interval(returns, seed=1)
    figures_ = {
        "performance": stats.performance(curve["equity"], CASH),
        "trades": stats.trade_summary(trades),
        "costs": stats.cost_summary(trades),
        "beats": {
            "buy_and_hold": stats.performance(curve["buy_and_hold"], CASH),
            "rules_without_signal": {**stats.performance(curve["equity"] * 0 + CASH * 0.97, CASH), "closed_trades": 12},
            "random_entries": stats.random_entries(trades, market, CASH, COMMISSION, SLIPPAGE, draws=100),
        },
        "luck": {
            "configurations_tried": 7,
            "deflated_sharpe": stats.deflated_sharpe(returns, [0.1, 1.0, -0.4]),
            "sharpe_low": low,
            "sharpe_high": high,
        },
        "skill": {
            symbol: {
                "prediction": forecast_skill(_with_interval(predictions[symbol]), candles, 5, "return", interval=0.9)
            }
            for symbol, candles in market.items()
        },
    }
    folds = [
        {
            "number": number, "train_start": "2023-10-01T00:00:00+00:00", "train_end": "2023-12-30T00:00:00+00:00",
            "test_start": f"2024-01-{number:02d}T00:00:00+00:00", "test_end": f"2024-01-{number + 7:02d}T00:00:00+00:00",
            "model_id": "3f" * 20, "epochs": [3, 2, 4], "validation": [0.9931, 0.9958, 0.9942], "slope": 0.71,
            "fit_seconds": 12.25, "from_cache": False,
        }
        for number in (1, 8, 15)
    ]  # fmt: skip
    manifest = {
        "synthetic": exchange == "demo",
        "plugins": [
            {"kind": "strategy", "name": "lstm_rsi", "origin": "shipped", "file": "lstm_rsi.py", "sha256": "ab" * 32}
        ],
        "quality": {
            symbol: quality.report(candles.frame, symbol, "1m").as_dict() for symbol, candles in market.items()
        },
        "signals": {"prediction": {"fingerprint": "cd" * 32, "folds": folds}},
        "seed": 1,
        "versions": {"python": "3.11"},
        "seconds": {"all": 12.5},
    }
    config = {
        "strategy": "lstm_rsi", "pairs": list(symbols), "timeframe": "1m", "exchange": exchange, "cash": CASH,
        "parameters": {"threshold": 0.0008}, "costs": {"commission": COMMISSION, "slippage": SLIPPAGE},
    }  # fmt: skip
    return Result("20240101-120000-lstm_rsi-ab12cd", config, manifest, market, predictions, trades, curve, figures_)


# the page as text ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def portfolio() -> Result:
    return make_result(("BTC/USDT", "ETH/USDT", "SOL/USDT", "ADA/USDT"), rows=43 * 1440, exchange="binance")


CASES: dict[str, Any] = {
    "twenty days": lambda: make_result(),
    "no trades": lambda: make_result(each=0),
    "one day": lambda: make_result(rows=1440, each=3),
    "ten minutes": lambda: make_result(rows=10, each=0),
    "no signal": lambda: without_signal(make_result()),
    "nothing moved": lambda: frozen(make_result(rows=40 * 1440, each=0)),
}


def without_signal(result: Result) -> Result:
    """The same run by a strategy that asks no signal."""
    bare = {symbol: pd.DataFrame(index=candles.time) for symbol, candles in result.market.items()}
    stats_ = {**result.stats, "skill": {symbol: {} for symbol in result.market}}
    stats_["beats"] = {**stats_["beats"], "rules_without_signal": None}
    manifest = {**result.manifest, "signals": {}}
    return Result(result.run_id, result.config, manifest, result.market, bare, result.trades, result.equity, stats_)


def frozen(result: Result) -> Result:
    """A run in which neither the strategy nor the market ever moved."""
    equity = result.equity.assign(equity=CASH, cash=CASH, buy_and_hold=CASH)
    flat = stats.performance(equity["equity"], CASH)
    stats_ = {**result.stats, "performance": flat, "beats": {**result.stats["beats"], "buy_and_hold": flat}}
    return Result(
        result.run_id, result.config, result.manifest, result.market, result.predictions, result.trades, equity, stats_
    )


def test_a_page_names_no_address_outside_itself(portfolio: Result) -> None:
    page = tearsheet(portfolio)
    library = re.search(r'<script type="text/plain" id="plotly">([A-Za-z0-9+/=]+)</script>', page)
    assert library is not None
    visible = page.replace(library.group(1), "")
    assert re.findall(r"""(?:src|href|action)\s*=\s*["'](?!#|data:)[^"']*""", visible) == []
    assert re.findall(r"url\(|@import|https?://|//[a-z]+\.[a-z]+/", visible) == []


def test_the_same_result_gives_the_same_page() -> None:
    result = make_result()
    assert tearsheet(result) == tearsheet(result)


def test_a_page_of_ninety_days_of_minutes_is_small_and_quick() -> None:
    result = make_result(rows=90 * 1440, each=300)
    tearsheet(result)  # the first one loads the libraries
    begin = time.process_time()
    page = tearsheet(result)
    assert time.process_time() - begin < 6
    assert len(page.encode()) < 5_000_000


def test_only_synthetic_candles_are_called_synthetic(portfolio: Result) -> None:
    banner = '<div class="synthetic" role="alert"><b>SYNTHETIC CANDLES.</b>'
    assert banner in tearsheet(make_result(each=0))
    assert banner not in tearsheet(portfolio)


def test_every_page_says_that_it_is_no_advice() -> None:
    assert "This is not financial advice." in tearsheet(make_result(each=0))


def test_what_a_user_wrote_cannot_become_markup() -> None:
    result = make_result()
    evil = "</script><script>window.evil = 1</script><b>"
    trades = result.trades.assign(entry_reason=evil, exit_reason=evil, refused_because=evil)
    config = {**result.config, "strategy": evil}
    page = tearsheet(
        Result(
            evil,
            config,
            {**result.manifest, "warnings": [evil]},
            result.market,
            result.predictions,
            trades,
            result.equity,
            result.stats,
        )
    )
    assert "<script>window.evil" not in page
    assert page.count("</script>") == 3


def test_quantstats_agrees_with_our_own_figures_of_daily_returns(portfolio: Result) -> None:
    from freqlstm.report import daily

    returns = stats.daily_returns(portfolio.equity["equity"], CASH)
    hold = stats.daily_returns(portfolio.equity["buy_and_hold"], CASH)
    table = {name: cells for name, *cells in daily.metrics_table(returns, hold)}
    for column, curve in enumerate(("buy_and_hold", "equity")):
        made = stats.performance(portfolio.equity[curve], CASH)
        for name, key, scale in (
            ("Cumulative Return", "total_return", 100), ("CAGR", "annual_return", 100), ("Sharpe", "sharpe", 1),
            ("Volatility (ann.)", "annual_volatility", 100), ("Sortino", "sortino", 1),
        ):  # fmt: skip
            assert number(table[name][column]) == pytest.approx(made[key] * scale, abs=0.0051), (curve, name)


def test_figures_of_quantstats_that_would_mislead_are_left_out() -> None:
    page = tearsheet(make_result(rows=43 * 1440))
    for name in ("Risk-Adjusted Return", "Risk of Ruin", "Time in Market", "10Y (ann.)", "YTD", "Kelly Criterion"):
        assert f"<td>{name}</td>" not in page
    assert "<td>Sharpe</td>" in page
    assert "365 periods a year" in page


def test_the_drawdowns_of_quantstats_begin_at_the_cash() -> None:
    from freqlstm.report import daily

    returns = pd.Series([-0.10, 0.05, 0.10], index=pd.date_range("2024-01-01", periods=3, tz="UTC"))
    assert daily.worst_drawdowns(returns) == [("2024-01-01", "2024-01-02", "10.00%", "2")]


def test_making_a_page_leaves_matplotlib_as_it_was() -> None:
    import matplotlib.pyplot as plt

    before = dict(plt.rcParams)
    tearsheet(make_result())
    assert dict(plt.rcParams) == before
    assert plt.get_fignums() == []


@pytest.mark.parametrize(
    ("days", "step"), [(1, "1min"), (2, "3min"), (90, "1h"), (365, "4h"), (3 * 365, "12h"), (20 * 365, "7D")]
)
def test_no_more_candles_are_drawn_than_can_be_told_apart(days: int, step: str) -> None:
    from freqlstm.report.charts import MOST_CANDLES, drawn_step

    index = pd.DatetimeIndex(["2010-01-01", pd.Timestamp("2010-01-01") + pd.Timedelta(days=days, minutes=-1)], tz="UTC")
    candles = Candles(
        pd.DataFrame({"open": 1.0, "high": 1.0, "low": 1.0, "close": 1.0, "volume": 1.0}, index=index), "A/B", "1m"
    )
    assert drawn_step(candles) == pd.Timedelta(step)
    assert pd.Timedelta(days=days) / drawn_step(candles) <= MOST_CANDLES


def test_drawn_candles_keep_the_extremes_and_trades_their_true_places() -> None:
    from freqlstm.report.charts import trade_chart

    result = make_result()
    data = trade_chart(result, "BTC/USDT")["data"]
    drawn = next(trace for trace in data if trace["type"] == "candlestick")
    candles = result.market["BTC/USDT"]
    assert max(drawn["high"]) == pytest.approx(candles.high.max(), rel=1e-7)
    assert min(drawn["low"]) == pytest.approx(candles.low.min(), rel=1e-7)
    assert len(drawn["x"]) <= 2500
    entries = next(trace for trace in data if trace.get("name") == "long entry")
    own = result.trades[(result.trades["side"] == "long") & result.trades["entry_time"].notna()]
    assert [pd.Timestamp(x, unit="ms", tz="UTC") for x in entries["x"]] == own["entry_time"].tolist()
    assert entries["y"] == pytest.approx(own["entry_price"].to_numpy(), rel=1e-7)


def test_a_page_is_written_whole(tmp_path: Path) -> None:
    result = make_result(each=0)
    write_tearsheet(result, tmp_path / "tearsheet.html")
    assert (tmp_path / "tearsheet.html").read_text(encoding="utf-8") == tearsheet(result)
    assert [path.name for path in tmp_path.iterdir()] == ["tearsheet.html"]


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        (figures.percent(0.01254), "+1.25%"), (figures.percent(-1.5), "−150.00%"), (figures.percent(None), "–"),
        (figures.share(0.5), "50.0%"), (figures.ratio(-1234.567), "−1,234.57"), (figures.ratio(float("nan")), "–"),
        (figures.count(1204), "1,204"), (figures.probability(0.0004), "< 0.001"), (figures.probability(0.034), "0.034"),
        (figures.significant(0.000123456789, 3), "0.000123"), (figures.significant(22322.714, 7), "22,322.71"),
        (figures.significant(1500.0), "1,500"), (figures.significant(0.0), "0"), (figures.significant(-2.5e-9, 3), "−2.5e−09"),
        (figures.significant(999999.7, 6), "1,000,000"), (figures.moment("2024-01-01T10:30:00+00:00"), "2024-01-01 10:30"),
        (figures.moment(pd.NaT), "–"), (figures.text("<b>"), "&lt;b&gt;"), (figures.text(None), "–"),
    ],
)  # fmt: skip
def test_numbers_are_written_for_people(written: str, shown: str) -> None:
    assert written == shown


# the page in a browser ----------------------------------------------------------------------------------------------


def opened(browser: Any, folder: Path, result: Result, width: int) -> Any:
    """The page of ``result`` with the network off, drawn."""
    path = folder / "tearsheet.html"
    write_tearsheet(result, path)
    return open_offline(browser, path, width)


@pytest.fixture(scope="module", params=[1280, 390], ids=["wide", "narrow"])
def portfolio_page(
    chromium: Any, portfolio: Result, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Any]:
    """The portfolio's page on a desk and on a telephone."""
    page = opened(chromium, tmp_path_factory.mktemp("page"), portfolio, request.param)
    yield page
    page.context.close()


def test_the_page_of_a_portfolio_draws_everything_and_nothing_overlaps(portfolio_page: Any) -> None:
    page = portfolio_page
    assert page.locator(".chart").count() == 4
    assert page.locator("img").count() == 8
    check_page(page)
    page.evaluate("document.querySelectorAll('details').forEach((part) => { part.open = true; })")
    check_page(page)


@pytest.mark.parametrize("case", list(CASES))
def test_an_unusual_run_has_a_page_too(chromium: Any, tmp_path: Path, case: str) -> None:
    page = opened(chromium, tmp_path, CASES[case](), 1280)
    check_page(page)
    assert_sense(page)
    page.context.close()


def test_every_symbol_of_a_portfolio_can_be_chosen(portfolio_page: Any, portfolio: Result) -> None:
    page = portfolio_page
    for number_, symbol in enumerate(portfolio.market):
        page.get_by_role("button", name=symbol).click()
        close = page.evaluate("document.getElementById('chart-candles-0').data[0].close.at(-1)")
        assert close == pytest.approx(portfolio.market[symbol].close.iloc[-1], rel=1e-6)
        pressed = page.evaluate("[...document.querySelectorAll('.choice button')].map((b) => b.ariaPressed === 'true')")
        assert pressed == [other == number_ for other in range(4)]
    check_page(page)


def test_every_number_on_the_page_is_that_of_stats_json(portfolio_page: Any, tmp_path: Path, portfolio: Result) -> None:
    portfolio.save(tmp_path / "run")
    saved = json.loads((tmp_path / "run" / "stats.json").read_text(encoding="utf-8"))
    shown = portfolio_page.evaluate(
        "[...document.querySelectorAll('[data-stat]')].map((e) => [e.dataset.stat, e.textContent])"
    )
    assert {path.split(".")[0] for path, _ in shown} == {"performance", "beats", "luck", "trades", "costs", "skill"}
    assert len(shown) > 80
    assert_numbers(shown, saved)


def test_a_run_of_five_years_has_every_chart_of_quantstats() -> None:
    days = pd.date_range("2019-01-01", periods=1820, tz="UTC")
    ours, hold = (pd.Series(np.random.default_rng(seed).normal(0, 0.02, 1820), index=days) for seed in (1, 2))
    titles = [title for title, _ in daily.charts(ours, hold)]
    assert titles[-3:] == ["Monthly returns, percent", "Return quantiles", "Returns by year"]
    assert len(titles) == 11
