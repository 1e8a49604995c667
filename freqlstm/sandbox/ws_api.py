"""The WS-API: user data streams and orders over one websocket."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from freqlstm.sandbox.accounts import Account, check_signature, check_timing, owner
from freqlstm.sandbox.connections import Connection, Connections
from freqlstm.sandbox.gate import Dropped, Gate, Reply
from freqlstm.sandbox.operations import BY_METHOD
from freqlstm.sandbox.refusal import Refusal


class WsApi:
    """Answers requests of the form ``{"id": …, "method": …, "params": {…}}``."""

    def __init__(self, gate: Gate, connections: Connections) -> None:
        self.gate = gate
        self.connections = connections
        self._subscribed = 0

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """A websocket at /ws-api/v3."""
        return await self.connections.serve(request, "user", self._answer)

    async def _answer(self, connection: Connection, asked: Any) -> None:
        if not isinstance(asked, dict) or not isinstance(asked.get("params", {}), dict):
            connection.send(_failed(None, Refusal(-1135, "Invalid JSON Request")))
            return
        number, method, parameters = asked.get("id"), str(asked.get("method", "")), asked.get("params", {})
        given = {name: _written(value) for name, value in parameters.items()}
        own = getattr(self, f"_{method.replace('.', '_')}", None) if method in SESSION else None
        try:
            if own is not None:
                connection.send(self._reply(number, Reply(200, own(connection, given))))
            elif method in BY_METHOD:
                reply = await self.gate.serve(
                    BY_METHOD[method], given, lambda: self._authorise(given), method, "", given.get("apiKey", "")
                )
                if reply.page is not None:
                    raise Dropped
                connection.send(self._reply(number, reply))
            else:
                connection.send(_failed(number, Refusal(-1020, f"This operation is not supported: {method}.")))
        except Refusal as refusal:
            connection.send(_failed(number, refusal))
        except Dropped:
            connection.abort()

    def _reply(self, number: Any, reply: Reply) -> dict[str, Any]:
        limits = [{**row, "count": self.gate.venue.usage.weight} for row in self.gate.venue.terms.limits.listed()[:1]]
        outcome = "result" if reply.status == 200 else "error"
        return {"id": number, "status": reply.status, outcome: reply.body, "rateLimits": limits}

    def _authorise(self, given: dict[str, str]) -> Account:
        account = owner(self.gate.venue.accounts, given.get("apiKey"))
        payload = "&".join(f"{name}={given[name]}" for name in sorted(given) if name != "signature")
        check_signature(account, payload, given.get("signature"))
        check_timing(given, self.gate.venue.now)
        return account

    def _userDataStream_subscribe_signature(self, connection: Connection, given: dict[str, str]) -> dict[str, Any]:  # noqa: N802
        fault = self.gate.venue.faults.take("subscribe", key=given.get("apiKey", ""))
        if fault is not None:
            raise Refusal(int(fault.details["code"]), str(fault.details["message"]))
        account = self._authorise(given)
        if account in connection.subscriptions.values():
            raise Refusal(-2035, "User Data Stream subscription already active.")
        number = self._subscribed
        self._subscribed += 1
        connection.subscriptions[number] = account
        return {"subscriptionId": number}

    def _userDataStream_unsubscribe(self, connection: Connection, given: dict[str, str]) -> dict[str, Any]:  # noqa: N802
        wanted = given.get("subscriptionId")
        for number in [each for each in connection.subscriptions if wanted in (None, str(each))]:
            del connection.subscriptions[number]
        return {}

    def _session_subscriptions(self, connection: Connection, given: dict[str, str]) -> list[dict[str, int]]:
        return [{"subscriptionId": number} for number in connection.subscriptions]

    def _session_status(self, connection: Connection, given: dict[str, str]) -> dict[str, Any]:
        return {
            "apiKey": None, "authorizedSince": None, "connectedSince": connection.opened, "returnRateLimits": True,
            "serverTime": self.gate.venue.now, "userDataStream": bool(connection.subscriptions),
        }  # fmt: skip

    def _session_logout(self, connection: Connection, given: dict[str, str]) -> dict[str, Any]:
        return self._session_status(connection, given)

    def _session_logon(self, connection: Connection, given: dict[str, str]) -> dict[str, Any]:
        raise Refusal(-1020, "This operation is not supported: only Ed25519 keys can log on.")


SESSION = {
    "userDataStream.subscribe.signature", "userDataStream.unsubscribe", "session.subscriptions", "session.status",
    "session.logout", "session.logon",
}  # fmt: skip


def _written(value: Any) -> str:
    """A value as it stands in the payload that is signed."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _failed(number: Any, refusal: Refusal) -> dict[str, Any]:
    return {"id": number, "status": refusal.status, "error": refusal.body}
