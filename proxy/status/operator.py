"""What operators and their machines read: liveness, readiness, status, version. Off the request path."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from channels.db import database_sync_to_async
from django.db import DatabaseError, InterfaceError

from proxy import errors
from proxy.boundary import READ_METHODS, GatewayConsumer
from proxy.request import headers
from proxy.routing.tables import routing_table_loaded
from proxy.status import conditional, metrics, model_status, process_status, readiness, status, version

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from proxy.call import Call
    from proxy.records.shared_counts import Traffic
    from proxy.status.status import EndpointState

HEALTHY = {"status": "healthy"}


class OperatorConsumer(GatewayConsumer):
    """`/internal/…`, `/version`, `/livez`, `/readyz`, `/health`."""

    async def answer(self, call: Call) -> None:
        path = call.path.rstrip(b"/")
        self.gateway.guard.check_host(call.head)
        respond = self._open().get(path)
        if respond is None:
            await routing_table_loaded()
            call.caller = self.gateway.guard.authenticate(call.scope)
            respond = self._guarded().get(path)
        if respond is None:
            raise errors.not_found(path.decode("latin-1"))
        if call.method not in READ_METHODS:
            raise errors.method_not_allowed(call.method, READ_METHODS)
        try:
            await respond(call)
        except (DatabaseError, InterfaceError):
            raise errors.database_away() from None

    def _open(self) -> dict[bytes, Callable[[Call], Awaitable[None]]]:
        """Open to whoever reaches us: they tell nothing that a stranger could use."""
        return {
            b"/internal/health": self._alive,
            b"/health": self._alive,
            b"/livez": self._alive,
            b"/readyz": self._ready,
            b"/version": self._version,
            b"/internal/ui": self._dashboard,
        }

    def _guarded(self) -> dict[bytes, Callable[[Call], Awaitable[None]]]:
        return {
            b"/internal/status": self._status,
            b"/internal/status/endpoints": self._endpoints,
            b"/internal/status/models": self._models,
            b"/internal/stats/models": self._model_stats,
            b"/internal/stats/translators": self._translator_stats,
            b"/internal/stats/sticky": self._sticky_stats,
            b"/internal/process": self._process,
            b"/internal/metrics": self._metrics,
            b"/metrics": self._metrics,
        }

    async def _alive(self, call: Call) -> None:
        if call.head.is_loop:
            raise errors.gateway_loop()
        await call.respond_json(200, HEALTHY)

    async def _ready(self, call: Call) -> None:
        await routing_table_loaded()
        found = await readiness.check()
        payload: dict[str, Any] = {"status": "ready" if found.ready else "not ready", **asdict(found)}
        await call.respond_json(200 if found.ready else 503, payload)

    async def _dashboard(self, call: Call) -> None:
        """Where Olla has its dashboard. Ours asks who comes by itself."""
        await call.respond(302, b"", [(b"location", b"/")])

    async def _version(self, call: Call) -> None:
        await call.respond_json(200, version.describe())

    async def _status(self, call: Call) -> None:
        states, traffic = await self._known()
        gateway = self.gateway
        payload = await asyncio.to_thread(
            status.overview, states, traffic, gateway.admission, gateway.limiter
        )
        await conditional.respond(call, payload)

    async def _endpoints(self, call: Call) -> None:
        states, traffic = await self._known()
        await conditional.respond(call, await asyncio.to_thread(status.endpoint_list, states, traffic))

    async def _models(self, call: Call) -> None:
        """`?detailed=true&group=family`."""
        asked = dict(parse_qsl(call.scope["query_string"].decode("latin-1")))
        seen = await database_sync_to_async(model_status.last_seen)()
        payload = model_status.models(
            seen, detailed=asked.get("detailed") == "true", grouped=asked.get("group") == "family"
        )
        await conditional.respond(call, payload)

    async def _model_stats(self, call: Call) -> None:
        await conditional.respond(call, model_status.model_stats(await self.gateway.traffic()))

    async def _translator_stats(self, call: Call) -> None:
        await conditional.respond(call, model_status.translator_stats(await self.gateway.traffic()))

    async def _sticky_stats(self, call: Call) -> None:
        sticky = self.gateway.sticky
        if sticky is None:
            await conditional.respond(call, {"enabled": False})
            return
        traffic = await self.gateway.traffic()
        figures = sticky.figures_of_all(traffic.counts.named.get("sticky", {}), traffic.sessions)
        await conditional.respond(call, dict(figures))

    async def _process(self, call: Call) -> None:
        await call.respond_json(200, process_status.describe())

    async def _metrics(self, call: Call) -> None:
        states, traffic = await self._known()
        accept = headers.value(call.headers, b"accept").decode("latin-1")
        # Of a thousand endpoints that is 200 ms, and streams must not stand still for as long.
        body, content_type = await asyncio.to_thread(metrics.render, states, traffic, accept=accept)
        await call.respond(200, body, [(b"content-type", content_type.encode())])

    async def _known(self) -> tuple[list[EndpointState], Traffic]:
        """The fleet, and what was counted of it."""
        traffic = await self.gateway.traffic()
        return await database_sync_to_async(status.fleet)(), traffic
