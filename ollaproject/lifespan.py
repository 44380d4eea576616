"""Start and stop of a web process, as ASGI's lifespan protocol tells it (uvicorn does, daphne does not).

At start the routing table is loaded before the first request is taken.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from endpoints.routing import watch
from ollaproject.parent import end_with_parent
from proxy.records import ledger, request_log, shared_counts
from proxy.routes import gateway

if TYPE_CHECKING:
    from ollaproject.wire.asgi import Receive, Scope, Send


async def lifespan(_scope: Scope, receive: Receive, send: Send) -> None:
    """The `lifespan` application. A failure to start is told to the server, which then exits with it."""
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            try:
                end_with_parent()
                watch.start()
                await watch.ready()
                gateway.counted.start()
            except Exception as error:  # noqa: BLE001 - the server is told and stops
                await send(
                    {"type": "lifespan.startup.failed", "message": f"The routing table did not load: {error}"}
                )
                return
            await send({"type": "lifespan.startup.complete"})
        elif message["type"] == "lifespan.shutdown":
            watch.stop()
            request_log.write_all()
            await asyncio.to_thread(ledger.stop_writers)
            await asyncio.to_thread(shared_counts.stop_sharing)
            if gateway.tracing is not None:
                await asyncio.to_thread(gateway.tracing.close)
            await send({"type": "lifespan.shutdown.complete"})
            return
