"""Beginning a session, which is the same as recovering one: make certain of everything, then allow trading."""

from __future__ import annotations

import asyncio
import difflib
from collections.abc import Mapping, Sequence
from typing import Any

from freqlstm.errors import ExchangeUnavailable, KeysError, LedgerError, UnknownMarket
from freqlstm.paper.account import Account, balances_of
from freqlstm.paper.client import Client, patiently
from freqlstm.paper.journal import Journal
from freqlstm.paper.money import SymbolRules
from freqlstm.paper.orders import Orders
from freqlstm.paper.outcome import ARCHIVED, KEYS, NO_SUCH_ORDER, CallFailed, described
from freqlstm.paper.pace import Pace
from freqlstm.paper.records import Order, State
from freqlstm.paper.target import Target

TRIES = 4  # comparisons of ledger and balances: a fill may fall between two questions
RESET = "the exchange was reset"


async def reach(client: Client, target: Target) -> None:
    """Set the clock by the exchange's; an error of one line if it cannot be reached."""
    for attempt in range(3):
        try:
            await client.time()
        except CallFailed as failure:
            if attempt == 2:
                raise ExchangeUnavailable(
                    f"The {target.name} exchange cannot be reached ({failure}). Check the network and, for a sandbox, that it runs."
                ) from failure
            await asyncio.sleep(0.2)


async def read_rules(client: Client, target: Target, pairs: Sequence[str]) -> dict[str, SymbolRules]:
    """The rules of every pair; a pair that the exchange does not list, or does not trade, is refused."""
    try:
        markets = await client.load_markets()
    except Exception as error:  # ccxt's parsers raise anything on a body they do not expect
        raise ExchangeUnavailable(
            f"The {target.name} exchange does not say what it trades ({described(error)}). Try again later."
        ) from error
    rules = {}
    for pair in pairs:
        if pair not in markets:
            near = difflib.get_close_matches(pair, markets, n=1)
            raise UnknownMarket(
                f"The {target.name} exchange does not list {pair!r}." + (f" Did you mean {near[0]!r}?" if near else "")
            )
        rules[pair] = SymbolRules.listed(pair, markets[pair]["info"])
        if not rules[pair].trading:
            raise UnknownMarket(
                f"{pair} is halted at the {target.name} exchange (status {markets[pair]['info'].get('status')}). Wait, or choose another pair."
            )
    return rules


async def read_account(client: Client, target: Target, *, may_withdraw: bool) -> Mapping[str, Any]:
    """The account of the keys; keys that are refused, or could move money out, end in a KeysError."""
    try:
        account = await patiently(client.held, client)
    except CallFailed as failure:
        if failure.code in KEYS:
            raise KeysError(
                f"The {target.name} exchange refuses these API keys ({failure.code} {failure.answer.message.rstrip('.')}). "
                f"{_where(target)}"
            ) from failure
        raise ExchangeUnavailable(
            f"The {target.name} exchange does not show the account ({failure}). Try again later."
        ) from failure
    if account.get("canWithdraw") is True and not may_withdraw:
        raise KeysError(
            f"These API keys belong to an account that may withdraw at the {target.name} exchange. Use keys without that right: trading on "
            f"paper never needs it."
        )
    if account.get("canTrade") is False:
        raise KeysError(
            f"These API keys may not trade at the {target.name} exchange. Allow spot trading for them, or make new ones."
        )
    return account


def _where(target: Target) -> str:
    if target.name == "sandbox":
        return "Use the keys that `freqlstm sandbox` printed when it started."
    site = "https://demo.binance.com" if target.demo else "https://testnet.binance.vision"
    return f"Keys of the live exchange do not work there, and must not: make some at {site}."


async def recover(
    client: Client,
    journal: Journal,
    account: Account,
    orders: Orders,
    pace: Pace,
    *,
    may_withdraw: bool,
    accept: bool,
    target: Target,
) -> None:
    """Resolve every order, notice a reset, and compare ledger and balances; ``accept``: take over what differs."""
    now = client.clock.now_ms()
    held = balances_of(await read_account(client, target, may_withdraw=may_withdraw))
    totals = {asset: balance.total for asset, balance in held.items()}
    if journal.epoch == 0:
        journal.begin_epoch("the session began", totals, now)
        account.load()
    elif await was_reset(client, journal, account, pace):
        _begin_anew(journal, RESET, totals, now)
        account.load()
    orders.give_up_unsent()
    await orders.recover()
    if not journal.orders() and account.differences(held):
        _begin_anew(journal, "the account changed before anything was traded", totals, now)
        account.load()
    for attempt in range(TRIES):
        held = balances_of(await read_account(client, target, may_withdraw=may_withdraw))
        differences = account.differences(held)
        if not differences:
            break
        if attempt < TRIES - 1:
            await asyncio.sleep(0.1 * 2**attempt)
            await orders.recover()
            await orders.look_again()
    if differences and not accept:
        raise LedgerError(
            f"The account does not hold what this session left there: {'; '.join(map(str, differences))}. Nothing is sent. Find out who "
            f"else traded there, then go on with --accept-balances, or begin a new session."
        )
    for one in differences:
        journal.add_adjustment(
            f"accepted {now} {one.asset}", one.asset, one.account - one.ledger, now, "accepted by hand"
        )
    journal.add_balances(client.clock.now_ms(), held, "start")


async def was_reset(client: Client, journal: Journal, account: Account, pace: Pace) -> bool:
    """Whether the exchange has forgotten an order that it had accepted: a test exchange is wiped now and then."""
    accepted = [order for order in journal.orders() if order.exchange_id is not None]
    if not accepted:
        return False
    newest = accepted[-1]
    for attempt in range(3):
        if await _knows(client, account, newest):
            return False
        last = (newest.sent_ms or 0) + newest.window_ms + pace.slack_ms(client.clock.speed)
        while client.clock.now() <= last:  # it may not be visible yet
            await asyncio.sleep(0.1)
        await asyncio.sleep(0.05 * 2**attempt)
    return True


async def _knows(client: Client, account: Account, order: Order) -> bool:
    query = {"symbol": account.rules[order.intent.symbol].id, "origClientOrderId": order.cid}
    try:
        body = await patiently(lambda: client.ask("privateGetOrder", query, weight=4), client)
    except CallFailed as failure:
        if failure.code in (NO_SUCH_ORDER, ARCHIVED):
            return failure.code == ARCHIVED
        raise ExchangeUnavailable(
            f"The exchange does not say what became of order {order.cid} ({failure}). Try again later."
        ) from failure
    return isinstance(body, dict) and body.get("orderId") == order.exchange_id


def _begin_anew(journal: Journal, why: str, totals: Mapping[str, Any], now: int) -> None:
    """End the epoch: what was open is gone with it."""
    for order in journal.orders(unresolved=True):
        journal.update_order(order.cid, state=State.CANCELED, note=why, resolved_ms=now)
    journal.event("epoch", now, why=why, ended=journal.epoch)
    journal.begin_epoch(why, totals, now)
