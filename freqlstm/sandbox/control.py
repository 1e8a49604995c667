"""The controls under /control: steps, faults, wipes, and the truth of what happened."""

from __future__ import annotations

import json
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

from aiohttp import web

from freqlstm.errors import FreqlstmError, UsageError
from freqlstm.sandbox.faults import DEFAULTS, KINDS
from freqlstm.sandbox.refusal import Refusal

if TYPE_CHECKING:  # the server has controls, and they control the server
    from freqlstm.sandbox.server import Sandbox

READ = ("connect", "state", "faults")


class Control:
    """Answers GET /control/VERB, and POST /control/VERB with a JSON object of what the verb needs."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox

    async def handle(self, request: web.Request) -> web.Response:
        """One request: 200 with its outcome, or 400 with one line that says what is wrong."""
        verb = request.match_info["verb"]
        read = request.method == "GET"
        do = getattr(self, f"_{'get' if read else 'do'}_{verb}", None)
        try:
            if do is None:
                known = [name.removeprefix("_do_") for name in dir(self) if name.startswith("_do_")]
                raise UsageError(
                    f"No control {request.method} {verb}. GET knows {', '.join(READ)}; POST knows {', '.join(known)}."
                )
            given = {} if read else await request.json() if await request.read() else {}
            if not isinstance(given, dict):
                raise UsageError(f"The body is {str(given)[:40]!r}. It must be a JSON object.")
            return web.json_response(await do(**given))
        except (FreqlstmError, Refusal) as error:
            return web.json_response({"error": str(error)}, status=400)
        except (TypeError, ValueError, KeyError, InvalidOperation, json.JSONDecodeError) as error:
            return web.json_response({"error": f"{verb}: {error}. See the names of its options."}, status=400)

    async def _get_connect(self) -> dict[str, Any]:
        return self.sandbox.described()

    async def _get_state(self) -> dict[str, Any]:
        return self.sandbox.venue.truth()

    async def _get_faults(self) -> dict[str, Any]:
        kinds = {kind: {"what": f"{where} {what}", **DEFAULTS.get(kind, {})} for kind, (where, what) in KINDS.items()}
        return {**self.sandbox.venue.faults.listed(), "kinds": kinds}

    async def _do_step(self, candles: int | None = None, ticks: int = 0) -> dict[str, Any]:
        return await self.sandbox.step((0 if ticks else 1) if candles is None else candles, ticks)

    async def _do_run(self, speed: float) -> dict[str, Any]:
        self.sandbox.run(float(speed))
        return {"speed": self.sandbox.venue.replay.speed}

    async def _do_fault(self, kind: str, **options: Any) -> dict[str, Any]:
        return self.sandbox.arm(kind, **options).listed()

    async def _do_calm(self) -> dict[str, Any]:
        self.sandbox.venue.faults.clear()
        return self.sandbox.venue.faults.listed()

    async def _do_strike(self, kind: str, path: str = "", **options: Any) -> dict[str, Any]:
        return {"struck": self.sandbox.strike(kind, path, **options)}

    async def _do_wipe(self) -> dict[str, Any]:
        self.sandbox.wipe()
        return {"epoch": self.sandbox.venue.epoch}

    async def _do_maintain(self, candles: int = 1) -> dict[str, Any]:
        return {"absent": self.sandbox.venue.maintain(int(candles))}

    async def _do_status(self, symbol: str, status: str) -> dict[str, Any]:
        name = symbol.replace("/", "")
        self.sandbox.venue.set_status(name, status)
        return {"symbol": name, "status": status}

    async def _do_revoke(self, key: str | None = None, revoked: bool = True) -> dict[str, Any]:
        self.sandbox.revoke(self._key(key), revoked)
        return {"revoked": revoked}

    async def _do_rights(self, may_withdraw: bool, key: str | None = None) -> dict[str, Any]:
        self.sandbox.venue.accounts[self._key(key)].may_withdraw = may_withdraw
        return {"may_withdraw": may_withdraw}

    async def _do_deposit(self, asset: str, amount: str, key: str | None = None) -> dict[str, Any]:
        account = self.sandbox.venue.accounts[self._key(key)]
        self.sandbox.venue.deposit(account.key, asset, Decimal(str(amount)))
        self.sandbox.keep()
        return {"asset": asset, "free": str(account.balance(asset).free)}

    async def _do_skew(self, milliseconds: int) -> dict[str, Any]:
        self.sandbox.skew(int(milliseconds))
        return {"now": self.sandbox.venue.now}

    async def _do_liquidity(
        self, levels: int | None = None, amount: str | None = None, spread: int | None = None
    ) -> dict[str, Any]:
        shape = self.sandbox.thin(levels, None if amount is None else Decimal(str(amount)), spread)
        return {"levels": shape.levels, "amount": str(shape.amount), "spread": shape.spread}

    def _key(self, key: str | None) -> str:
        """The account that is meant: the only one, if none is named."""
        accounts = self.sandbox.venue.accounts
        if key is None and len(accounts) == 1:
            return next(iter(accounts))
        if key not in accounts:
            raise UsageError(f"No account has the key {key!r}. Name one of the {len(accounts)} that there are.")
        return str(key)
