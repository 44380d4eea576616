"""One web process: uvicorn with uvloop and httptools, on a socket that is given or on an address of its own.

`manage.py serve` opens the listening socket and hands it down (`--fd`), so a web process that dies and comes
back loses no connection attempt. In production: `python -m ollaproject.web --host 0.0.0.0 --port 40114`.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import socket

import uvicorn

from ollaproject import open_files
from ollaproject.client_connection import ClientConnection
from ollaproject.wire.ports import port_number

logger = logging.getLogger("ollaproject.web")  # also when run as a program

GRACE_SECONDS = 3
KEEP_ALIVE_SECONDS = 75


def config(*, host: str, port: int) -> uvicorn.Config:
    """How uvicorn runs the gateway.

    Forwarded headers are judged by proxy.access.auth, not by the server; requests are logged by
    proxy.records.record, with what a request log needs and without content.
    """
    return uvicorn.Config(
        "ollaproject.asgi:application",
        host=host,
        port=port,
        loop="uvloop",
        http=ClientConnection,
        ws="websockets-sansio",
        ws_per_message_deflate=False,  # what is worth it, endpoints.pages.live_hub compresses once for all
        lifespan="on",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=GRACE_SECONDS * 2,
    )


class Server(uvicorn.Server):
    """uvicorn, but for the end: requests that outlast the grace are ended by us, and say so to their clients.

    uvicorn would do the same and report it as an error.
    """

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        grace = asyncio.get_running_loop().call_later(GRACE_SECONDS, self._end_requests)
        try:
            await super().shutdown(sockets)
        finally:
            grace.cancel()

    def _end_requests(self) -> None:
        logger.info("Stopping: %d running requests are ended.", len(self.server_state.tasks))
        for task in self.server_state.tasks:
            task.cancel()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m ollaproject.web", description=__doc__.split("\n", 1)[0])
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen on (%(default)s)")
    parser.add_argument("--port", type=port_number, default=40114, help="the port to listen on (%(default)s)")
    parser.add_argument("--fd", type=int, help="an open listening socket to use instead")
    options = parser.parse_args()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "ollaproject.settings")
    open_files.allow_many()
    # uvicorn's own `fd` takes every socket for a Unix one, and without TCP_NODELAY an answer waits 40 ms.
    sockets = None if options.fd is None else [socket.socket(fileno=options.fd)]
    Server(config(host=options.host, port=options.port)).run(sockets)


if __name__ == "__main__":
    main()
