"""Bodies and requests that are refused, and those that pass untouched."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from proxy.request import intake
from tests.proxy.conftest import CHAT, chat_body, gateway_with, target_for
from tests.proxy.wire import raw_client

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx

    from proxy.gateway import Gateway
    from tests.fakes.upstream import FakeUpstream
    from tests.proxy.conftest import Served

    Serve = Callable[[Gateway], Served]
    Table = Callable[..., None]

NESTED = b"[" * 5000 + b"]" * 5000


@pytest.fixture(autouse=True)
def _one_endpoint(table: Table, upstream: FakeUpstream) -> None:
    table(target_for(upstream))


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "is empty"),
        (b"{", "is not valid JSON"),
        (b"model=m1", "is not valid JSON"),
        (b"{'model': 'm1'}", "is not valid JSON"),
        (b'{"model": "\xff"}', "is not valid JSON"),
        (b'["m1"]', "is not a JSON object"),
        (b'"m1"', "is not a JSON object"),
        (b"null", "is not a JSON object"),
        (b'{"model": "m1", "messages": ' + NESTED + b"}", "is nested too deeply"),
        (b'{"model": "m1", "anything": ' + NESTED + b"}", "is nested too deeply"),
    ],
)
def test_what_is_no_json_object_is_refused(
    client: httpx.Client, upstream: FakeUpstream, body: bytes, words: str
) -> None:
    answer = client.post(CHAT, content=body)

    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_json")
    assert words in answer.json()["error"]["message"]
    assert not upstream.requests


@pytest.mark.parametrize("model", [5, ["m1"], {}, True, "", "x" * 301])
def test_a_model_is_a_string_of_sane_length(client: httpx.Client, model: object) -> None:
    answer = client.post(CHAT, json={**chat_body(), "model": model})

    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "model"


def test_what_is_no_inference_passes_untouched(client: httpx.Client, upstream: FakeUpstream) -> None:
    body = b'--b\r\nContent-Disposition: form-data; name="file"\r\n\r\n\x00\xff{not json\r\n--b--\r\n'

    client.post(
        "/v1/audio/transcriptions", content=body, headers={"Content-Type": "multipart/form-data; boundary=b"}
    )

    assert upstream.requests[0].body == body
    assert upstream.requests[0].header("content-type") == "multipart/form-data; boundary=b"


def test_a_model_with_other_characters_is_shown_escaped(client: httpx.Client) -> None:
    answer = client.post(CHAT, json=chat_body("mod\u00e8le\n\u2603"))

    assert answer.status_code == 404
    assert answer.headers["x-olla-model"] == "mod%C3%A8le%0A%E2%98%83"


def test_a_body_over_the_limit_is_refused_by_its_length(serve: Serve, upstream: FakeUpstream) -> None:
    served = serve(gateway_with(max_body_size=1000))
    with raw_client(served.port) as client:
        client.send(f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1001\r\n\r\n".encode())
        head, _, body = client.read_to_close().partition(b"\r\n\r\n")

    assert head.startswith(b"HTTP/1.1 413")
    assert json.loads(body)["error"]["code"] == "request_too_large"
    assert served.gateway.records.take().errors == {"request_too_large": 1}


def test_a_body_over_the_limit_is_refused_while_it_is_read(serve: Serve, upstream: FakeUpstream) -> None:
    served = serve(gateway_with(max_body_size=1000))
    with raw_client(served.port) as client:
        client.send(f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
        client.send(b"3e8\r\n" + b" " * 1000 + b"\r\n")
        client.send(b"1\r\n \r\n")
        head = client.read_until(b"\r\n\r\n")

    assert head.startswith(b"HTTP/1.1 413")
    assert not upstream.requests


def test_a_body_at_the_limit_passes(serve: Serve, upstream: FakeUpstream) -> None:
    body = json.dumps(chat_body()).encode().ljust(1000)
    served = serve(gateway_with(max_body_size=1000))
    with raw_client(served.port) as client:
        client.send(
            f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n".encode() + body
        )
        assert client.read_until(b"MLX is fast.").startswith(b"HTTP/1.1 200")

    assert upstream.requests[0].body == body


def test_a_chunked_upload_goes_on_with_its_length(served: Served, upstream: FakeUpstream) -> None:
    body = json.dumps(chat_body()).encode()
    with raw_client(served.port) as client:
        client.send(f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
        for piece in (body[:20], body[20:]):
            client.send(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
        client.send(b"0\r\n\r\n")
        client.read_until(b"MLX is fast.")

    seen = upstream.requests[0]
    assert (seen.body, seen.header("content-length"), seen.header("transfer-encoding")) == (
        body,
        str(len(body)),
        None,
    )


def test_a_client_that_waits_for_permission_to_send_gets_it(served: Served, upstream: FakeUpstream) -> None:
    body = json.dumps(chat_body()).encode()
    length = f"Content-Length: {len(body)}\r\nExpect: 100-continue\r\n\r\n"
    with raw_client(served.port) as client:
        client.send(f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\n{length}".encode())
        client.read_until(b"HTTP/1.1 100 Continue\r\n\r\n")
        client.send(body)
        client.read_until(b"MLX is fast.")

    assert upstream.requests[0].header("expect") is None


@pytest.mark.parametrize(
    "framing",
    [
        "Content-Length: 5\r\nContent-Length: 6",
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "Content-Length: +5",
        "Content-Length: 0x5",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        "X: 1\r\nContent-Length : 5",
    ],
)
def test_a_request_whose_end_is_in_doubt_reaches_nobody(
    served: Served, upstream: FakeUpstream, framing: str
) -> None:
    with raw_client(served.port) as client:
        client.send(f"POST /v1/files HTTP/1.1\r\nHost: localhost\r\n{framing}\r\n\r\n0\r\n\r\n".encode())
        assert client.read_until(b"\r\n\r\n").startswith(b"HTTP/1.1 400")

    assert not upstream.requests


def test_pipelined_requests_are_answered_in_order(served: Served, upstream: FakeUpstream) -> None:
    with raw_client(served.port) as client:
        client.post()
        client.send(b"GET /olla/vllm-mlx/health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        wire = client.read_to_close()

    assert wire.index(b"MLX is fast.") < wire.index(b'"model_loaded"')


def test_only_two_fields_are_read() -> None:
    body = b'{"stream": true, "messages": [{"model": "inner"}], "model": "outer"}'

    asked = intake.read(body, inference=True, content_type=b"", encoded=False)

    assert asked == intake.Asked(model="outer", stream=True)
