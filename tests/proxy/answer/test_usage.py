"""Tokens are counted from every answer, and the client sees only what it asked for."""

from __future__ import annotations

import itertools
import json
import time
from typing import TYPE_CHECKING

import httpx
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.answer.usage import Tap, Tokens, asking, tokens_in
from tests.fakes import answers
from tests.fakes.answers import LAST_CHUNK, RESET
from tests.proxy.conftest import CHAT, chat_body, gateway_with, target_for
from tests.proxy.wire import raw_client

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.fakes.upstream import FakeUpstream
    from tests.proxy.conftest import Served

    Table = Callable[..., None]

PATH = "/v1/chat/completions"
DONE = b"data: [DONE]\n\n"
WORDS = answers.chat_events("m1", ["Hel", 'lo "usage": {} ', "\u00e9"])[:-1]
COUNTS = {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8}
USAGE = answers.event({"id": "chatcmpl-1", "choices": [], "usage": COUNTS})
COUNTED = Tokens(prompt=5, completion=3, cached=None)
NESTED = b"[" * 5000 + b"]" * 5000


@pytest.fixture(autouse=True)
def _one_endpoint(table: Table, upstream: FakeUpstream) -> None:
    table(target_for(upstream))


def logged(caplog: pytest.LogCaptureFixture, answer: httpx.Response) -> str:
    """The line of the request that was answered. The server writes it some time after the answer."""
    number = answer.headers["x-olla-request-id"]
    deadline = time.monotonic() + 10
    while not (found := [line for line in caplog.text.splitlines() if number in line]):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return found[0]


def asked_of(upstream: FakeUpstream) -> object:
    return upstream.requests[0].json().get("stream_options")


def test_usage_is_asked_for_and_kept_from_a_client_that_did_not_ask(
    client: httpx.Client, upstream: FakeUpstream, caplog: pytest.LogCaptureFixture
) -> None:
    upstream.answer(PATH, answers.sse([*WORDS, USAGE, DONE]))

    answer = client.post(CHAT, json=chat_body(stream=True))

    assert asked_of(upstream) == {"include_usage": True}
    assert answer.content == b"".join([*WORDS, DONE])
    assert " prompt=5 completion=3" in logged(caplog, answer)


def test_a_client_that_asks_sees_its_usage(
    client: httpx.Client, upstream: FakeUpstream, caplog: pytest.LogCaptureFixture
) -> None:
    upstream.answer(PATH, answers.sse([*WORDS, USAGE, DONE]))

    body = chat_body(stream=True, stream_options={"include_usage": True})
    answer = client.post(CHAT, json=body)

    assert upstream.requests[0].json() == body
    assert answer.content == b"".join([*WORDS, USAGE, DONE])
    assert " prompt=5 completion=3" in logged(caplog, answer)


def test_nothing_is_asked_for_when_it_is_switched_off(
    serve: Callable[..., Served], upstream: FakeUpstream, caplog: pytest.LogCaptureFixture
) -> None:
    gateway = gateway_with()
    gateway.ask_for_usage = False
    answer = httpx.post(serve(gateway).url + CHAT, json=chat_body(stream=True), trust_env=False)

    assert asked_of(upstream) is None
    assert "prompt=" not in logged(caplog, answer)


def test_the_tokens_of_a_plain_answer_are_counted(
    client: httpx.Client, caplog: pytest.LogCaptureFixture
) -> None:
    answer = client.post(CHAT, json=chat_body())

    assert " prompt=5 completion=3" in logged(caplog, answer)


def test_an_error_instead_of_a_stream_passes_whole(client: httpx.Client, upstream: FakeUpstream) -> None:
    upstream.answer(PATH, answers.error(400, "No \n\n such thing."))

    answer = client.post(CHAT, json=chat_body(stream=True))

    assert answer.json()["error"]["message"] == "No \n\n such thing."


def test_a_stream_that_breaks_in_half_an_event_still_says_so(
    serve: Callable[..., Served], upstream: FakeUpstream
) -> None:
    upstream.answer(PATH, answers.sse([WORDS[0], b'data: {"choi'], end=[RESET]))
    with raw_client(serve(gateway_with()).port) as raw:
        raw.post(stream=True)
        wire = raw.read_to_close()

    assert b'"code":"upstream_disconnected"' in wire
    assert not wire.endswith(LAST_CHUNK)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(edges)]


