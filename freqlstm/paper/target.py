"""Where paper orders may go: the testnet, the demo exchange and this machine, and nowhere else."""

from __future__ import annotations

import ipaddress
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from freqlstm.errors import PaperError, UnknownName, UsageError

TESTNET_HOSTS = frozenset({"testnet.binance.vision", "stream.testnet.binance.vision", "ws-api.testnet.binance.vision"})
DEMO_HOSTS = frozenset({"demo-api.binance.com", "demo-stream.binance.com", "demo-ws-api.binance.com"})
ALLOWED = TESTNET_HOSTS | DEMO_HOSTS


@dataclass(frozen=True)
class Target:
    """An exchange that is safe to send orders to.

    A sandbox answers in the testnet's name: its hosts are resolved to ``address`` on this machine, and its certificate is
    signed by the authority in the file ``authority``, which nothing else trusts. ``speed`` is how many times faster its clock runs.
    """

    name: str
    hosts: frozenset[str]
    address: tuple[str, int] | None = None
    authority: Path | None = None
    speed: float = 1.0

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
        context = ssl.create_default_context(cafile=None if self.authority is None else str(self.authority))
        return _Connector(self.hosts, resolver=_Resolver(self), ssl=context, ttl_dns_cache=60)


def sandbox(address: str, authority: Path, speed: float = 1.0) -> Target:
    """The sandbox at ``address`` (127.0.0.1:8443), whose certificate authority is in the PEM file ``authority``."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise UsageError(f"The sandbox's address is {address!r}. It must be HOST:PORT, as in 127.0.0.1:8443.")
    if not authority.is_file():
        raise UsageError(f"There is no certificate {authority}. `freqlstm sandbox` writes it when it starts.")
    return Target("sandbox", TESTNET_HOSTS, (host.strip("[]"), int(port)), authority, speed)


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
    """Refuses what never reaches a resolver: addresses by number, and other schemes than https and wss."""

    def __init__(self, hosts: frozenset[str], **options: Any) -> None:
        super().__init__(**options)
        self._hosts = hosts

    async def connect(self, req: Any, traces: Any, timeout: Any) -> Any:
        if req.url.host not in self._hosts or req.url.scheme not in ("https", "wss") or req.proxy is not None:
            raise OSError(f"{req.url.scheme}://{req.url.host} must not be contacted")
        return await super().connect(req, traces, timeout)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
