"""A client on a bare socket, for tests that look at the bytes."""

from __future__ import annotations

import json
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tests.proxy.conftest import CHAT, chat_body

if TYPE_CHECKING:
    from collections.abc import Iterator

WAIT_SECONDS = 30.0


class RawClient:
    """One connection to the gateway."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=WAIT_SECONDS)

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def post(self, path: str = CHAT, **fields: object) -> None:
        """Ask for a chat completion."""
        body = json.dumps(chat_body(**fields)).encode()  # type: ignore[arg-type]
        head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n"
        self.send(f"{head}Content-Type: application/json\r\n\r\n".encode() + body)

    def read_until(self, end: bytes) -> bytes:
        """Everything up to and with `end`. Fails when the connection closes before."""
        data = b""
        while end not in data:
            piece = self.socket.recv(65536)
            assert piece, f"closed after {data!r}"
            data += piece
        return data

    def read_to_close(self) -> bytes:
        data = b""
        while piece := self.socket.recv(65536):
            data += piece
        return data

    def leave(self) -> None:
        self.socket.close()


@contextmanager
def raw_client(port: int) -> Iterator[RawClient]:
    client = RawClient(port)
    try:
        yield client
    finally:
        client.leave()
