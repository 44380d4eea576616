"""Connects to Unix sockets. What event loops do for that takes a server that is busy for one that is gone."""

from __future__ import annotations

import asyncio
import socket

FULL_QUEUE_PAUSE_SECONDS = 0.01


async def connected(path: str) -> socket.socket:
    """A socket that is connected to the one at `path`. Raises OSError; how long it may take, the caller says.

    This never has to wait, but on Linux, where the server's queue of connections is full: there it fails with
    EAGAIN, and nothing tells when there is room again. Over TCP, the system itself would try again.
    """
    while True:
        made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            made.settimeout(0)
            made.connect(path)
        except BlockingIOError:
            made.close()
            await asyncio.sleep(FULL_QUEUE_PAUSE_SECONDS)
        except BaseException:
            made.close()
            raise
        else:
            return made
