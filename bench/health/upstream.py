"""The server that is checked: every endpoint of the fleet at once, always healthy, with two models."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

MODELS = b'{"object": "list", "data": [{"id": "m1"}, {"id": "m2"}]}'
HEALTHY = b'{"status": "healthy", "model_loaded": true}'


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One request per connection, as a check makes them."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        body = MODELS if b"/v1/models" in head.partition(b"\r\n")[0] else HEALTHY
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        await writer.drain()
    except (OSError, asyncio.IncompleteReadError):
        pass
    finally:
        writer.close()


async def _listen(told: Connection) -> None:
    server = await asyncio.start_server(answer, "127.0.0.1", 0, backlog=1024)
    told.send(server.sockets[0].getsockname()[1])
    await server.serve_forever()


def serve(told: Connection) -> None:
    asyncio.run(_listen(told))
