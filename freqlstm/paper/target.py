"""Where paper orders may go: the testnet, the demo exchange and this machine, and nowhere else."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit
from urllib.request import ProxyHandler, build_opener

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from freqlstm.errors import BadAnswer, ExchangeUnavailable, PaperError, UnknownName
from freqlstm.paper.keys import Keys

TESTNET_HOSTS = frozenset({"testnet.binance.vision", "stream.testnet.binance.vision", "ws-api.testnet.binance.vision"})
DEMO_HOSTS = frozenset({"demo-api.binance.com", "demo-stream.binance.com", "demo-ws-api.binance.com"})
ALLOWED = TESTNET_HOSTS | DEMO_HOSTS


@dataclass(frozen=True)
class Target:
    """An exchange that is safe to send orders to.

    A sandbox answers in the testnet's name: its hosts are resolved to ``address`` on this machine, and its certificate is
    signed by ``authority`` (PEM), which nothing else trusts and which is a new one whenever the sandbox is started: it is
    then asked for again at ``control``. ``speed`` is how many times faster its clock runs; one that is
    ``stepped`` stands in between, so that its clock may leap.
    """

    name: str
    hosts: frozenset[str]
    address: tuple[str, int] | None = None
    authority: str = ""
    control: str = ""
    speed: float = 1.0
    stepped: bool = False

    def __post_init__(self) -> None:
        if not self.hosts <= ALLOWED:
            raise PaperError(
                f"{', '.join(sorted(self.hosts - ALLOWED))} is not an exchange for paper trading. Orders go to the testnet, to the demo "
                f"exchange or to a sandbox on this machine, never to a live exchange."
            )
        if self.address is not None and not _is_loopback(self.address[0]):
            raise PaperError(
                f"The sandbox at {self.address[0]} is not on this machine. Its address must be 127.0.0.1 or ::1."
            )

    @property
    def demo(self) -> bool:
        """Whether it is the demo exchange, which shows the live exchange's prices."""
        return self.hosts == DEMO_HOSTS

    def connector(self) -> aiohttp.TCPConnector:
        """What opens connections; asked for any other host, or for any address by number, it fails."""
        context = ssl.create_default_context() if self.address is None else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        if self.authority:
            context.load_verify_locations(cadata=self.authority)
        return _Connector(self, context, resolver=_Resolver(self), ssl=context, ttl_dns_cache=60)


def sandbox(url: str) -> tuple[Target, Keys | None]:
    """The sandbox whose controls are at ``url`` (http://127.0.0.1:8080), and its keys unless somebody chose others."""
    told = _connection_of(url)
    speed = float(told["speed"])
    keys = next((Keys(key, secret) for key, secret in told["keys"].items()), None)
    address = ("127.0.0.1", int(told["tls_port"]))
    return Target("sandbox", TESTNET_HOSTS, address, told["authority"], url, speed or 1.0, not speed), keys


def _connection_of(url: str) -> dict[str, Any]:
    parts = urlsplit(url)
    if parts.scheme != "http" or not parts.hostname or not _is_loopback(parts.hostname):
        raise PaperError(f"The sandbox at {url!r} is not on this machine. It is like http://127.0.0.1:8080.")
    try:
        with build_opener(ProxyHandler({})).open(f"{url.rstrip('/')}/control/connect", timeout=5) as answer:
            told = json.load(answer)
    except (OSError, ValueError) as error:
        raise ExchangeUnavailable(
            f"No sandbox answers at {url} ({error}). Start one with `freqlstm sandbox`."
        ) from error
    if not isinstance(told, dict) or not {"tls_port", "authority", "keys", "speed"} <= told.keys():
        raise BadAnswer(f"What answers at {url} is no sandbox. Start one with `freqlstm sandbox`.")
    return told


TARGETS: Mapping[str, Target] = {
    "testnet": Target("testnet", TESTNET_HOSTS),
    "demo": Target("demo", DEMO_HOSTS),
}


def target(name: str) -> Target:
    """The exchange of that name on the internet; a live exchange is refused."""
    if name in ("binance", "live", "mainnet"):
        raise PaperError(f"Exchange {name!r} is live: orders there cost real money. Choose testnet, demo or sandbox.")
    if name not in TARGETS:
        raise UnknownName("exchange for paper trading", name, [*TARGETS, "sandbox"])
    return TARGETS[name]


class _Resolver(AbstractResolver):
    """Knows the hosts of one target only."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._real: AbstractResolver | None = None

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        if host not in self._target.hosts:
            raise OSError(f"{host} is not a host of {self._target.name}")
        if self._target.address is None:
            self._real = self._real or aiohttp.ThreadedResolver()
            return await self._real.resolve(host, port, family)
        address, port = self._target.address
        kind = socket.AF_INET6 if ":" in address else socket.AF_INET
        return [
            ResolveResult(hostname=host, host=address, port=port, family=kind, proto=0, flags=socket.AI_NUMERICHOST)
        ]

    async def close(self) -> None:
        if self._real is not None:
            await self._real.close()


class _Connector(aiohttp.TCPConnector):
    """Refuses what never reaches a resolver: addresses by number, other schemes than https and wss, and proxies."""

    def __init__(self, target: Target, context: ssl.SSLContext, **options: Any) -> None:
        super().__init__(**options)
        self._target, self._context = target, context

    async def connect(self, req: Any, traces: Any, timeout: Any) -> Any:
        if req.url.host not in self._target.hosts or req.url.scheme not in ("https", "wss") or req.proxy is not None:
            raise OSError(f"{req.url.scheme}://{req.url.host} must not be contacted")
        try:
            return await super().connect(req, traces, timeout)
        except aiohttp.ClientConnectorCertificateError:
            if not self._target.control:
                raise
        told = await asyncio.to_thread(_connection_of, self._target.control)  # it was started again
        self._context.load_verify_locations(cadata=told["authority"])
        return await super().connect(req, traces, timeout)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
