"""The current openai SDK against the gateway: what it parses and what it raises."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import httpx2
import openai
import pytest

from tests.e2e.gateway import CHAT_MODEL, EMBEDDING_MODEL

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.gateway import Gateway

pytestmark = [pytest.mark.model, pytest.mark.timeout(180)]

QUESTION = "What is the capital of France?"


@pytest.fixture(params=["/v1", "/olla/vllm-mlx/v1"])
def client(gateway: Gateway, request: pytest.FixtureRequest) -> Iterator[openai.OpenAI]:
    with (
        httpx2.Client(trust_env=False) as transport,
        openai.OpenAI(
            base_url=gateway.url + request.param, api_key="not-needed", max_retries=0, http_client=transport
        ) as found,
    ):
        yield found


def test_it_chats(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model=CHAT_MODEL, messages=[{"role": "user", "content": QUESTION}], temperature=0, max_tokens=24
    )

    assert "Paris" in (answer.choices[0].message.content or "")
    assert answer.usage is not None
    assert answer.usage.completion_tokens > 0


def test_it_streams_with_usage(client: openai.OpenAI) -> None:
    stream = client.chat.completions.create(
        model=CHAT_MODEL,
        messages=[{"role": "user", "content": QUESTION}],
        temperature=0,
        max_tokens=24,
        stream=True,
        stream_options={"include_usage": True},
    )

    with stream:
        chunks = list(stream)

    assert "Paris" in "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens > 0


def test_it_completes(client: openai.OpenAI) -> None:
    answer = client.completions.create(
        model=CHAT_MODEL, prompt="One, two, three,", max_tokens=8, temperature=0
    )

    assert "four" in answer.choices[0].text


def test_it_embeds_in_its_default_encoding(client: openai.OpenAI) -> None:
    """The SDK asks for base64 unless told otherwise, and decodes it itself."""
    answer = client.embeddings.create(model=EMBEDDING_MODEL, input="MLX is optimised for Apple Silicon")

    vector = answer.data[0].embedding
    assert len(vector) == 384
    assert math.isclose(math.hypot(*vector), 1.0, abs_tol=1e-4)


def test_it_lists_and_retrieves_models(client: openai.OpenAI) -> None:
    names = {model.id for model in client.models.list()}

    assert names == {CHAT_MODEL, EMBEDDING_MODEL}
    assert client.models.retrieve(CHAT_MODEL).id == CHAT_MODEL


def test_an_unknown_model_is_its_own_error(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": QUESTION}])

    assert caught.value.code == "model_not_found"
    assert CHAT_MODEL in caught.value.message


def test_a_bad_parameter_is_its_own_error(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(
            model=CHAT_MODEL, messages=[{"role": "user", "content": QUESTION}], temperature=-3
        )

    assert caught.value.param == "temperature"
