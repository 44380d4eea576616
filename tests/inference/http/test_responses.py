"""OpenAI's Responses of the model server, and requests that somebody cancels, through the openai SDK."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import httpx
import openai
import pytest

from tests.inference.conftest import DEMO_EMBEDDING, TINY
from tests.inference.http.test_answers_over_http import chat
from tests.inference.http.test_answers_over_http import events as chunks_of

if TYPE_CHECKING:
    from tests.inference.servers import Running


def test_a_response_and_its_stream_say_the_same(tiny_client: openai.OpenAI) -> None:
    how: Any = {"model": TINY, "input": "Say something.", "max_output_tokens": 16, "temperature": 0}
    whole = tiny_client.responses.create(**how)

    events = list(tiny_client.responses.create(**how, stream=True))

    kinds = [event.type for event in events if event.type != "response.output_text.delta"]
    streamed = events[-1].response
    assert streamed.output_text == whole.output_text != ""
    deltas = [event.delta for event in events if event.type == "response.output_text.delta"]
    assert "".join(deltas) == whole.output_text
    assert whole.status == streamed.status == "incomplete"
    assert whole.incomplete_details is not None
    assert whole.incomplete_details.reason == "max_output_tokens"
    assert whole.usage is not None
    assert whole.usage.output_tokens == 16
    assert kinds == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.incomplete",
    ]


def test_what_the_sdk_puts_together_of_a_stream_is_the_text_so_far(tiny_client: openai.OpenAI) -> None:
    said = ""
    with tiny_client.responses.stream(model=TINY, input="Say something.", max_output_tokens=16) as events:
        for event in events:
            if event.type == "response.output_text.delta":
                said += event.delta
                assert event.snapshot == said
    assert said


def test_what_would_need_a_memory_is_refused(tiny_client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        tiny_client.responses.create(model=TINY, input="And?", previous_response_id="resp_1")

    assert caught.value.param == "previous_response_id"


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"max_output_tokens": 0}, "max_output_tokens"),
        ({"temperature": 3}, "temperature"),
        ({"input": "word " * 3000}, "input"),
        ({"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "x"}]}]}, "input"),
        ({"reasoning": {"effort": "endless"}}, "reasoning.effort"),
        ({"text": {"verbosity": "low"}}, "text.verbosity"),
        ({"text": {"format": {"type": "xml"}}}, "text.format.type"),
        (
            {"text": {"format": {"type": "json_schema", "name": "a", "schema": {"type": "x"}}}},
            "text.format.schema",
        ),
        ({"tools": [{"type": "function", "name": ""}]}, "tools[0].name"),
    ],
)
def test_what_is_wrong_is_named_as_the_response_has_it(
    tiny_http: httpx.Client, fields: Any, param: str
) -> None:
    refused = tiny_http.post("/v1/responses", json={"model": TINY, "input": "Hi.", **fields})
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, param)
    if param != "input":
        assert f"'{param}'" in refused.json()["error"]["message"]


@pytest.mark.parametrize("by", ["request", "answer"])
def test_a_cancelled_stream_says_so_and_frees_its_place(tiny_http: httpx.Client, by: str) -> None:
    body = chat(stream=True, max_tokens=None, ignore_eos=True, temperature=1)
    headers = {"x-request-id": f"mine-{by}"}
    with tiny_http.stream("POST", "/v1/chat/completions", json=body, headers=headers) as answer:
        lines = answer.iter_lines()
        first = next(lines)
        name = f"mine-{by}" if by == "request" else first.split('"id":"')[1].split('"')[0]
        cancelled = tiny_http.post(f"/v1/requests/{name}/cancel")
        rest: list[str] = []
        with pytest.raises(Exception, match="peer closed"):
            rest.extend(lines)

    assert cancelled.json()["cancelled"] is True
    assert "request_cancelled" in "".join(rest[-2:])
    assert tiny_http.delete(f"/v1/requests/{name}").status_code == 404


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/responses", {"input": "Say something.", "max_output_tokens": 400}),
        ("/v1/messages", {"messages": [{"role": "user", "content": "Hi."}], "max_tokens": 400}),
    ],
)
def test_a_stream_is_cancelled_by_the_id_that_its_api_gave_it(
    tiny_http: httpx.Client, path: str, body: dict[str, Any]
) -> None:
    with tiny_http.stream("POST", path, json={"model": TINY, "stream": True, **body}) as answer:
        lines = answer.iter_lines()
        name = next(line for line in lines if '"id":"' in line).split('"id":"')[1].split('"')[0]
        assert tiny_http.delete(f"/v1/requests/{name}").json()["cancelled"]
        rest: list[str] = []
        with pytest.raises(httpx.RemoteProtocolError, match="peer closed"):
            rest.extend(lines)
    assert "It was cancelled" in "".join(rest)


def test_a_cancelled_plain_answer_is_an_error(tiny_http: httpx.Client) -> None:
    answers: list[httpx.Response] = []

    def ask() -> None:
        body = chat(max_tokens=None, ignore_eos=True, temperature=1)
        answers.append(
            tiny_http.post("/v1/chat/completions", json=body, headers={"x-request-id": "mine-plain"})
        )

    asking = threading.Thread(target=ask)
    asking.start()
    while tiny_http.delete("/v1/requests/mine-plain").status_code == 404 and asking.is_alive():
        pass
    asking.join()

    assert answers[0].status_code == 499
    assert answers[0].json()["error"]["code"] == "request_cancelled"


def test_an_embedding_is_cancelled_by_its_id_as_well(demo_server: Running) -> None:
    refused: list[openai.APIStatusError] = []

    def ask(client: openai.OpenAI) -> None:
        texts = ["The quick brown fox jumps over the lazy dog. " * 20] * 100
        try:
            client.embeddings.create(
                model=DEMO_EMBEDDING, input=texts, extra_headers={"x-request-id": "mine-vectors"}
            )
        except openai.APIStatusError as error:
            refused.append(error)

    url = f"{demo_server.url}/v1"
    with openai.OpenAI(base_url=url, api_key="not-needed", max_retries=0) as client:
        asking = threading.Thread(target=ask, args=[client])
        asking.start()
        cancel = f"{demo_server.url}/v1/requests/mine-vectors"
        while httpx.delete(cancel).status_code == 404 and asking.is_alive():
            pass
        asking.join()

    assert [(error.status_code, error.code) for error in refused] == [(499, "request_cancelled")]


def test_requests_of_the_same_id_are_cancelled_together(tiny_http: httpx.Client) -> None:
    body = chat(stream=True, max_tokens=None, ignore_eos=True, temperature=1)
    how: Any = {"url": "/v1/chat/completions", "json": body, "headers": {"x-request-id": "twins"}}
    with tiny_http.stream("POST", **how) as one, tiny_http.stream("POST", **how) as other:
        read = [one.iter_lines(), other.iter_lines()]
        for lines in read:
            next(lines)
        assert tiny_http.delete("/v1/requests/twins").json()["cancelled"]
        for lines in read:
            rest: list[str] = []
            with pytest.raises(httpx.RemoteProtocolError):
                rest.extend(lines)
            assert "request_cancelled" in [line for line in rest if line][-1]
    assert tiny_http.delete("/v1/requests/twins").status_code == 404


def test_usage_may_be_wanted_in_every_chunk(tiny_http: httpx.Client) -> None:
    options = {"include_usage": True, "continuous_usage_stats": True}
    chunks = chunks_of(
        tiny_http.post("/v1/chat/completions", json=chat(stream=True, stream_options=options, max_tokens=6))
    )

    counts = [chunk["usage"]["completion_tokens"] for chunk in chunks]
    assert counts == sorted(counts)
    assert counts[-1] == 6


def test_the_stop_string_that_ended_an_answer_is_named(tiny_http: httpx.Client) -> None:
    said = tiny_http.post("/v1/chat/completions", json=chat()).json()["choices"][0]["message"]["content"]

    (choice,) = tiny_http.post("/v1/chat/completions", json=chat(stop=said[4:7])).json()["choices"]

    assert (choice["finish_reason"], choice["stop_reason"]) == ("stop", said[4:7])
