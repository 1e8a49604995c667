"""The REST API under /api/v3."""

from __future__ import annotations

import json
import re
from urllib.parse import parse_qsl

from aiohttp import web

from freqlstm.sandbox.accounts import Account, check_signature, check_timing, owner
from freqlstm.sandbox.gate import Dropped, Gate, Reply
from freqlstm.sandbox.operations import BY_REQUEST
from freqlstm.sandbox.refusal import Refusal

JSON = "application/json;charset=UTF-8"


class Rest:
    """Answers HTTP requests: the signature is over the raw query and body, as they were sent."""

    def __init__(self, gate: Gate) -> None:
        self.gate = gate

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """One request."""
        venue = self.gate.venue
        operation = BY_REQUEST.get((request.method, request.path))
        if request.path == "/api/v3/userDataStream":  # listen keys are no more
            return web.Response(
                status=410, text="<html><body><h1>410 Gone</h1></body></html>", content_type="text/html"
            )
        if operation is None:
            return web.Response(
                status=404, text="<html><body><h1>404 Not found</h1></body></html>", content_type="text/html"
            )
        query, body = request.raw_path.partition("?")[2], (await request.read()).decode("utf-8", "replace")
        key = request.headers.get("X-MBX-APIKEY", "")
        try:
            parameters = parameters_of(body) | parameters_of(query)
        except Refusal as refusal:
            return _response(Reply(refusal.status, refusal.body))

        def authorise() -> Account:
            account = owner(venue.accounts, key)
            check_signature(account, unsigned(query) + unsigned(body), parameters.get("signature"))
            check_timing(parameters, venue.now)
            return account

        try:
            reply = await self.gate.serve(operation, parameters, authorise, request.path, request.method, key)
        except Dropped:
            if request.transport is not None:
                request.transport.abort()
            return web.Response()
        return _response(reply)


def parameters_of(raw: str) -> dict[str, str]:
    """What a query or body says; of what both say, the query counts."""
    pairs = parse_qsl(raw, keep_blank_values=True)
    parameters = dict(pairs)
    if len(parameters) != len(pairs):
        raise Refusal(-1101, "Duplicate values for a parameter detected.")
    return parameters


def unsigned(raw: str) -> str:
    """A query or body without its signature, otherwise as it is."""
    return re.sub(r"^&", "", re.sub(r"(^|&)signature=[^&]*", "", raw))


def _response(reply: Reply) -> web.Response:
    if reply.page is not None:
        return web.Response(status=reply.status, text=reply.page, content_type="text/html", headers=reply.headers)
    body = json.dumps(reply.body, separators=(",", ":")).encode()
    return web.Response(status=reply.status, body=body, headers={**reply.headers, "Content-Type": JSON})
