"""One connection of a fake upstream: it reads requests and takes the steps of their answers."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import time
from typing import TYPE_CHECKING

from tests.fakes.answers import Act, Gate, Pause, SeenRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from tests.fakes.answers import Step

LINGER_ZERO = struct.pack("ii", 1, 0)


class Connection(asyncio.StreamReaderProtocol):
    """Notices at once when the client closes, also in the middle of an answer: then `departed` is called.

    `task`, None until the connection is there, runs `serve` with it. `lost` is called when it is gone.
    """

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def __init__(
        self,
        number: int,
        serve: Callable[[Connection], Coroutine[None, None, None]],
        *,
        departed: Callable[[], None],
        lost: Callable[[Connection], None],
    ) -> None:
        super().__init__(asyncio.StreamReader(limit=2**20), self._connected)
        self.number = number
        self.answering = False
        self.task: asyncio.Task[None] | None = None
        self._serve = serve
        self._departed = departed
        self._lost = lost
        self._peer_closed = False

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.task = asyncio.ensure_future(self._serve(self))

    def eof_received(self) -> bool:
        super().eof_received()
        self._client_left()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._client_left()
        self._lost(self)

    def _client_left(self) -> None:
        if self._peer_closed:
            return
        self._peer_closed = True
        if self.answering:
            self._departed()
        if self.task is not None:
            self.task.cancel()

    def reset(self) -> None:
        sock: socket.socket | None = self.writer.get_extra_info("socket")
        if sock is None:
            return  # closed already
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_ZERO)
        self.writer.transport.abort()

    async def perform(self, step: Step) -> None:
        """Raises ConnectionError when it ends the connection."""
        match step:
            case Pause(seconds):
                await asyncio.sleep(seconds)
            case Gate():
                await step.passed()
            case Act.HANG:
                await asyncio.Event().wait()
            case Act.RESET:
                self.answering = False
                self.reset()
                raise ConnectionResetError
            case Act.CLOSE:
                self.answering = False
                self.writer.close()
                raise ConnectionAbortedError
            case bytes():
                self.writer.write(step)
                await self.writer.drain()

    async def read_request(self) -> SeenRequest:
        """Raises IncompleteReadError when the client closes before it is whole."""
        lines = (await self.reader.readuntil(b"\r\n\r\n"))[:-4].split(b"\r\n")
        method, target, _version = lines[0].decode("latin-1").split(" ")
        pairs = [line.partition(b":") for line in lines[1:]]
        headers = tuple((key, value.strip()) for key, _, value in pairs)
        fields = {key.lower(): value for key, value in headers}
        if fields.get(b"expect", b"").lower() == b"100-continue":
            self.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = b""
        if b"chunked" in fields.get(b"transfer-encoding", b"").lower():
            while size := int(await self.reader.readuntil(b"\r\n"), 16):
                body += (await self.reader.readexactly(size + 2))[:-2]
            await self.reader.readexactly(2)
        elif length := int(fields.get(b"content-length", b"0")):
            body = await self.reader.readexactly(length)
        return SeenRequest(method, target, headers, body, time.monotonic(), self.number)
