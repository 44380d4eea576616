"""Requests to the model server that would rather have HTTP/2, as Java's client asks in its first one."""

from __future__ import annotations

import contextlib
import json
import socket
from typing import TYPE_CHECKING

import pytest

from tests.inference.conftest import TINY

if TYPE_CHECKING:
    from tests.inference.servers import Running

WISH = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAAAAIAAAAB\r\n"
WAIT_SECONDS = 60


@pytest.mark.parametrize("size", [10_000, 150, 1], ids=["whole", "two pieces", "every byte"])
def test_the_body_is_read_and_so_is_what_comes_after(tiny_server: Running, size: int) -> None:
    body = json.dumps({"model": TINY, "prompt": "GET /health HTTP/1.1\r\n\r\n"}).encode()
    head = b"POST /tokenize HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n" % len(body)
    last = b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    sent = head + WISH + b"\r\n" + body + head + b"\r\n" + body + last
    with socket.create_connection(("127.0.0.1", tiny_server.port), timeout=WAIT_SECONDS) as client:
        for start in range(0, len(sent), size):
            client.sendall(sent[start : start + size])
        answers = b""
        while piece := client.recv(65536):
            answers += piece
    assert answers.count(b"HTTP/1.1 200 ") == 3
    assert answers.count(b'"tokens"') == 2


def test_what_follows_a_refused_tunnel_is_not_taken_for_a_request(tiny_server: Running) -> None:
    with socket.create_connection(("127.0.0.1", tiny_server.port), timeout=WAIT_SECONDS) as client:
        client.sendall(b"CONNECT /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        client.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        answers = b""
        with contextlib.suppress(ConnectionResetError):
            while piece := client.recv(65536):
                answers += piece
    assert answers.startswith(b"HTTP/1.1 400 ")
    assert answers.count(b"HTTP/1.1 ") == 1


def test_what_is_no_request_is_refused(tiny_server: Running) -> None:
    with socket.create_connection(("127.0.0.1", tiny_server.port), timeout=WAIT_SECONDS) as client:
        client.sendall(b"nonsense\r\n\r\n")
        assert client.recv(65536).startswith(b"HTTP/1.1 400 ")
