"""A check that also asks for models: what is found, and what keeps it from being found."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from endpoints.choices import Status
from endpoints.errors import DiscoveryError
from endpoints.health.findings import Finding, FoundModel
from endpoints.health.probe import Checker
from tests.endpoints.targets import target_of
from tests.fakes import answers

if TYPE_CHECKING:
    from tests.fakes.answers import Answer
    from tests.fakes.upstream import FakeUpstream


async def found(upstream: FakeUpstream, **changes: Any) -> Finding:
    async with Checker() as checker:
        return await checker.check(target_of(upstream.url, **changes), with_models=True)


async def test_a_check_finds_the_models_too(upstream: FakeUpstream) -> None:
    finding = await found(upstream)
    assert finding.models == (FoundModel("m1", created=answers.CREATED),)


async def test_the_models_of_a_sick_server_are_not_asked_for(upstream: FakeUpstream) -> None:
    upstream.answer("/health", answers.respond({"status": "unhealthy"}))
    assert (await found(upstream)).models is None
    assert upstream.requests_for("/v1/models") == []


async def test_filters_hold(upstream: FakeUpstream) -> None:
    upstream.answer("/v1/models", answers.respond(answers.models_list(["org/A-4bit", "org/B", "other"])))
    finding = await found(upstream, include=("ORG/*",), exclude=("*-4bit",))
    assert [model.name for model in finding.models or ()] == ["org/B"]


async def test_a_list_that_cannot_be_read_leaves_it_healthy_and_says_so(upstream: FakeUpstream) -> None:
    upstream.answer("/v1/models", answers.respond({"models": []}))
    finding = await found(upstream)
    assert finding.result.status == Status.HEALTHY
    assert finding.result.reason.startswith("its list of models cannot be read: the answer is not a list")
    assert finding.models is None


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (answers.respond({}, status=401), "asks for a credential"),
        (answers.respond({}, status=404), "404 Not Found"),
        (answers.raw(answers.HANG), "no answer within 300ms"),
        (answers.flood(), "it is longer than 4 MiB"),
        (answers.respond(b"<html>"), "not JSON"),
    ],
)
async def test_discovery_says_what_is_wrong(upstream: FakeUpstream, answer: Answer, reason: str) -> None:
    upstream.answer("/v1/models", answer)
    async with Checker() as checker:
        with pytest.raises(DiscoveryError, match=reason):
            await checker.discover(target_of(upstream.url, timeout_seconds=0.3 if "300ms" in reason else 5))
