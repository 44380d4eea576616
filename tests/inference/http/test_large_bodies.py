"""Bodies over the limit: refused by their head, or once too much has come, and the client has its answer."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from inference.http.boundary import LARGE_BODY_BYTES
from ollaproject.wire.lingering import LINGER_SECONDS
from tests.inference.conftest import TINY
from tests.inference.http.test_answers_over_http import refusal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.inference.servers import Running

LIMIT = 1024**2  # of the tiny server
LARGE = 1024 * LIMIT
CHAT = "/v1/chat/completions"
WAIT_SECONDS = 20
MESSAGE = f"The body is larger than {LIMIT} bytes, which is the most that this server reads."


@pytest.fixture
def client(tiny_server: Running) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", tiny_server.port), timeout=WAIT_SECONDS) as made:
        yield made


def head(*lines: str, length: int = LARGE, path: str = CHAT) -> bytes:
    return "\r\n".join(
        [f"POST {path} HTTP/1.1", "Host: x", f"Content-Length: {length}", *lines, "", ""]
    ).encode()


def answer(client: socket.socket) -> tuple[bytes, dict[str, Any]]:
    """The head and the error of the one answer that comes until the server has said all that it will."""
    said, _, body = b"".join(iter(lambda: client.recv(65536), b"")).partition(b"\r\n\r\n")
    return said.lower(), json.loads(body)["error"]


def is_closed(client: socket.socket) -> bool:
    """Whether the server takes no more."""
    try:
        client.sendall(b"x")
    except OSError:
        return True
    return False


@pytest.mark.parametrize("lines", [[], ["Expect: 100-continue"], ["Connection: close"]])
def test_what_is_said_to_be_too_large_is_refused_before_any_of_it_comes(
    client: socket.socket, lines: list[str]
) -> None:
    client.sendall(head(*lines))
    said, error = answer(client)
    assert said.startswith(b"http/1.1 413 ")
    assert b"\r\nconnection: close" in said
    assert (error["code"], error["message"]) == ("request_too_large", MESSAGE)


def test_a_client_that_goes_on_sending_finds_its_answer(client: socket.socket) -> None:
    client.sendall(head())
    for _ in range(32):
        client.sendall(b" " * LIMIT)  # a connection that is reset takes none of it
    assert answer(client)[1]["code"] == "request_too_large"


def test_a_client_that_never_ends_is_left(client: socket.socket) -> None:
    client.sendall(head())
    assert answer(client)[1]["code"] == "request_too_large"
    began = time.monotonic()
    while not is_closed(client):
        assert time.monotonic() < began + LINGER_SECONDS + WAIT_SECONDS
        time.sleep(0.05)
    assert time.monotonic() > began + LINGER_SECONDS / 2


def test_what_follows_such_a_head_is_no_request(client: socket.socket) -> None:
    client.sendall(head())
    first = client.recv(65536)
    client.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
    rest = b""
    with contextlib.suppress(ConnectionResetError):
        while piece := client.recv(65536):
            rest += piece
    assert (first + rest).lower().count(b"http/1.1 ") == 1


def test_a_body_over_the_limit_is_refused_whether_its_length_is_said_or_not(tiny_http: httpx.Client) -> None:
    def chunks() -> Iterator[bytes]:
        yield from [b" " * 65536] * (LIMIT // 65536 + 1)

    for content in (b" " * (LIMIT + 1), chunks()):
        response = tiny_http.post(CHAT, content=content)
        assert refusal(response, 413)["message"] == MESSAGE
        assert response.headers["connection"] == "close"


def test_a_body_at_the_limit_is_read(tiny_http: httpx.Client) -> None:
    assert refusal(tiny_http.post(CHAT, content=b" " * LIMIT), 400)["code"] == "invalid_json"


def test_any_answer_that_comes_early_on_a_last_request_arrives(client: socket.socket) -> None:
    client.sendall(head("Connection: close", path="/health"))
    for _ in range(32):
        client.sendall(b" " * LIMIT)
    assert answer(client)[0].startswith(b"http/1.1 405 ")


def many_messages() -> list[dict[str, str]]:
    return [
        {"role": ("user", "assistant")[place % 2], "content": f"Number {place}"} for place in range(9_001)
    ]


LONG = "".join(one["content"] for one in many_messages())
SPARSE = "=" * 40_000


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        (CHAT, {"messages": many_messages()}),
        (CHAT, {"messages": [{"role": "user", "content": SPARSE + LONG}]}),
        ("/v1/messages/count_tokens", {"messages": many_messages()}),
        ("/tokenize", {"messages": many_messages()}),
        ("/tokenize", {"prompt": SPARSE + LONG}),
        ("/v1/completions", {"prompt": LONG}),
        ("/v1/messages", {"messages": many_messages(), "max_tokens": 9}),
        ("/v1/responses", {"input": many_messages()}),
    ],
)
def test_a_text_that_is_far_too_long_is_refused_by_its_beginning(
    tiny_http: httpx.Client, path: str, fields: dict[str, Any]
) -> None:
    answered = tiny_http.post(path, json={"model": TINY, **fields})
    assert answered.status_code == 400
    assert "at most 2048 tokens, prompt and answer together. You asked for at least" in answered.text


def test_a_long_text_of_few_tokens_is_read(tiny_http: httpx.Client) -> None:
    tokens = tiny_http.post("/tokenize", json={"prompt": SPARSE}).json()["count"]
    body = {"model": TINY, "prompt": SPARSE, "max_tokens": 1}
    assert tiny_http.post("/v1/completions", json=body).json()["usage"]["prompt_tokens"] == tokens


@pytest.mark.parametrize(
    "path",
    [
        CHAT,
        "/v1/completions",
        "/v1/messages",
        "/v1/messages/count_tokens",
        "/v1/responses",
        "/v1/embeddings",
        "/tokenize",
        "/detokenize",
    ],
)
def test_a_large_body_is_read_beside_the_event_loop(
    tiny_server: Running, tiny_http: httpx.Client, path: str
) -> None:
    free = threading.Event()
    busy = tiny_server.server._tokenizing.submit(free.wait, WAIT_SECONDS)
    small, large = "{", '{"a": "' + "x" * LARGE_BODY_BYTES
    try:
        assert tiny_http.post(path, content=small).status_code == 400
        with pytest.raises(httpx.ReadTimeout):
            tiny_http.post(path, content=large, timeout=0.3)
    finally:
        free.set()
    assert busy.result()
    assert tiny_http.post(path, content=large).status_code == 400
