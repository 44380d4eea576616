"""Large batches of embeddings are split over the endpoints, and nobody notices but by the time they take."""

from __future__ import annotations

import base64
from array import array
from typing import TYPE_CHECKING, Any

import httpx
import openai
import pytest

from tests.fakes import answers
from tests.fakes.answers import CLOSE
from tests.proxy.conftest import gateway_with, target_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tests.fakes.answers import SeenRequest, Step
    from tests.fakes.upstream import FakeUpstream
    from tests.proxy.conftest import Served

PATH = "/v1/embeddings"
TEXTS = [f"text {number}" for number in range(10)]


def embed(request: SeenRequest) -> Iterable[Step]:
    """The vector of `text 7` is [7.0], whichever endpoint makes it; the last one comes first."""
    asked = request.json()

    def vector(text: str) -> Any:
        number = float(text.split()[1])
        encoded = base64.b64encode(array("f", [number]).tobytes()).decode()
        return encoded if asked.get("encoding_format") == "base64" else [number]

    rows = [
        {"object": "embedding", "index": index, "embedding": vector(text)}
        for index, text in enumerate(asked["input"])
    ]
    usage = {"prompt_tokens": 2 * len(rows), "total_tokens": 2 * len(rows)}
    return answers.respond({"object": "list", "data": rows[::-1], "model": "m1", "usage": usage})(request)


@pytest.fixture
def pair(
    serve: Callable[..., Served], table: Callable[..., None], upstreams: Callable[..., FakeUpstream]
) -> tuple[str, FakeUpstream, FakeUpstream]:
    """The URL of a gateway that sends three texts at most to each of two endpoints."""
    gateway = gateway_with()
    gateway.embedding_batch_size = 3
    first, second = upstreams("m1"), upstreams("m1")
    for upstream in (first, second):
        upstream.answer(PATH, embed)
    table(target_for(first), target_for(second, number=2))
    return serve(gateway).url, first, second


@pytest.mark.parametrize("encoding", ["float", "base64"])
def test_vectors_come_back_in_order_and_usage_is_summed(
    pair: tuple[str, FakeUpstream, FakeUpstream], encoding: Any
) -> None:
    url, first, second = pair
    with openai.OpenAI(base_url=f"{url}/v1", api_key="x", max_retries=0) as sdk:
        answer = sdk.embeddings.create(model="m1", input=TEXTS, encoding_format=encoding)

    vectors: list[Any] = [row.embedding for row in answer.data]
    numbers = [
        array("f", base64.b64decode(vector))[0] if isinstance(vector, str) else vector[0]
        for vector in vectors
    ]
    assert numbers == list(range(10))
    assert [row.index for row in answer.data] == list(range(10))
    assert answer.usage.prompt_tokens == 20
    sizes = [len(seen.json()["input"]) for upstream in (first, second) for seen in upstream.requests]
    assert sorted(sizes) == [1, 3, 3, 3]
    assert first.requests
    assert second.requests


def test_one_part_that_fails_is_tried_elsewhere(pair: tuple[str, FakeUpstream, FakeUpstream]) -> None:
    url, first, _ = pair
    first.answer(PATH, answers.raw(CLOSE))

    answer = httpx.post(url + PATH, json={"model": "m1", "input": TEXTS}, trust_env=False)

    assert [row["embedding"] for row in answer.json()["data"]] == [[float(number)] for number in range(10)]


def test_a_refusal_of_one_part_is_the_answer(pair: tuple[str, FakeUpstream, FakeUpstream]) -> None:
    url, first, second = pair
    for upstream in (first, second):
        upstream.answer(PATH, answers.error(400, "too long"))

    answer = httpx.post(url + PATH, json={"model": "m1", "input": TEXTS}, trust_env=False)

    assert (answer.status_code, answer.json()["error"]["message"]) == (400, "too long")


def test_a_wrong_number_of_vectors_is_an_error(pair: tuple[str, FakeUpstream, FakeUpstream]) -> None:
    url, first, second = pair
    for upstream in (first, second):
        upstream.answer(PATH, answers.embeddings)

    answer = httpx.post(url + PATH, json={"model": "m1", "input": TEXTS}, trust_env=False)

    assert answer.status_code == 502


@pytest.mark.parametrize("given", [TEXTS[:3], "text 1", list(range(50))])
def test_what_fits_in_one_request_goes_as_it_came(
    pair: tuple[str, FakeUpstream, FakeUpstream], given: object
) -> None:
    url, first, second = pair
    for upstream in (first, second):
        upstream.answer(PATH, answers.embeddings)

    httpx.post(url + PATH, json={"model": "m1", "input": given}, trust_env=False)

    assert [seen.json()["input"] for seen in (*first.requests, *second.requests)] == [given]


def test_one_endpoint_gets_all_at_once(
    pair: tuple[str, FakeUpstream, FakeUpstream], table: Callable[..., None]
) -> None:
    url, first, _ = pair
    table(target_for(first))

    httpx.post(url + PATH, json={"model": "m1", "input": TEXTS}, trust_env=False)

    assert len(first.requests) == 1
