"""Breaking any one rule of the kernel makes parity fail: the comparison has teeth.

The kernel's own text, with one rule replaced, runs as plain Python here, which is the same arithmetic.
"""

from __future__ import annotations

import types
from importlib.machinery import SourceFileLoader
from pathlib import Path

import numpy as np
import pytest
from parity import Case, difference, numbered
from trading import FINE, FREE, candles_of, flat

from freqlstm.bars import Decisions
from freqlstm.candles import Candles
from freqlstm.costs import Costs, MarketRules
from freqlstm.engines import backtrader, compiled, kernel
from freqlstm.engines.fills import Simulation

SOURCE = Path(kernel.__file__).read_text(encoding="utf-8")
COMPILED = "from freqlstm.compiling import inner_kernel as kernel"
CASES = 200


def plain_python(source: str, folder: Path) -> types.ModuleType:
    """The kernel in ``source`` without the compiler."""
    assert source.count(COMPILED) == 1
    file = folder / "kernel_in_plain_python.py"
    file.write_text(source.replace(COMPILED, "kernel = lambda function: function"), encoding="utf-8")
    module = types.ModuleType(file.stem)
    SourceFileLoader(file.stem, str(file)).exec_module(module)
    return module


@pytest.fixture(scope="module")
def reference() -> list[tuple[Case, Simulation]]:
    """Cases and what Backtrader makes of them."""
    cases = [barely_touched(), opened_higher(), short_of_cash(), *(numbered(number) for number in range(CASES - 3))]
    return [(each, each.run(backtrader.simulate)) for each in cases]


def rows(*true: int) -> np.ndarray:
    """A condition on eight candles."""
    return np.isin(np.arange(8), true)


def barely_touched() -> Case:
    """Bought at 100 with a stop at 95, which is the low of one candle."""
    return alone(candles_of(*flat(100, 4), (100, 100, 95, 99), *flat(99, 3)), FREE, stop_loss=0.05)


def opened_higher() -> Case:
    """9.70 for all of 1,000.00 at the close of 100, with the commission of 3%: 979.70 and 29.39 at the open of 101."""
    return alone(candles_of(*flat(100, 1), *flat(101, 7)), Costs(0.03, 0.0), exposure=1.0)


def alone(candles: Candles, costs: Costs, **parameters: float) -> Case:
    """One symbol, bought at the first close."""
    symbol = candles.symbol
    decisions = Decisions(rows(0), rows(), rows(), rows(), {})
    return Case({symbol: candles}, {symbol: decisions}, {symbol: FINE}, parameters, costs, 1000.0, False)


def short_of_cash() -> Case:
    """BTC has gained 5%: thirds of the equity are 335.49, and 666.67 are left in cash.

    ETH and SOL enter at the same close. Both together cannot be paid for at it because of the commission of 3%, though
    they could at the next open, which is lower.
    """
    rises = [*flat(100, 2), *flat(105, 6)]
    falls = [*flat(100, 6), *flat(97, 2)]
    prices = {"BTC/USDT": rises, "ETH/USDT": falls, "SOL/USDT": falls}
    enters = {"BTC/USDT": rows(0), "ETH/USDT": rows(5), "SOL/USDT": rows(5)}
    market = {symbol: candles_of(*each, symbol=symbol) for symbol, each in prices.items()}
    decisions = {symbol: Decisions(enter, rows(), rows(), rows(), {}) for symbol, enter in enters.items()}
    rules = dict.fromkeys(market, MarketRules(1e-6, 0.0))
    return Case(market, decisions, rules, {"exposure": 1.0}, Costs(0.03, 0.0), 1000.0, False)


def first_difference(
    source: str, reference: list[tuple[Case, Simulation]], monkeypatch: pytest.MonkeyPatch, folder: Path
) -> tuple[int, str]:
    """The number of the first case that comes out differently, and what differs; the number of cases if none does."""
    monkeypatch.setattr(compiled, "kernel", plain_python(source, folder))
    for number, (case, expected) in enumerate(reference):
        found = difference(expected, case.run(compiled.simulate))
        if found:
            return number, found
    return len(reference), ""


