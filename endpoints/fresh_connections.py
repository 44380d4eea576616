"""How checks reach an endpoint: over a connection that was opened for them, at a host or at a Unix socket."""

from __future__ import annotations

from typing import Final

import httpx

# The extension of a request with the path of the socket to ask at, empty for the host of its URL.
SOCKET: Final = "ollaproject.socket"


class FreshConnections(httpx.AsyncBaseTransport):
    """A connection for each request: to the Unix socket that its extension names, else to its URL's host."""

    def __init__(self) -> None:
        self._tls = httpx.create_ssl_context()  # verifies; honours SSL_CERT_FILE, as the upstream side does
        self._to_hosts = self._transport(None)

    def _transport(self, socket_path: str | None) -> httpx.AsyncHTTPTransport:
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
        return httpx.AsyncHTTPTransport(verify=self._tls, trust_env=False, limits=limits, uds=socket_path)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        path = request.extensions[SOCKET]
        transport = self._transport(path) if path else self._to_hosts
        return await transport.handle_async_request(request)

    async def aclose(self) -> None:
        await self._to_hosts.aclose()
