"""How a client reaches a sandbox under the addresses of the testnet, and nothing else in the world."""

from __future__ import annotations

import socket
import ssl

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from freqlstm.sandbox.tls import HOSTS


class Loopback(AbstractResolver):
    """Resolves the hosts of the testnet to a port of this machine, and refuses every other name."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.refused: list[str] = []

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """The one address that there is."""
        if host not in HOSTS:
            self.refused.append(host)
            raise OSError(f"{host} is not reached from here: only {', '.join(HOSTS)} are, and they are this machine.")
        return [
            ResolveResult(
                hostname=host, host="127.0.0.1", port=self.port, family=socket.AF_INET, proto=0,
                flags=socket.AI_NUMERICHOST,
            )
        ]  # fmt: skip

    async def close(self) -> None:
        """Nothing is held."""


def loopback_session(port: int, authority: str) -> aiohttp.ClientSession:
    """A session for ccxt (``session=`` in its configuration) whose testnet is the sandbox at that TLS port.

    ``authority`` is the certificate that the sandbox gives out. No other name is resolved and no address is reached
    through a proxy, so an unmodified client with ``set_sandbox_mode(True)`` can reach nothing but the sandbox. Close it
    after use.
    """
    trust = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trust.load_verify_locations(cadata=authority)
    connector = _OnlyNamed(resolver=Loopback(port), ssl=trust, use_dns_cache=False)
    return aiohttp.ClientSession(connector=connector, trust_env=False)


class _OnlyNamed(aiohttp.TCPConnector):
    """A connector that asks its resolver about addresses in numbers as well, so that none is reached past it."""

    async def _resolve_host(self, host: str, port: int, traces: object = None) -> list[ResolveResult]:
        return await self._resolver.resolve(host, port)
