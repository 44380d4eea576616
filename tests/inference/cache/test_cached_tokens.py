"""What the usage of an answer says about the prompt cache, on every route, streamed and not."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import pytest

from tests.inference.conftest import TINY

if TYPE_CHECKING:
    import httpx
    import openai

LENGTH = 80


def fresh_tokens() -> list[int]:
    """A prompt that no other test has sent."""
    return [*uuid.uuid4().bytes, *range(1000, 1000 + LENGTH - 16)]


def completion(client: openai.OpenAI, **fields: Any) -> tuple[int, int]:
    answer = client.completions.create(model=TINY, temperature=0, max_tokens=3, **fields)
    assert answer.usage is not None
    assert answer.usage.prompt_tokens_details is not None
    return answer.usage.prompt_tokens, answer.usage.prompt_tokens_details.cached_tokens or 0


def test_a_completion_says_what_it_knew(tiny_client: openai.OpenAI) -> None:
    prompt = fresh_tokens()
    assert completion(tiny_client, prompt=prompt) == (LENGTH, 0)
    assert completion(tiny_client, prompt=prompt) == (LENGTH, LENGTH - 1)


def test_a_list_of_prompts_says_what_it_knew_of_all(tiny_client: openai.OpenAI) -> None:
    known, other = fresh_tokens(), fresh_tokens()
    completion(tiny_client, prompt=known)
    assert completion(tiny_client, prompt=[known, other]) == (2 * LENGTH, LENGTH - 1)


def test_choices_that_know_the_first_one_s_prompt_make_no_prompt_cached(tiny_client: openai.OpenAI) -> None:
    prompt = fresh_tokens()
    assert completion(tiny_client, prompt=prompt, n=3) == (LENGTH, 0)
    assert completion(tiny_client, prompt=prompt, n=3) == (LENGTH, LENGTH - 1)


@pytest.mark.parametrize("stream", [False, True])
def test_chat_says_what_it_knew(tiny_client: openai.OpenAI, stream: bool) -> None:  # noqa: FBT001 -- pytest's
    messages: list[Any] = [{"role": "user", "content": f"{uuid.uuid4()} {uuid.uuid4()}"}]
    usages = []
    for _ in range(2):
        if stream:
            chunks = tiny_client.chat.completions.create(
                model=TINY,
                messages=messages,
                max_tokens=3,
                stream=True,
                stream_options={"include_usage": True},
            )
            usages.append([chunk.usage for chunk in chunks][-1])
        else:
            answer = tiny_client.chat.completions.create(model=TINY, messages=messages, max_tokens=3)
            usages.append(answer.usage)
    first, second = (usage for usage in usages if usage is not None)
    assert first.prompt_tokens_details is not None
    assert second.prompt_tokens_details is not None
    assert (first.prompt_tokens_details.cached_tokens or 0) < first.prompt_tokens - 1
    assert second.prompt_tokens_details.cached_tokens == second.prompt_tokens - 1


def test_the_cached_tokens_are_the_last_part_of_the_usage(tiny_http: httpx.Client) -> None:
    body = {"model": TINY, "prompt": fresh_tokens(), "max_tokens": 1}
    usage = tiny_http.post("/v1/completions", json=body).json()["usage"]
    assert list(usage) == ["prompt_tokens", "completion_tokens", "total_tokens", "prompt_tokens_details"]
