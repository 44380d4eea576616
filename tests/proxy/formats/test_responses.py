"""OpenAI's Responses at the gateway, through its own SDK: passed through or translated to chat."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import openai
import pytest

from tests.fakes import answers
from tests.fakes.answers import LAST_CHUNK, RESET
from tests.fakes.anthropic_answers import chat_says, chat_stream, typed
from tests.proxy.conftest import target_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from openai.types.responses import FunctionToolParam

    from tests.fakes.answers import Step
    from tests.fakes.upstream import FakeUpstream
    from tests.proxy.conftest import Served

CHAT, RESPONSES = "/v1/chat/completions", "/v1/responses"
LOOK: FunctionToolParam = {
    "type": "function",
    "name": "look",
    "parameters": {"type": "object"},
    "strict": False,
}
OUT_OF_MEMORY = answers.event({"error": {"message": "out of memory"}})


@pytest.fixture
def sdk(served: Served) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{served.url}/v1", api_key="not-needed", max_retries=0) as made:
        yield made


@pytest.fixture
def plain(table: Callable[..., None], upstream: FakeUpstream) -> FakeUpstream:
    """An endpoint that speaks chat only."""
    table(target_for(upstream, type="openai-compatible"))
    return upstream


def test_an_endpoint_that_speaks_it_gets_the_very_bytes(
    sdk: openai.OpenAI, table: Callable[..., None], upstream: FakeUpstream
) -> None:
    table(target_for(upstream))
    upstream.answer(RESPONSES, answers.respond({"id": "resp_1", "object": "response", "output": []}))

    assert sdk.responses.create(model="m1", input="Hello", store=True).id == "resp_1"
    assert upstream.requests[0].json() == {"model": "m1", "input": "Hello", "store": True}


def test_a_response_is_made_from_a_chat(sdk: openai.OpenAI, plain: FakeUpstream) -> None:
    call = {"id": "call_a", "type": "function", "function": {"name": "look", "arguments": '{"at": 1}'}}
    message = {"content": "I look.", "reasoning_content": "Hm.", "tool_calls": [call]}
    plain.answer(CHAT, chat_says(message, "tool_calls"))

    response = sdk.responses.create(model="m1", input="Hello", instructions="Be brief.", tools=[LOOK])

    assert [item.type for item in response.output] == ["reasoning", "message", "function_call"]
    assert response.output_text == "I look."
    assert response.status == "completed"
    assert response.usage is not None
    assert (response.usage.input_tokens, response.usage.input_tokens_details.cached_tokens) == (30, 20)
    sent = plain.requests[0].json()
    assert [each["role"] for each in sent["messages"]] == ["system", "user"]


def test_a_streamed_response_is_made_from_a_streamed_chat(sdk: openai.OpenAI, plain: FakeUpstream) -> None:
    deltas: list[dict[str, Any]] = [{"reasoning": "Hm."}, {"content": "I "}, {"content": "look."}]
    deltas.append({"tool_calls": [{"index": 0, "id": "c", "function": {"name": "look", "arguments": "{}"}}]})
    plain.answer(CHAT, answers.sse(chat_stream(deltas, "tool_calls")))

    with sdk.responses.stream(model="m1", input="Hello", tools=[LOOK]) as stream:
        kinds = [event.type for event in stream]
        response = stream.get_final_response()

    assert response.output_text == "I look."
    assert response.output[2].type == "function_call"
    assert kinds[:2] == ["response.created", "response.in_progress"]
    assert kinds[-1] == "response.completed"
    assert kinds.count("response.output_text.delta") == 2


def test_what_would_need_a_memory_is_refused_by_name(sdk: openai.OpenAI, plain: FakeUpstream) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        sdk.responses.create(model="m1", input="Hello", previous_response_id="resp_1")

    assert caught.value.param == "previous_response_id"
    assert plain.requests == []


def test_a_backends_error_passes_as_it_is(sdk: openai.OpenAI, plain: FakeUpstream) -> None:
    plain.answer(CHAT, answers.error(400, "too long"))

    with pytest.raises(openai.BadRequestError, match="too long"):
        sdk.responses.create(model="m1", input="Hello")


@pytest.mark.parametrize(
    ("rest", "end", "said"),
    [([], [RESET], "not the whole answer"), ([OUT_OF_MEMORY], [LAST_CHUNK], "out of memory")],
)
def test_a_stream_that_breaks_says_so_in_its_own_events(
    sdk: openai.OpenAI, plain: FakeUpstream, rest: list[bytes], end: list[Step], said: str
) -> None:
    plain.answer(CHAT, answers.sse([*chat_stream([{"content": "half"}])[:2], *rest], end=end))
    seen: list[Any] = []

    with pytest.raises(openai.APIConnectionError):
        seen.extend(sdk.responses.create(model="m1", input="Hello", stream=True))

    assert [event.type for event in seen[-2:]] == ["error", "response.failed"]
    assert said in seen[-2].message
    assert [event.sequence_number for event in seen] == list(range(len(seen)))


def test_a_passed_stream_is_not_touched(
    sdk: openai.OpenAI, table: Callable[..., None], upstream: FakeUpstream
) -> None:
    table(target_for(upstream))
    response = {"id": "resp_1", "object": "response", "output": [], "status": "completed"}
    upstream.answer(
        RESPONSES,
        answers.sse([typed({"type": "response.completed", "response": response, "sequence_number": 0})]),
    )

    events = list(sdk.responses.create(model="m1", input="Hello", stream=True))

    assert [event.type for event in events] == ["response.completed"]
