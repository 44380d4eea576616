"""The end of a connection whose last answer came before the end of its request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import asyncio

LINGER_SECONDS: Final = 2.0


def close_lingering(transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> asyncio.TimerHandle:
    """Close it for writing now, and for reading after a while: the caller reads on, and drops what comes.

    To close at once would reset the connection, and the client might lose the answer.
    """
    transport.write_eof()
    return loop.call_later(LINGER_SECONDS, transport.close)
