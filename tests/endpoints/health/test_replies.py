"""What is kept of an endpoint's answers: enough to see what it said, and nothing that is secret."""

from __future__ import annotations

import base64
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from endpoints.choices import AuthKind, Status
from endpoints.health import replies
from endpoints.health.checking import check, check_target
from endpoints.health.findings import Answer
from endpoints.health.probe import Checker
from endpoints.models import Endpoint, HealthCheck
from endpoints.past import retention
from ollaproject.wire.clock import now
from tests.fakes import answers

if TYPE_CHECKING:
    from tests.endpoints.conftest import MakeEndpoint
    from tests.fakes.upstream import FakeUpstream

SECRET = 'a "quoted" secret'


async def test_a_server_that_says_back_what_it_was_sent_gives_no_secret_away(upstream: FakeUpstream) -> None:
    endpoint = Endpoint(name="mini-1", url=upstream.url, check_timeout_seconds=2)
    endpoint.auth_kind, endpoint.auth_username = AuthKind.BASIC, "operator"
    endpoint.headers = {"X-Pass": "another-secret"}
    endpoint.set_credential(SECRET)
    sent = base64.b64encode(f"operator:{SECRET}".encode()).decode()
    upstream.answer(
        "/health",
        answers.respond(
            {"status": "unhealthy", "you": [SECRET, f"Basic {sent}", "another-secret"]},
            headers={"Set-Cookie": "session=1"},
        ),
    )
    async with Checker() as checker:
        result = (await check(checker, endpoint, with_models=False)).result
    assert result.status == Status.UNHEALTHY
    assert result.reply.startswith("200 OK\nContent-Type: application/json")
    assert '"status": "unhealthy"' in result.reply
    for hidden in ("quoted", sent, "another-secret", "operator", "session=1"):
        assert hidden not in result.reply


def test_a_reply_is_bounded_and_holds_no_control_characters() -> None:
    text = replies.in_text(Answer(503, b"\x00\x1b[31m" + b"x" * 100_000, 0.1, {}), [])
    assert len(text) == replies.MAX_REPLY_LENGTH
    assert text.startswith("503 Service Unavailable\n\n[31mxxx")
    assert text.endswith("…")


@pytest.mark.django_db
def test_replies_are_forgotten_after_an_hour_and_what_came_of_the_check_stays(
    make_endpoint: MakeEndpoint,
) -> None:
    endpoint, at = make_endpoint(), now()
    for hours in (0.5, 1.5):
        HealthCheck.objects.create(
            endpoint=endpoint, at=at - timedelta(hours=hours), status=Status.HEALTHY, reply="200 OK"
        )
    retention.prune(at)
    assert list(HealthCheck.objects.order_by("-at").values_list("reply", flat=True)) == ["200 OK", ""]


@pytest.mark.parametrize(
    ("kind", "path", "body", "bytes_taken"),
    [
        ("vllm-mlx", "/v1/status", {"memory": {"active_bytes": 5000}}, 5000),
        ("vllm-mlx", "/v1/status", {"metal": {"active_memory_gb": 1.5}}, 1_500_000_000),
        ("vllm-mlx", "/v1/status", {"metal": {"active_memory_gb": "much"}}, None),
        ("vllm-mlx", "/v1/status", [1], None),
        ("ollama", "/api/ps", {"models": [{"name": "a", "size": 3}, {"name": "b", "size": 4}]}, 7),
        ("ollama", "/api/ps", {"models": []}, 0),
    ],
)
async def test_memory_is_read_where_the_backend_tells(
    upstream: FakeUpstream, kind: str, path: str, body: object, bytes_taken: int | None
) -> None:
    endpoint = Endpoint(name="mini-1", url=upstream.url, type=kind, check_timeout_seconds=2)
    for route in ("/health", "/api/version"):
        upstream.answer(route, answers.respond({"status": "healthy", "version": "1"}))
    upstream.answer("/api/tags", answers.respond({"models": [{"name": "a"}, {"name": "b"}]}))
    upstream.answer(path, answers.respond(body))
    async with Checker() as checker:
        finding = await checker.check(check_target(endpoint), with_models=True)
    assert finding.result.status == Status.HEALTHY
    assert finding.memory_bytes == bytes_taken