def test_the_kernel_as_plain_python_does_the_same(
    reference: list[tuple[Case, Simulation]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert first_difference(SOURCE, reference, monkeypatch, tmp_path) == (CASES, "")


BROKEN = {
    "an entry fills at the close": ("open_ = prices.open[candle]\n    price", "open_ = prices.close[candle]\n    price"),
    "an exit fills at the close": ("before = open_\n", "before = prices.close[candle]\n"),
    "commission on one side only": ("account.cash -= commission\n", "account.cash -= 0.0\n"),
    "no slippage of exits": ("slip = 1 - terms.slippage if size > 0 else 1 + terms.slippage", "slip = 1.0"),
    "a long stop ignores the gap at the open": ("min(open_, book.stop)", "book.stop"),
    "a short stop ignores the gap at the open": ("max(open_, book.stop)", "book.stop"),
    "a profit ignores the gap at the open": ("max(open_, book.profit)", "book.profit"),
    "a limit slips beyond itself": ("price = max(before * slip, book.profit)", "price = before * slip"),
    "a stop that is just touched does not fill": ("if low <= book.stop:", "if low < book.stop:"),
    "the profit comes before the stop": (
        "        if low <= book.stop:",
        "        if high >= book.profit:\n"
        "            book.reason, before = TAKE_PROFIT, max(open_, book.profit)\n"
        "            price = max(before * slip, book.profit)\n"
        "        elif low <= book.stop:",
    ),
    "the cash check at the open forgets the commission": (
        "    left -= commission\n    if left < 0.0:",
        "    left -= commission\n    if left + commission < 0.0:",
    ),
    "the cash check at the close forgets the commission": (
        "            if left < 0.0:",
        "            if left + abs(book.amount) * terms.commission * book.price < 0.0:",
    ),
    "the trailing stop uses the same candle's high first": (
        "while candle < end and prices.low[candle] > below",
        "while candle < end and (not trailing or not setattr(book, 'trail', max(book.trail, prices.high[candle] * (1 - trailing))))"
        " and prices.low[candle] > max(book.stop, book.trail)",
    ),
    "the trailing stop follows highs": (
        "prices.close[candle] - prices.close[candle] * trailing",
        "prices.high[candle] - prices.high[candle] * trailing",
    ),
    "lots are not cut down to whole ones": (
        "return rounded(np.floor(lots + max(1e-9, 1e-12 * lots)) * lot_step)",
        "return rounded(lots * lot_step)",
    ),
    "lots are rounded to the nearest": (
        "np.floor(lots + max(1e-9, 1e-12 * lots))",
        "np.rint(lots)",
    ),
    "sizes are not rounded": ("return nearest / 1e12", "return value"),
    "the symbols decide in the opposite order": (
        "at its close.\"\"\"\n    for symbol in range(len(books)):",
        "at its close.\"\"\"\n    for symbol in reversed(range(len(books))):",
    ),
    "orders reach the market in the opposite order": (
        "can be paid.\"\"\"\n    left = account.cash\n    for symbol in range(len(books)):",
        "can be paid.\"\"\"\n    left = account.cash\n    for symbol in reversed(range(len(books))):",
    ),
    "entries of one step do not share the cash": ("            there = left\n", "            there = left = account.cash\n"),
    "an entry waits for a late candle": (
        "if prices.days[step] > prices.days[prices.visits[book.decided]] + prices.patience[symbol]:",
        "if False:",
    ),
    "a position is held one candle longer": (
        "candle - book.filled + 1 >= terms.max_holding",
        "candle - book.filled >= terms.max_holding",
    ),
    "the candle of the fill can trigger the stop": (
        "book.next = next_of_position(prices, flags, terms, book, symbol, candle + 1)",
        "book.next = next_of_position(prices, flags, terms, book, symbol, candle)",
    ),
    "long and short at once buy": ("if long == flags.enter_short[candle]:", "if not long and not flags.enter_short[candle]:"),
    "one position too many": ("if account.taken >= terms.max_positions:", "if account.taken > terms.max_positions:"),
    "orders that are below the minimum notional are sent": ("or size * close < prices.min_notional[symbol]", ""),
    "shorts where they are not allowed": ("if not (long or terms.allow_short):", "if False:"),
    "the share is ignored": ("terms.exposure * flags.share[candle] if len(flags.share) else terms.exposure", "terms.exposure"),
    "a size is of the cash and not of the equity": ("max(0.0, account.equity)", "max(0.0, account.cash)"),
    "a short position is worth nothing": ("equity[at] += size * closes[at]\n    for", "equity[at] += 0.0\n    for"),
}  # fmt: skip


@pytest.mark.parametrize("rule", BROKEN)
def test_parity_fails_where_one_rule_is_broken(
    rule: str, reference: list[tuple[Case, Simulation]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    right, wrong = BROKEN[rule]
    assert SOURCE.count(right) == 1
    assert first_difference(SOURCE.replace(right, wrong), reference, monkeypatch, tmp_path)[1]
