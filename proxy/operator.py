"""What operators and their machines read: liveness, readiness, status, version. Off the request path."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from channels.db import database_sync_to_async

from proxy import conditional, errors, readiness, status, version
from proxy.consumers import READ_METHODS, GatewayConsumer, routing_table_loaded

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from proxy.call import Call

HEALTHY = {"status": "healthy"}


class OperatorConsumer(GatewayConsumer):
    """`/internal/…`, `/version`, `/livez`, `/readyz`, `/health`."""

    async def answer(self, call: Call) -> None:
        path = call.path.rstrip(b"/")
        self.gateway.guard.check_host(call.scope)
        respond = self._open().get(path)
        if respond is None:
            await routing_table_loaded()
            call.caller = self.gateway.guard.authenticate(call.scope)
            respond = self._guarded().get(path)
        if respond is None:
            raise errors.not_found(path.decode("latin-1"))
        if call.method not in READ_METHODS:
            raise errors.method_not_allowed(call.method, READ_METHODS)
        await respond(call)

    def _open(self) -> dict[bytes, Callable[[Call], Awaitable[None]]]:
        """Open to whoever reaches us: they tell nothing that a stranger could use."""
        return {
            b"/internal/health": self._alive,
            b"/health": self._alive,
            b"/livez": self._alive,
            b"/readyz": self._ready,
            b"/version": self._version,
        }

    def _guarded(self) -> dict[bytes, Callable[[Call], Awaitable[None]]]:
        return {
            b"/internal/status": self._status,
            b"/internal/status/endpoints": self._endpoints,
        }

    async def _alive(self, call: Call) -> None:
        await call.respond_json(200, HEALTHY)

    async def _ready(self, call: Call) -> None:
        await routing_table_loaded()
        found = await readiness.check()
        payload: dict[str, Any] = {"status": "ready" if found.ready else "not ready", **asdict(found)}
        await call.respond_json(200 if found.ready else 503, payload)

    async def _version(self, call: Call) -> None:
        await call.respond_json(200, version.describe())

    async def _status(self, call: Call) -> None:
        states = await database_sync_to_async(status.fleet)()
        gateway = self.gateway
        payload = status.overview(states, gateway.records, gateway.admission, gateway.limiter)
        await conditional.respond(call, payload)

    async def _endpoints(self, call: Call) -> None:
        states = await database_sync_to_async(status.fleet)()
        await conditional.respond(call, status.endpoint_list(states, self.gateway.records))
