"""Connecting to a Unix socket whose server is busy."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from ollaproject.wire.unix_sockets import connected
from tests.fakes.full_queue import full_queue, on_linux

if TYPE_CHECKING:
    from pathlib import Path


@on_linux
async def test_a_connection_is_there_as_soon_as_the_server_has_room(socket_path: Path) -> None:
    with full_queue(socket_path) as busy:
        connecting = asyncio.create_task(connected(str(socket_path)))
        await asyncio.sleep(0)  # it has been turned away once
        assert not connecting.done()

        busy.accept()[0].close()
        (await asyncio.wait_for(connecting, 30)).close()
