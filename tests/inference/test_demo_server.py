"""The real demo models behind the real server, asked with the openai SDK."""

from __future__ import annotations

import asyncio
import base64
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import openai
import pytest

from inference.http.consumers import INPUTS_AT_A_TIME
from tests.inference.conftest import DEMO, DEMO_EMBEDDING

if TYPE_CHECKING:
    from tests.inference.servers import Running

pytestmark = pytest.mark.model

SENTENCES = ["The weather is lovely today.", "It's so sunny outside!", "He drove to the stadium."]
PUBLISHED_SIMILARITIES = [[1, 0.6660, 0.1046], [0.6660, 1, 0.1411], [0.1046, 0.1411, 1]]
QUESTION: list[Any] = [{"role": "user", "content": "What is the capital of France?"}]


def similarities(vectors: Any) -> Any:
    return np.asarray(vectors) @ np.asarray(vectors).T


def test_it_knows_the_capital_of_france(demo_client: openai.OpenAI) -> None:
    answer = demo_client.chat.completions.create(model=DEMO, messages=QUESTION, temperature=0)
    assert answer.choices[0].message.content == "The capital of France is Paris."
    assert answer.choices[0].finish_reason == "stop"


def test_a_stream_says_the_same_piece_by_piece(demo_client: openai.OpenAI) -> None:
    chunks = list(
        demo_client.chat.completions.create(model=DEMO, messages=QUESTION, temperature=0, stream=True)
    )
    pieces = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices[0].delta.content]
    assert "".join(pieces) == "The capital of France is Paris."
    assert len(pieces) > 3
    assert chunks[-1].choices[0].finish_reason == "stop"


@pytest.mark.parametrize("stop", ["Paris", " Paris", "Par", "France is", "ance is P", "."])
def test_a_stop_string_may_begin_and_end_inside_of_tokens(demo_client: openai.OpenAI, stop: str) -> None:
    answer = demo_client.chat.completions.create(model=DEMO, messages=QUESTION, temperature=0, stop=stop)
    assert answer.choices[0].message.content == "The capital of France is Paris.".split(stop, maxsplit=1)[0]
    assert answer.choices[0].finish_reason == "stop"


def test_a_completion_keeps_its_leading_space(demo_client: openai.OpenAI) -> None:
    answer = demo_client.completions.create(
        model=DEMO, prompt="The capital of France is", temperature=0, max_tokens=2
    )
    assert answer.choices[0].text == " Paris."


@pytest.mark.parametrize("encoding", ["float", "base64"])
def test_embeddings_have_the_published_similarities(demo_client: openai.OpenAI, encoding: Any) -> None:
    answer = demo_client.embeddings.create(model=DEMO_EMBEDDING, input=SENTENCES, encoding_format=encoding)
    vectors: list[Any] = [entry.embedding for entry in answer.data]
    if encoding == "base64":
        vectors = [np.frombuffer(base64.b64decode(vector), dtype="<f4") for vector in vectors]
    assert np.abs(similarities(vectors) - PUBLISHED_SIMILARITIES).max() < 1e-4
    assert answer.usage.prompt_tokens == answer.usage.total_tokens == 25


def test_the_default_encoding_of_the_sdk_works(demo_client: openai.OpenAI) -> None:
    answer = demo_client.embeddings.create(model=DEMO_EMBEDDING, input=SENTENCES)
    assert (
        np.abs(similarities([entry.embedding for entry in answer.data]) - PUBLISHED_SIMILARITIES).max() < 1e-4
    )


def test_embeddings_have_the_shape_of_the_seed(demo_server: Running) -> None:
    body = {"model": DEMO_EMBEDDING, "input": "MLX is optimised for Apple Silicon"}
    answer = httpx.post(f"{demo_server.url}/v1/embeddings", json=body, timeout=60, trust_env=False).json()
    assert list(answer) == ["object", "data", "model", "usage"]
    assert list(answer["data"][0]) == ["object", "index", "embedding"]
    assert (answer["object"], answer["data"][0]["object"], answer["data"][0]["index"]) == (
        "list",
        "embedding",
        0,
    )
    assert len(answer["data"][0]["embedding"]) == 384


def test_an_input_that_is_too_long_to_embed_is_refused(demo_client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        demo_client.embeddings.create(model=DEMO_EMBEDDING, input="word " * 1000)
    assert refused.value.code == "context_length_exceeded"
    assert "256" in refused.value.message


def test_a_token_id_that_the_embedding_model_does_not_have_is_refused(demo_client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="Input 1 holds a token id") as refused:
        demo_client.embeddings.create(model=DEMO_EMBEDDING, input=[[5], [10**6]])
    assert (refused.value.code, refused.value.param) == ("invalid_value", "input")


def test_many_inputs_are_tokenized_a_few_at_a_time_and_keep_their_places(demo_client: openai.OpenAI) -> None:
    texts = [f"The number {place}." for place in range(INPUTS_AT_A_TIME + 2)]
    together = demo_client.embeddings.create(model=DEMO_EMBEDDING, input=texts).data
    alone = demo_client.embeddings.create(model=DEMO_EMBEDDING, input=texts[-1:]).data[0]
    assert [one.index for one in together] == list(range(len(texts)))
    assert together[-1].embedding == pytest.approx(alone.embedding, abs=1e-5)

    with pytest.raises(openai.BadRequestError, match=rf"Input {len(texts)} has .* tokens"):
        demo_client.embeddings.create(model=DEMO_EMBEDDING, input=[*texts, "word " * 1000])


def test_embeddings_of_the_chat_model_are_refused_with_the_right_name(demo_client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match=DEMO_EMBEDDING):
        demo_client.embeddings.create(model=DEMO, input="hi")


def test_chat_with_the_embedding_model_is_refused_with_the_right_name(demo_client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match=DEMO):
        demo_client.chat.completions.create(model=DEMO_EMBEDDING, messages=QUESTION)


def test_both_models_are_listed(demo_client: openai.OpenAI) -> None:
    assert [model.id for model in demo_client.models.list()] == [DEMO, DEMO_EMBEDDING]
    assert demo_client.models.retrieve(DEMO).owned_by == "vllm-mlx"


def test_many_at_once_say_what_each_says_alone(demo_server: Running) -> None:
    questions = [f"What is {number} plus {number}?" for number in range(4)]

    async def ask_all() -> tuple[list[str], list[str]]:
        base = f"{demo_server.url}/v1"
        async with openai.AsyncOpenAI(base_url=base, api_key="x", max_retries=0) as client:

            async def ask(question: str) -> str:
                answer = await client.chat.completions.create(
                    model=DEMO,
                    messages=[{"role": "user", "content": question}],
                    temperature=0,
                    max_tokens=10,
                )
                return answer.choices[0].message.content or ""

            together = await asyncio.gather(*map(ask, questions))
            return together, [await ask(question) for question in questions]

    together, alone = asyncio.run(ask_all())
    assert together == alone
