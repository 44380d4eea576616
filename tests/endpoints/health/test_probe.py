"""What a probe makes of what an endpoint does, on a real wire."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
import time
from typing import TYPE_CHECKING, Any

import pytest

from bench.ports import free_port
from endpoints import profiles
from endpoints.choices import Status
from endpoints.health.checking import check_target
from endpoints.health.findings import CheckTarget, ProbeResult
from endpoints.health.probe import MAX_HEALTH_BYTES, Checker
from endpoints.models import Endpoint
from tests.endpoints.targets import target_of
from tests.fakes import answers
from tests.fakes.upstream import FakeUpstream

if TYPE_CHECKING:
    from pathlib import Path

    from tests.fakes.answers import Answer


async def probe(target: CheckTarget) -> ProbeResult:
    async with Checker() as checker:
        return await checker.probe(target)


async def said(upstream: FakeUpstream, answer: Answer, **changes: Any) -> tuple[Status, str]:
    upstream.answer("/health", answer)
    result = await probe(target_of(upstream.url, **changes))
    return result.status, result.reason


async def test_a_healthy_server_is_healthy(upstream: FakeUpstream) -> None:
    result = await probe(target_of(upstream.url))
    assert (result.status, result.reason, result.http_status) == (Status.HEALTHY, "", 200)
    assert result.latency_seconds is not None
    assert 0 < result.latency_seconds < 5


@pytest.mark.parametrize(
    ("body", "status", "reason"),
    [
        ({"status": "healthy"}, Status.HEALTHY, ""),
        ({"status": "OK"}, Status.HEALTHY, ""),
        ({}, Status.HEALTHY, ""),
        ([1], Status.HEALTHY, ""),
        (b"fine", Status.HEALTHY, ""),
        (b"[" * 50_000, Status.HEALTHY, ""),
        ({"status": "unhealthy"}, Status.UNHEALTHY, "it says of itself: unhealthy"),
        ({"status": "healthy", "model_loaded": False}, Status.UNHEALTHY, "it runs, but no model is loaded"),
        ({"status": "loading", "model_loaded": False}, Status.WARMING, "its model is loading"),
        (
            {"status": "healthy", "model_loaded": False, "residency_state": "loading"},
            Status.WARMING,
            "its model is loading",
        ),
        (
            {"status": "healthy", "model_loaded": False, "residency_state": "unloaded"},
            Status.HEALTHY,
            "asleep: the next request loads its model",
        ),
    ],
)
async def test_the_body_of_a_200_decides(
    upstream: FakeUpstream, body: Any, status: Status, reason: str
) -> None:
    assert await said(upstream, answers.respond(body)) == (status, reason)


@pytest.mark.parametrize(
    ("code", "status", "reason"),
    [
        (204, Status.HEALTHY, ""),
        (301, Status.UNHEALTHY, "it redirects elsewhere (301), and checks follow no redirects"),
        (401, Status.CONFIG_ERROR, "the endpoint asks for a credential (401)"),
        (403, Status.CONFIG_ERROR, "the endpoint asks for a credential (403)"),
        (404, Status.UNHEALTHY, "it answered 404 Not Found"),
        (429, Status.RATE_LIMITED, "the endpoint limits our requests (429)"),
        (503, Status.UNHEALTHY, "it answered 503 Service Unavailable"),
        (599, Status.UNHEALTHY, "it answered 599"),
    ],
)
async def test_a_status_code_says_how_it_is(
    upstream: FakeUpstream, code: int, status: Status, reason: str
) -> None:
    head = answers.head(code, {"Content-Length": 0, "Location": "http://127.0.0.1:9/"})
    assert await said(upstream, answers.raw(head)) == (status, reason)


async def test_a_refused_credential_is_told_from_a_missing_one(upstream: FakeUpstream) -> None:
    found = await said(upstream, answers.respond({}, status=401), has_credential=True)
    assert found == (Status.CONFIG_ERROR, "the endpoint refused our credential (401)")


async def test_a_redirect_is_not_followed(upstream: FakeUpstream) -> None:
    head = answers.head(302, {"Content-Length": 0, "Location": f"{upstream.url}/v1/models"})
    await said(upstream, answers.raw(head))
    assert [request.path for request in upstream.requests] == ["/health"]


async def test_a_refused_connection() -> None:
    result = await probe(target_of(f"http://127.0.0.1:{free_port()}"))
    assert result == ProbeResult(Status.OFFLINE, "connection refused")


async def test_a_name_that_is_not_known() -> None:
    assert (await probe(target_of("http://no-such-host.invalid"))).reason == "name not known"


async def test_no_answer_in_time(upstream: FakeUpstream) -> None:
    found = await said(upstream, answers.raw(answers.HANG), timeout_seconds=0.2)
    assert found == (Status.OFFLINE, "no answer within 200ms")


@pytest.mark.parametrize(
    "part", [b"HTTP/1.1 200 OK\r\nX-Slow: ", b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"]
)
async def test_trickled_bytes_do_not_stretch_the_timeout(upstream: FakeUpstream, part: bytes) -> None:
    upstream.answer("/health", answers.trickle(part + b"x" * 90, seconds=0.05))
    started = time.monotonic()
    result = await probe(target_of(upstream.url, timeout_seconds=0.4))
    assert (result.status, result.reason) == (Status.OFFLINE, "no answer within 400ms")
    assert time.monotonic() - started < 3.5  # all that trickles takes longer than 4


@pytest.mark.parametrize("step", [answers.RESET, answers.CLOSE])
async def test_a_connection_that_breaks_before_the_answer(upstream: FakeUpstream, step: answers.Act) -> None:
    status, reason = await said(upstream, answers.raw(step))
    assert status == Status.OFFLINE
    assert reason in {
        "it reset the connection",
        "it closed the connection without an answer, or does not speak HTTP",
    }


async def test_something_that_is_not_http(upstream: FakeUpstream) -> None:
    status, reason = await said(upstream, answers.raw(b"SSH-2.0-OpenSSH_9.6\r\n", answers.CLOSE))
    assert (status, reason) == (
        Status.OFFLINE,
        "it closed the connection without an answer, or does not speak HTTP",
    )


async def test_a_flooding_health_answer_is_cut_off(upstream: FakeUpstream) -> None:
    status, reason = await said(upstream, answers.flood())
    assert status == Status.UNHEALTHY
    assert (
        reason
        == f"its health answer is longer than {MAX_HEALTH_BYTES // 1024} KiB: is the health check URL right?"
    )
    await asyncio.to_thread(upstream.wait_for_departure)


async def test_the_status_alone_counts_where_the_profile_has_no_body(upstream: FakeUpstream) -> None:
    found = await said(upstream, answers.flood(), profile=profiles.profile("openai-compatible"))
    assert found == (Status.HEALTHY, "")


async def test_http_is_not_https() -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as server:
        result = await probe(target_of(f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"))
    assert result == ProbeResult(Status.OFFLINE, "the TLS handshake failed; it may speak plain http")


async def test_a_tls_handshake_that_hangs(upstream: FakeUpstream) -> None:
    result = await probe(target_of(upstream.url.replace("http:", "https:"), timeout_seconds=0.3))
    assert result == ProbeResult(Status.OFFLINE, "no answer within 300ms", silent=True)


@pytest.fixture
def self_signed(tmp_path: Path) -> ssl.SSLContext:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        [
            "openssl",
            *f"req -x509 -newkey rsa:2048 -nodes -subj /CN=a -keyout {key} -out {certificate}".split(),
        ],
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


async def test_a_certificate_that_nobody_signed(self_signed: ssl.SSLContext) -> None:
    with FakeUpstream(tls=self_signed) as upstream:
        result = await probe(target_of(upstream.url))
    assert (result.status, result.reason) == (
        Status.OFFLINE,
        "its TLS certificate is not trusted: self-signed certificate",
    )


async def test_every_probe_opens_a_connection_of_its_own(upstream: FakeUpstream) -> None:
    async with Checker() as checker:
        for _ in range(3):
            await checker.probe(target_of(upstream.url))
    assert upstream.accepted_connections == 3


async def test_headers_and_the_credential_go_along(upstream: FakeUpstream) -> None:
    endpoint = Endpoint(name="mini-1", url=upstream.url, auth_kind="bearer", headers={"X-Rack": "4"})
    endpoint.set_credential("tok-3c1d")
    await probe(check_target(endpoint))
    (request,) = upstream.requests
    assert request.header("authorization") == "Bearer tok-3c1d"
    assert request.header("x-rack") == "4"


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({}, "/health"),
        ({"health_check_url": "/alive?deep=1"}, "/alive?deep=1"),
        ({"path": "/llm/", "preserve_path": True}, "/llm/health"),
        ({"path": "/llm", "preserve_path": True, "health_check_url": "/alive"}, "/llm/alive"),
    ],
)
async def test_it_asks_where_it_was_told(upstream: FakeUpstream, fields: dict[str, Any], path: str) -> None:
    url = upstream.url + fields.pop("path", "")
    await probe(check_target(Endpoint(name="mini-1", url=url, **fields)))
    assert [request.path for request in upstream.requests] == [path]


async def test_a_whole_url_may_point_elsewhere(upstream: FakeUpstream) -> None:
    endpoint = Endpoint(name="mini-1", url="http://127.0.0.1:9", health_check_url=f"{upstream.url}/health")
    assert (await probe(check_target(endpoint))).status == Status.HEALTHY


async def test_no_secret_is_in_the_repr_of_a_target() -> None:
    endpoint = Endpoint(name="mini-1", url="http://127.0.0.1:9", auth_kind="bearer")
    endpoint.set_credential("tok-3c1d")
    assert "tok-3c1d" not in repr(check_target(endpoint))
