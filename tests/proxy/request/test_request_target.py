"""Requests that name the host in their first line, as clients of proxies do: what they name there counts."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from ollaproject.wire.request_target import in_origin_form
from tests.proxy.conftest import CHAT, chat_body, over_both_servers, target_for
from tests.proxy.wire import raw_client

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.fakes.upstream import FakeUpstream
    from tests.proxy.conftest import Served
    from tests.proxy.wire import RawClient

    Table = Callable[..., None]

MODELS = "/v1/models"
EVIL = b"evil.example"


@pytest.mark.parametrize(
    ("target", "host", "path"),
    [
        (b"http://gw.local/v1/models", b"gw.local", b"/v1/models"),
        (b"HTTPS://GW.local:8080/v1?x=/http://", b"GW.local:8080", b"/v1?x=/http://"),
        (b"http://[::1]:80", b"[::1]:80", b"/"),
        (b"http://gw.local?x=1", b"gw.local", b"/?x=1"),
        (b"http://gw.local//x", b"gw.local", b"//x"),
    ],
)
def test_the_host_of_the_target_takes_the_headers_place(target: bytes, host: bytes, path: bytes) -> None:
    headers = [(b"accept", b"*/*"), (b"host", EVIL), (b"x-a", b"host")]
    changed = [(b"accept", b"*/*"), (b"host", host), (b"x-a", b"host")]
    assert in_origin_form(target, headers) == (path, changed)


@pytest.mark.parametrize("target", [b"/v1/models", b"//gw.local/", b"/http://gw.local/", b"*"])
def test_a_target_without_a_host_is_left_alone(target: bytes) -> None:
    assert in_origin_form(target, [(b"host", EVIL)]) == (target, [(b"host", EVIL)])


@pytest.mark.parametrize("headers", [[], [(b"host", EVIL), (b"host", b"gw.local")]])
def test_none_or_two_hosts_stay_as_wrong_as_they_are(headers: list[tuple[bytes, bytes]]) -> None:
    assert in_origin_form(b"http://gw.local/", headers) == (b"/", headers)


@pytest.mark.parametrize(
    "target", [b"http://me:pw@gw.local/", b"http:///x", b"ftp://gw.local/", b"gw.local:80", b"http:/x", b""]
)
def test_another_form_is_refused(target: bytes) -> None:
    with pytest.raises(ValueError, match="no target"):
        in_origin_form(target, [(b"host", b"gw.local")])


@pytest.fixture
def raw(served: Served) -> Iterator[RawClient]:
    with raw_client(served.port) as made:
        yield made


def status_of(raw: RawClient, target: str, *headers: str) -> int:
    lines = [f"GET {target} HTTP/1.1", *headers, "Connection: close", "", ""]
    raw.send("\r\n".join(lines).encode())
    return int(raw.read_to_close().split()[1])


@over_both_servers
@pytest.mark.parametrize(
    ("target", "host", "status"),
    [
        (f"http://localhost{MODELS}", "localhost", 200),
        (f"http://localhost{MODELS}", "evil.example", 200),
        (f"http://localhost:1{MODELS}?x=http://evil.example/", "evil.example", 200),
        (f"http://evil.example{MODELS}", "localhost", 421),
        (f"https://evil.example{MODELS}", "localhost", 421),
        (f"http://localhost@evil.example{MODELS}", "localhost", 400),
        (f"http://evil.example@localhost{MODELS}", "localhost", 400),
        (f"ftp://localhost{MODELS}", "localhost", 400),
    ],
)
def test_a_target_says_whom_it_is_for(
    raw: RawClient, table: Table, upstream: FakeUpstream, target: str, host: str, status: int
) -> None:
    table(target_for(upstream))
    assert status_of(raw, target, f"Host: {host}") == status


@over_both_servers
@pytest.mark.parametrize("headers", [(), ("Host: localhost", "Host: localhost")], ids=["none", "two"])
def test_a_host_is_needed_and_only_one(raw: RawClient, headers: tuple[str, ...]) -> None:
    assert status_of(raw, f"http://localhost{MODELS}", *headers) == 400


@over_both_servers
def test_an_endpoint_gets_the_path_alone(raw: RawClient, table: Table, upstream: FakeUpstream) -> None:
    table(target_for(upstream))
    body = json.dumps(chat_body()).encode()
    head = f"POST http://localhost:40114{CHAT}?trace=1 HTTP/1.1\r\nHost: evil.example\r\n"

    for count in (1, 2):  # the second time the head is known
        raw.send(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        raw.read_until(b"}]")
        upstream.wait_for_requests(count)

    assert {request.path for request in upstream.requests} == {"/v1/chat/completions?trace=1"}
    assert {request.header("x-forwarded-host") for request in upstream.requests} == {"localhost:40114"}


def test_a_known_head_does_not_lend_its_host_to_another(raw: RawClient, table: Table) -> None:
    """The same but for the target, on one connection."""
    table()
    for host, status in (("localhost", b"200"), ("evil.example", b"421"), ("localhost", b"200")):
        raw.send(f"GET http://{host}{MODELS} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        assert raw.read_until(b"}").split()[1] == status
