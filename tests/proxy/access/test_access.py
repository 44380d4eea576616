"""Who may call: loopback, forwarded, remote; which Host; whose word on addresses counts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest

from ollaproject.wire.openai_errors import ApiError
from proxy.request.head import Head
from tests.proxy.conftest import CHAT, chat_body, gateway_with, open_guard, target_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from ollaproject.wire.asgi import Scope
    from proxy.access.auth import Guard
    from proxy.gateway import Gateway
    from tests.fakes.upstream import FakeUpstream
    from tests.proxy.conftest import Served

    Serve = Callable[[Gateway], Served]
    Table = Callable[..., None]

FORWARDED = [
    ("x-forwarded-for", "127.0.0.1"),
    ("forwarded", "for=127.0.0.1"),
    ("x-real-ip", "::1"),
    ("via", "1.1 a"),
]


def request_from(peer: str | None, *headers: tuple[str, str]) -> Scope:
    """A request as an ASGI server describes it."""
    pairs = [(name.encode(), value.encode()) for name, value in headers]
    return {"method": "POST", "client": (peer, 4711) if peer is not None else None, "headers": pairs}


def http_client(url: str) -> httpx.Client:
    return httpx.Client(base_url=url, trust_env=False)


def refused(guard: Guard, scope: Scope) -> bool:
    try:
        guard.authenticate(scope)
    except ApiError as error:
        return (error.status, error.code) == (401, "invalid_api_key")
    return False


@pytest.mark.parametrize("peer", ["127.0.0.1", "127.8.9.10", "::1", "::ffff:127.0.0.1"])
def test_this_machine_needs_no_key(peer: str) -> None:
    assert not refused(open_guard(), request_from(peer, ("authorization", "Bearer not-needed")))


@pytest.mark.parametrize("peer", ["192.168.0.7", "::ffff:192.168.0.7", "2001:db8::1", "", "localhost", None])
def test_everybody_else_needs_one(peer: str | None) -> None:
    assert refused(open_guard(), request_from(peer))


@pytest.mark.parametrize("header", FORWARDED)
def test_what_was_forwarded_to_loopback_is_not_local(header: tuple[str, str]) -> None:
    assert refused(open_guard(), request_from("127.0.0.1", header))


def test_always_means_loopback_too() -> None:
    assert refused(open_guard(api_auth="always"), request_from("127.0.0.1"))


def test_never_means_nobody() -> None:
    assert not refused(open_guard(api_auth="never"), request_from("192.168.0.7"))


def test_a_refused_caller_learns_what_to_send(
    client: httpx.Client, table: Table, upstream: FakeUpstream
) -> None:
    table(target_for(upstream))

    answer = client.post(CHAT, json=chat_body(), headers={"X-Forwarded-For": "10.0.0.1"})

    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.headers["x-should-retry"] == "false"
    assert answer.json()["error"]["code"] == "invalid_api_key"
    assert not upstream.requests


@pytest.mark.parametrize("path", ["/internal/status", "/internal/status/endpoints", "/v1/models", "/olla/x"])
def test_what_tells_of_the_fleet_needs_what_the_api_needs(table: Table, serve: Serve, path: str) -> None:
    table()
    with http_client(serve(gateway_with(api_auth="always")).url) as client:
        assert client.get(path).status_code == 401


@pytest.mark.parametrize("path", ["/internal/health", "/livez", "/health", "/version"])
def test_what_tells_nothing_is_open(table: Table, serve: Serve, path: str) -> None:
    table()
    with http_client(serve(gateway_with(api_auth="always")).url) as client:
        assert client.get(path).status_code == 200


def host_status(guard: Guard, *hosts: str) -> int:
    try:
        guard.check_host(Head.of(request_from("127.0.0.1", *(("host", host) for host in hosts))))
    except ApiError as error:
        return error.status
    return 200


@pytest.mark.parametrize(
    ("allowed", "host", "status"),
    [
        ("localhost", "localhost", 200),
        ("localhost", "LocalHost:40114", 200),
        ("localhost", "localhost.", 200),
        ("localhost", "evil.example", 421),
        ("localhost", "localhost.evil.example", 421),
        ("localhost", "localhost@evil.example", 400),
        ("localhost", "", 400),
        ("localhost", "a b", 400),
        ("localhost", "localhost:port", 400),
        ("127.0.0.1", "127.0.0.1:40114", 200),
        ("[::1]", "[::1]:40114", 200),
        ("[::1]", "[::2]:40114", 421),
        (".example.com", "gw.example.com", 200),
        (".example.com", "example.com", 200),
        (".example.com", "badexample.com", 421),
        ("Gateway.local", "gateway.LOCAL", 200),
        ("*", "anything.example:1", 200),
    ],
)
def test_only_the_allowed_hosts_are_answered(allowed: str, host: str, status: int) -> None:
    assert host_status(open_guard(allowed_hosts=[allowed]), host) == status


def test_a_request_has_one_host() -> None:
    assert host_status(open_guard(allowed_hosts=["*"])) == 400
    assert host_status(open_guard(allowed_hosts=["*"]), "a", "b") == 400


def test_a_page_that_rebinds_its_name_reaches_nothing(
    client: httpx.Client, table: Table, upstream: FakeUpstream
) -> None:
    table(target_for(upstream))

    answer = client.post(CHAT, json=chat_body(), headers={"Host": "evil.example"})

    assert answer.status_code == 421
    assert answer.json()["error"]["code"] == "host_not_allowed"
    assert "OLLA_ALLOWED_HOSTS" in answer.json()["error"]["message"]
    assert not upstream.requests


@pytest.mark.parametrize(
    ("peer", "chain", "address"),
    [
        ("203.0.113.9", "1.2.3.4", "203.0.113.9"),
        ("10.0.0.1", "1.2.3.4", "1.2.3.4"),
        ("10.0.0.1", "6.6.6.6, 1.2.3.4", "1.2.3.4"),
        ("10.0.0.1", "1.2.3.4, 10.0.0.2", "1.2.3.4"),
        ("10.0.0.1", "10.0.0.3, 10.0.0.2", "10.0.0.3"),
        ("::ffff:10.0.0.1", "1.2.3.4", "1.2.3.4"),
        ("fd00::1", "2001:db8::7", "2001:db8::7"),
        ("10.0.0.1", "", "10.0.0.1"),
    ],
)
def test_an_address_is_believed_as_far_as_trusted_proxies_wrote_it(
    peer: str, chain: str, address: str
) -> None:
    guard = open_guard(trusted_proxies=["10.0.0.0/8", "fd00::1"])

    assert guard.identify(request_from(peer, ("x-forwarded-for", chain))).address == address


def test_a_client_cannot_invent_its_address(table: Table, serve: Serve, upstream: FakeUpstream) -> None:
    table(target_for(upstream))
    with http_client(serve(gateway_with(api_auth="never")).url) as client:
        client.post(CHAT, json=chat_body(), headers={"X-Forwarded-For": "9.9.9.9", "X-Real-IP": "9.9.9.9"})

    assert upstream.requests[0].header("x-forwarded-for") == "127.0.0.1"
    assert upstream.requests[0].header("x-real-ip") == "127.0.0.1"


def test_a_trusted_proxy_is_believed(table: Table, serve: Serve, upstream: FakeUpstream) -> None:
    table(target_for(upstream))
    said = {"X-Forwarded-For": "9.9.9.9", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "gw.example"}
    gateway = gateway_with(api_auth="never", trusted_proxies=["127.0.0.1"])
    with http_client(serve(gateway).url) as client:
        client.post(CHAT, json=chat_body(), headers=said)

    seen = upstream.requests[0]
    assert seen.header("x-forwarded-for") == "9.9.9.9, 127.0.0.1"
    assert seen.header("x-real-ip") == "9.9.9.9"
    assert seen.header("x-forwarded-proto") == "https"
    assert seen.header("x-forwarded-host") == "gw.example"
