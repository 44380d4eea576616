"""Connects to Unix sockets. What event loops do for that takes a server that is busy for one that is gone."""

from __future__ import annotations

import asyncio
import socket

FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.01, 0.1


async def connected(path: str) -> socket.socket:
    """A socket that is connected to the one at `path`. Raises OSError; how long it may take, the caller says.

    This never has to wait, but on Linux, where the server's queue of connections is full: there it fails with
    EAGAIN, and nothing tells when there is room again. Over TCP, the system itself would try again, after
    pauses that grow as these do.
    """
    pause = FIRST_PAUSE_SECONDS
    while True:
        made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            made.settimeout(0)
            made.connect(path)
        except BlockingIOError:
            made.close()
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
        except BaseException:
            made.close()
            raise
        else:
            return made
