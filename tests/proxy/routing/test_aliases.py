"""A model alias leads to the first of its models that can be served."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from endpoints.choices import Status
from endpoints.routing.snapshot import Alias
from tests.fakes import answers
from tests.proxy.conftest import CHAT, chat_body, target_for

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx

    from tests.fakes.upstream import FakeUpstream

    Table = Callable[..., None]
    Upstreams = Callable[..., FakeUpstream]

PATH = "/v1/chat/completions"


@pytest.fixture
def aliased(table: Table) -> Table:
    """Installs targets and `gpt-4o-mini`, which means qwen, else llama."""
    return partial(table, aliases={"gpt-4o-mini": Alias(("qwen", "llama")), "dead": Alias(("none",))})


def ask(client: httpx.Client, **more: Any) -> httpx.Response:
    return client.post(CHAT, json=chat_body("gpt-4o-mini", **more))


def test_the_first_model_serves_on_any_endpoint(
    client: httpx.Client, upstreams: Upstreams, aliased: Table
) -> None:
    qwen = upstreams("qwen")
    aliased(target_for(upstreams("llama"), number=1), target_for(qwen, number=2, priority=1))

    answer = ask(client, temperature=0.5)

    assert (answer.status_code, answer.json()["model"]) == (200, "qwen")
    headers = answer.headers
    assert (headers["x-olla-model"], headers["x-olla-served-model"]) == ("gpt-4o-mini", "qwen")
    assert (headers["x-olla-routing-strategy"], headers["x-olla-routing-decision"]) == ("alias", "routed")
    sent = qwen.requests_for(PATH)[0].body
    assert sent == answer.request.content.replace(b"gpt-4o-mini", b"qwen")


def test_the_next_model_serves_when_the_first_cannot(
    client: httpx.Client, upstreams: Upstreams, aliased: Table
) -> None:
    aliased(
        target_for(upstreams("llama"), number=1),
        target_for(upstreams("qwen"), number=2, status=Status.OFFLINE),
    )

    headers = ask(client).headers

    assert headers["x-olla-served-model"] == "llama"
    assert headers["x-olla-routing-decision"] == "fallback"
    assert headers["x-olla-routing-reason"] == "preferred_model_unavailable"


def test_the_next_model_serves_when_the_first_breaks(
    client: httpx.Client, upstreams: Upstreams, aliased: Table
) -> None:
    broken = upstreams("qwen")
    broken.answer(PATH, answers.error(503, "loading"))
    aliased(target_for(broken, number=1), target_for(upstreams("llama"), number=2))

    answer = ask(client)

    assert (answer.json()["model"], answer.headers["x-olla-attempts"]) == ("llama", "2")


def test_the_next_model_serves_at_the_same_endpoint_when_the_first_is_refused_there(
    client: httpx.Client, upstreams: Upstreams, aliased: Table
) -> None:
    both = upstreams("qwen", "llama")
    usual = answers.respond({"model": "llama", "choices": []})
    busy = answers.error(503, "no memory for qwen")
    both.answer(PATH, lambda seen: (busy if seen.json()["model"] == "qwen" else usual)(seen))
    aliased(target_for(both))

    answer = ask(client)

    assert (answer.status_code, answer.json()["model"]) == (200, "llama")
    assert (answer.headers["x-olla-attempts"], answer.headers["x-olla-served-model"]) == ("2", "llama")
    assert answer.headers["x-olla-routing-reason"] == "preferred_model_unavailable"
    assert [seen.json()["model"] for seen in both.requests_for(PATH)] == ["qwen", "llama"]


def test_an_endpoint_that_broke_is_not_asked_for_the_next_model(
    client: httpx.Client, upstreams: Upstreams, aliased: Table
) -> None:
    broken = upstreams("qwen", "llama")
    broken.answer(PATH, answers.raw(b"no HTTP\r\n\r\n"))
    aliased(target_for(broken))

    answer = ask(client)

    assert (answer.status_code, answer.json()["error"]["code"]) == (502, "upstream_error")
    assert len(broken.requests_for(PATH)) == 1


def test_an_alias_is_listed_while_it_can_be_served(
    client: httpx.Client, upstreams: Upstreams, aliased: Table
) -> None:
    aliased(target_for(upstreams("llama")))

    listed = {each["id"]: each["root"] for each in client.get("/v1/models").json()["data"]}

    assert listed == {"llama": "llama", "gpt-4o-mini": "llama"}
    assert client.get("/v1/models/gpt-4o-mini").json()["id"] == "gpt-4o-mini"


def test_an_alias_without_a_healthy_endpoint_is_unavailable(
    client: httpx.Client, upstreams: Upstreams, aliased: Table
) -> None:
    aliased(target_for(upstreams("llama"), status=Status.OFFLINE))

    answer = ask(client)

    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "model_unavailable")
    assert answer.headers["x-olla-routing-strategy"] == "alias"


def test_an_alias_of_unknown_models_is_not_found(
    client: httpx.Client, upstreams: Upstreams, aliased: Table
) -> None:
    aliased(target_for(upstreams("llama")))

    assert client.post(CHAT, json=chat_body("dead")).status_code == 404
