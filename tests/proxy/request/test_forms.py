"""Audio and other routes beyond chat: routed by their model, forms too, and passed on untouched."""

from __future__ import annotations

from typing import TYPE_CHECKING

import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st

from endpoints.routing.snapshot import Alias, Snapshot, install, snapshot
from proxy.request import multipart
from proxy.request.rewrite import with_model
from tests.fakes import answers
from tests.fakes.answers import CLOSE
from tests.proxy.conftest import target_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import httpx

    from tests.fakes.upstream import FakeUpstream
    from tests.proxy.conftest import Served

PATH = "/v1/audio/transcriptions"
SOUND = b'RIFF\r\n--not a boundary\r\nname="model"\r\n\r\n' + bytes(range(256)) * 40


@pytest.fixture
def sdk(served: Served) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{served.url}/v1", api_key="not-needed", max_retries=0) as made:
        yield made


def test_a_transcription_goes_to_its_model_byte_for_byte(
    sdk: openai.OpenAI, table: Callable[..., None], upstreams: Callable[..., FakeUpstream]
) -> None:
    chat, whisper = upstreams("m1"), upstreams("whisper")
    whisper.answer(PATH, answers.respond({"text": "Hello."}))
    table(target_for(chat), target_for(whisper, number=2))

    answer = sdk.audio.transcriptions.with_raw_response.create(model="whisper", file=("a.wav", SOUND))

    assert answer.parse().text == "Hello."
    assert answer.headers["x-olla-model"] == "whisper"
    assert SOUND in whisper.requests[0].body
    assert chat.requests == []


def test_an_unknown_model_of_a_form_is_not_found(
    sdk: openai.OpenAI, table: Callable[..., None], upstream: FakeUpstream
) -> None:
    table(target_for(upstream))

    with pytest.raises(openai.NotFoundError, match="m1"):
        sdk.audio.transcriptions.create(model="nope", file=("a.wav", SOUND))


def test_an_alias_in_a_form_is_replaced_there_alone(
    sdk: openai.OpenAI, table: Callable[..., None], upstreams: Callable[..., FakeUpstream]
) -> None:
    broken, good = upstreams("whisper-large"), upstreams("whisper-large")
    broken.answer(PATH, answers.raw(CLOSE))
    good.answer(PATH, answers.respond({"text": "Hello."}))
    table(target_for(broken), target_for(good, number=2, priority=1))
    install(Snapshot(revision=2, targets=snapshot().targets, aliases={"whisper": Alias(("whisper-large",))}))

    sdk.audio.transcriptions.create(model="whisper", file=("a.wav", SOUND), language="en")

    seen = good.requests[0]
    fields = multipart.fields(seen.body, (seen.header("content-type") or "").encode())
    assert {name: field.value for name, field in fields.items()} == {
        b"model": b"whisper-large",
        b"language": b"en",
    }
    assert SOUND in seen.body


@given(st.dictionaries(st.sampled_from(["model", "a", "b"]), st.text("xyz \r\n-", max_size=9), min_size=1))
def test_every_field_of_a_form_is_found(values: dict[str, str]) -> None:
    parts = [
        f'--B\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in values.items()
    ]
    body = ("".join(parts) + "--B--\r\n").encode()

    found = multipart.fields(body, b"multipart/form-data; boundary=B")

    assert {name.decode(): field.value.decode() for name, field in found.items()} == values
    assert with_model(body, "m") == body.replace(
        f'name="model"\r\n\r\n{values["model"]}\r\n--B'.encode() if "model" in values else b"\0",
        b'name="model"\r\n\r\nm\r\n--B',
    )


PART = b'--B\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n'


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"--B", b"--B\r\n\r\n", b"junk", b"--B\r\nno end of a head", PART, PART + PART + b"--B--\r\n"),
        PART + b"--B\r\nX-A: " + b"x" * 5000 + PART[3:] + b"--B--\r\n",
        PART.replace(b'"a"', b"a; name*=utf-8''b") + b"--B--\r\n",
        PART.replace(b"\r\n\r\n", b'\r\n\tname="b"\r\n\r\n') + b"--B--\r\n",
    ],
)
def test_a_broken_form_has_no_fields(body: bytes) -> None:
    assert multipart.fields(body, b"multipart/form-data; boundary=B") == {}
    assert with_model(body, "m") == body


@pytest.mark.parametrize("path", ["/v1/rerank", "/v1/score", "/tokenize", "/v1/audio/speech"])
def test_other_questions_to_models_are_routed_and_tried_again(
    client: httpx.Client, table: Callable[..., None], upstreams: Callable[..., FakeUpstream], path: str
) -> None:
    broken, good, other = upstreams("m1"), upstreams("m1"), upstreams("m2")
    broken.answer(path, answers.raw(CLOSE))
    good.answer(path, answers.respond({"results": [1]}))
    table(
        target_for(broken), target_for(good, number=2, priority=1), target_for(other, number=3, priority=99)
    )

    answer = client.post(f"/olla/proxy{path}", json={"model": "m1", "query": "x"})

    assert answer.json() == {"results": [1]}
    assert other.requests == []
