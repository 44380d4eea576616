"""The openai SDK against the gateway: what most clients are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anthropic
import openai
import pytest
from langchain_openai import ChatOpenAI
from pydantic import SecretStr

from endpoints.choices import Status
from tests.fakes import answers
from tests.fakes.answers import CLOSE, HANG, RESET
from tests.proxy.conftest import target_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from openai.types.chat import ChatCompletionUserMessageParam

    from tests.fakes.upstream import FakeUpstream
    from tests.proxy.conftest import Served

    Table = Callable[..., None]

PATH = "/v1/chat/completions"
MESSAGES: list[ChatCompletionUserMessageParam] = [{"role": "user", "content": "What is MLX?"}]


@pytest.fixture(params=["/v1", "/olla/vllm-mlx/v1"])
def sdk(request: pytest.FixtureRequest, served: Served) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=served.url + request.param, api_key="not-needed") as made:
        yield made


@pytest.fixture(autouse=True)
def _one_endpoint(table: Table, upstream: FakeUpstream) -> None:
    table(target_for(upstream))


def test_it_chats(sdk: openai.OpenAI) -> None:
    answer = sdk.chat.completions.create(model="m1", messages=MESSAGES)

    assert answer.choices[0].message.content == "MLX is fast."
    assert answer.usage is not None
    assert answer.usage.total_tokens == 8


def test_it_streams(sdk: openai.OpenAI) -> None:
    chunks = list(sdk.chat.completions.create(model="m1", messages=MESSAGES, stream=True))

    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "MLX is fast."
    assert chunks[-1].choices[0].finish_reason == "stop"


def test_it_lists_models(sdk: openai.OpenAI) -> None:
    assert [model.id for model in sdk.models.list()] == ["m1"]
    assert sdk.models.retrieve("m1").owned_by == "vllm-mlx"


def test_an_unknown_model_is_its_not_found_error(sdk: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        sdk.chat.completions.create(model="nope", messages=MESSAGES)

    assert caught.value.code == "model_not_found"
    assert caught.value.request_id == caught.value.response.headers["x-olla-request-id"]


def test_a_cut_stream_raises(sdk: openai.OpenAI, upstream: FakeUpstream) -> None:
    upstream.answer(PATH, answers.sse(answers.chat_events("m1", ["half"])[:2], end=[RESET]))

    with pytest.raises(openai.APIError, match="not the whole answer"):
        list(sdk.chat.completions.create(model="m1", messages=MESSAGES, stream=True))


def test_a_cut_stream_raises_in_anthropics_sdk_too(served: Served, upstream: FakeUpstream) -> None:
    start = {"type": "message_start", "message": {"id": "msg_1", "type": "message", "role": "assistant"}}
    upstream.answer(
        "/v1/messages", answers.sse([b"event: message_start\n" + answers.event(start)], end=[RESET])
    )

    with anthropic.Anthropic(base_url=f"{served.url}/olla/anthropic", api_key="not-needed") as client:
        told = client.messages.create(
            model="m1", max_tokens=5, messages=[{"role": "user", "content": "What is MLX?"}], stream=True
        )
        with pytest.raises(anthropic.APIError, match="not the whole answer"):
            list(told)


def test_an_answer_that_is_shorter_than_its_length_raises(sdk: openai.OpenAI, upstream: FakeUpstream) -> None:
    long = answers.head(200, {"Content-Type": "application/json", "Content-Length": 500_000})
    upstream.answer(PATH, answers.raw(long + b'{"id": "' + b"x" * 300_000, RESET))

    with pytest.raises(openai.APIConnectionError):
        sdk.with_options(max_retries=0).chat.completions.create(model="m1", messages=MESSAGES)


def test_its_retries_do_not_multiply_ours(sdk: openai.OpenAI, upstream: FakeUpstream) -> None:
    upstream.answer(PATH, answers.raw(CLOSE))

    with pytest.raises(openai.InternalServerError):
        sdk.chat.completions.create(model="m1", messages=MESSAGES)

    assert len(upstream.requests_for(PATH)) == 1


def test_a_refused_key_is_its_authentication_error(sdk: openai.OpenAI, table: Table) -> None:
    with pytest.raises(openai.AuthenticationError):
        sdk.with_options(default_headers={"X-Forwarded-For": "10.0.0.1"}).models.list()


def test_no_routable_endpoint_is_its_server_error(
    sdk: openai.OpenAI, table: Table, upstream: FakeUpstream
) -> None:
    table(target_for(upstream, status=Status.OFFLINE))

    with pytest.raises(openai.InternalServerError) as caught:
        sdk.with_options(max_retries=0).chat.completions.create(model="m1", messages=MESSAGES)

    assert caught.value.code == "model_unavailable"


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, openai.BadRequestError),
        (401, openai.AuthenticationError),
        (403, openai.PermissionDeniedError),
        (404, openai.NotFoundError),
        (409, openai.ConflictError),
        (422, openai.UnprocessableEntityError),
        (429, openai.RateLimitError),
        (500, openai.InternalServerError),
    ],
)
def test_a_backends_error_is_of_its_own_class(
    sdk: openai.OpenAI, upstream: FakeUpstream, status: int, error: type[openai.APIStatusError]
) -> None:
    upstream.answer(PATH, answers.error(status, "no", headers={"Retry-After": 3}))

    with pytest.raises(error) as caught:
        sdk.with_options(max_retries=0).chat.completions.create(model="m1", messages=MESSAGES)

    assert caught.value.response.headers["retry-after"] == "3"
    assert caught.value.request_id == caught.value.response.headers["x-olla-request-id"]


def test_its_timeout_and_a_gateway_that_is_not_there_are_its_own_errors(
    sdk: openai.OpenAI, upstream: FakeUpstream
) -> None:
    upstream.answer(PATH, answers.raw(HANG))
    patient = sdk.with_options(max_retries=0)

    with pytest.raises(openai.APITimeoutError):
        patient.with_options(timeout=0.1).chat.completions.create(model="m1", messages=MESSAGES)
    with pytest.raises(openai.APIConnectionError):
        patient.with_options(base_url="http://127.0.0.1:9/v1").models.list()


def test_langchain_raises_the_same_classes(served: Served, upstream: FakeUpstream) -> None:
    model = ChatOpenAI(base_url=f"{served.url}/v1", api_key=SecretStr("x"), model="m1", max_retries=0)
    assert model.invoke("Hi").text == "MLX is fast."
    assert "".join(str(piece.text) for piece in model.stream("Hi")) == "MLX is fast."

    upstream.answer(PATH, answers.error(429, "no"))
    with pytest.raises(openai.RateLimitError):
        model.invoke("Hi")
    with pytest.raises(openai.NotFoundError):
        model.invoke("Hi", model="nope")
