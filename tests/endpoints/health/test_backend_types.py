"""Every backend type, against a fake that answers in that server's own shapes: well, its models, its type."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from endpoints import profiles
from endpoints.choices import Status
from endpoints.errors import DetectionError
from endpoints.health import detection
from endpoints.health.checking import check_target
from endpoints.health.probe import Checker
from endpoints.models import Endpoint
from tests.fakes import answers, servers

if TYPE_CHECKING:
    from tests.fakes.answers import Answer
    from tests.fakes.upstream import FakeUpstream

every_type = pytest.mark.parametrize("backend_type", servers.BY_TYPE)


def endpoint_at(upstream: FakeUpstream, backend_type: str = "vllm-mlx") -> Endpoint:
    return Endpoint(name="mini-1", url=upstream.url, type=backend_type, check_timeout_seconds=2)


def test_every_type_has_a_fake() -> None:
    assert set(servers.BY_TYPE) == {profile.name for profile in profiles.profiles()}


@every_type
async def test_its_health_and_its_models_are_read(upstream: FakeUpstream, backend_type: str) -> None:
    server = servers.BY_TYPE[backend_type]()
    upstream.become(server)
    async with Checker() as checker:
        finding = await checker.check(check_target(endpoint_at(upstream, backend_type)), with_models=True)
    assert (finding.result.status, finding.result.reason) == (Status.HEALTHY, "")
    assert finding.models == server.models


@every_type
def test_its_type_is_detected(upstream: FakeUpstream, backend_type: str) -> None:
    upstream.become(servers.BY_TYPE[backend_type]())
    assert detection.detect(endpoint_at(upstream)).type == backend_type


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (answers.respond(b"<h1>It works!</h1>"), "like no server of models"),
        (answers.error(401, "who are you?"), "asks for a credential"),
        (answers.raw(answers.CLOSE), "closed the connection"),
    ],
)
def test_why_a_type_cannot_be_detected_is_said(upstream: FakeUpstream, answer: Answer, reason: str) -> None:
    upstream.become(servers.FakeServer({}, (), otherwise=answer))
    with pytest.raises(DetectionError, match=reason):
        detection.detect(endpoint_at(upstream))


def test_detection_signs_in_as_the_endpoint_does(upstream: FakeUpstream) -> None:
    endpoint = endpoint_at(upstream)
    endpoint.auth_kind = "bearer"
    endpoint.set_credential("sesame")
    detection.detect(endpoint)
    assert {request.header("authorization") for request in upstream.requests} == {"Bearer sesame"}


async def test_llama_cpp_says_in_a_503_that_its_model_is_loading(upstream: FakeUpstream) -> None:
    upstream.become(servers.llamacpp())
    loading = {"error": {"code": 503, "message": "Loading model", "type": "unavailable_error"}}
    upstream.answer("/health", answers.respond(loading, status=503))
    async with Checker() as checker:
        result = await checker.probe(check_target(endpoint_at(upstream, "llamacpp")))
    assert (result.status, result.reason) == (Status.WARMING, "its model is loading")


async def test_what_is_in_memory_is_decoration(upstream: FakeUpstream) -> None:
    upstream.become(servers.ollama())
    upstream.answer("/api/ps", answers.respond(b"<html>", status=500))
    async with Checker() as checker:
        models = await checker.discover(check_target(endpoint_at(upstream, "ollama")))
    assert {model.loaded for model in models} == {None}


async def test_a_model_url_may_point_at_an_openai_list(upstream: FakeUpstream) -> None:
    upstream.become(servers.ollama())
    endpoint = endpoint_at(upstream, "ollama")
    endpoint.model_url = "/v1/models"
    async with Checker() as checker:
        models = await checker.discover(check_target(endpoint))
    assert [model.name for model in models] == ["llama3.2:latest", "nomic-embed-text:latest"]


@pytest.mark.parametrize(("billions", "seconds"), [(3, 15), (8, 20), (70, 120), (None, 120)])
def test_load_times_follow_the_size_of_the_model(billions: float | None, seconds: float) -> None:
    assert profiles.profile("vllm-mlx").load_seconds_of(billions) == seconds