@pytest.mark.parametrize("end", [b"\n\n", b"\r\n\r\n"])
@given(places=st.lists(st.integers(0, 10_000), max_size=40))
def test_hiding_does_not_depend_on_where_the_stream_is_cut(end: bytes, places: list[int]) -> None:
    tap = Tap(hide=True)
    stream = b"".join([*WORDS, USAGE, DONE]).replace(b"\n\n", end)

    shown = b"".join([*map(tap.take, cut(stream, places)), tap.rest()])

    assert shown == b"".join([*WORDS, DONE]).replace(b"\n\n", end)
    assert tap.tokens() == COUNTED


def test_whole_events_are_passed_on_at_once() -> None:
    tap = Tap(hide=True)

    assert [tap.take(event) for event in [*WORDS, USAGE, DONE]] == [*WORDS, b"", DONE]


def test_what_is_no_event_is_not_held_back_for_ever() -> None:
    tap = Tap(hide=True)
    flood = [b"x" * 40_000] * 3

    shown = [tap.take(piece) for piece in flood]

    assert sum(map(len, shown)) >= 80_000
    assert b"".join(shown) + tap.rest() == b"".join(flood)


def test_fields_that_say_no_usage_yet_are_hidden_too() -> None:
    event = b'data: {"id": "1", "choices": [{"index": 0}], "usage": null}\n\n'

    assert Tap(hide=True).take(event) == b'data: {"id": "1", "choices": [{"index": 0}]}\n\n'


@pytest.mark.parametrize(
    ("body", "sent"),
    [
        (b'{"stream": true} \n', b'{"stream": true,"stream_options":{"include_usage":true}} \n'),
        (b'{"stream_options" : null, "a": 1.0}', b'{"stream_options" : {"include_usage":true}, "a": 1.0}'),
        (b'{"stream_options": {"include_usage": false}}', b'{"stream_options": {"include_usage":true}}'),
        (
            b'{"stream_options": {"x": 1}, "b": "}"}',
            b'{"stream_options": {"x":1,"include_usage":true}, "b": "}"}',
        ),
        (b'{"stream_options": {"include_usage": true}}', None),
        (b'{"stream_options": "always"}', None),
        (b'{"tool": {"stream_options": {}}, "stream_options": {}}', None),
    ],
)
def test_the_wish_is_added_and_nothing_else_changes(body: bytes, sent: bytes | None) -> None:
    class Fields(msgspec.Struct):
        stream_options: msgspec.Raw = msgspec.Raw()

    assert asking(body, msgspec.json.decode(body, type=Fields).stream_options) == sent


@pytest.mark.parametrize(
    ("said", "tokens"),
    [
        (COUNTS, COUNTED),
        ({**COUNTS, "prompt_tokens_details": {"cached_tokens": 4}}, Tokens(5, 3, 4)),
        ({"prompt_tokens": 8, "total_tokens": 8}, Tokens(8, None, None)),
        (
            {"input_tokens": 5, "output_tokens": 3, "input_tokens_details": {"cached_tokens": 2}},
            Tokens(5, 3, 2),
        ),
        ({"input_tokens": 5, "output_tokens": 3, "cache_read_input_tokens": 10}, Tokens(15, 3, 10)),
        ({"prompt_tokens": "many", "completion_tokens": -1}, Tokens(None, None, None)),
        ({"prompt_tokens": 2**31, "completion_tokens": 10**30}, Tokens(None, None, None)),
    ],
)
def test_it_reads_the_usage_of_every_api(said: dict[str, object], tokens: Tokens) -> None:
    assert tokens_in(json.dumps({"x": 1, "usage": said}).encode()) == tokens


@pytest.mark.parametrize(
    "tail",
    [
        *(b"", b'{"usage": null}', b'{"usage": {"prompt_tok', b'{"a": "\\"usage\\": {}"}'),
        b'"usage": {"a": ' + NESTED + b"}",
        b'"usage": {"a": {"b": ' + NESTED + b"}}",
    ],
)
def test_an_answer_without_usage_has_no_tokens(tail: bytes) -> None:
    assert tokens_in(tail) is None
