"""Strict, optimistic and discovery; what a model can do, and whether a prompt fits into its context."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from endpoints.choices import Status
from endpoints.known_models.abilities import abilities_of
from endpoints.known_models.model_names import parse
from endpoints.models import Endpoint, EndpointHealth
from endpoints.routing.snapshot import Alias, ServedModel, install, snapshot
from proxy.routing.rediscovery import Rediscovery
from tests.fakes import answers
from tests.fakes.answers import CREATED
from tests.proxy.conftest import CHAT, chat_body, gateway_with, target_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.fakes.upstream import FakeUpstream
    from tests.proxy.conftest import Served

    Table = Callable[..., None]
    Upstreams = Callable[..., FakeUpstream]

PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 400_000}}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {}}}


def model(name: str, *, context: int | None = None, told: tuple[str, ...] | None = None) -> ServedModel:
    able = abilities_of(told or parse(name).capabilities, told=told is not None)
    return ServedModel(name, CREATED, context, abilities=able)


def routing(answer: httpx.Response) -> tuple[str, ...]:
    return tuple(answer.headers[f"x-olla-routing-{each}"] for each in ("strategy", "decision", "reason"))


# --- A model that nobody serves ---


@pytest.mark.parametrize(
    ("fallback", "expected"),
    [
        ("all", ("optimistic", "fallback", "all_healthy_fallback")),
        ("compatible_only", ("optimistic", "fallback", "model_not_found_fallback")),
    ],
)
def test_optimistic_routing_sends_an_unknown_model_to_who_is_well(
    asked: Callable[..., httpx.Response],
    upstream: FakeUpstream,
    table: Table,
    fallback: str,
    expected: tuple[str, ...],
) -> None:
    table(target_for(upstream))

    answer = asked(chat_body("new"), model_routing="optimistic", model_fallback=fallback)

    assert (answer.status_code, routing(answer)) == (200, expected)
    assert upstream.requests_for("/v1/chat/completions")[0].json()["model"] == "new"


def test_what_stands_in_must_be_able_to(
    asked: Callable[..., httpx.Response], upstreams: Upstreams, table: Table
) -> None:
    only_embeds = target_for(upstreams(), number=1, priority=99, models=(model("nomic-embed-text"),))
    table(only_embeds, target_for(upstreams(), number=2))

    answer = asked(chat_body("new"), model_routing="optimistic")

    assert answer.headers["x-olla-endpoint"] == "mini-2"


def test_optimistic_routing_without_a_fallback_refuses(
    asked: Callable[..., httpx.Response], upstream: FakeUpstream, table: Table
) -> None:
    table(target_for(upstream))

    answer = asked(chat_body("new"), model_routing="optimistic", model_fallback="none")

    assert (answer.status_code, routing(answer)) == (404, ("optimistic", "rejected", "model_not_found"))


def test_a_model_whose_endpoint_is_down_is_stood_in_for(
    asked: Callable[..., httpx.Response], upstreams: Upstreams, table: Table
) -> None:
    table(
        target_for(upstreams("m1"), number=1, status=Status.OFFLINE),
        target_for(upstreams("other"), number=2),
    )

    answer = asked(chat_body("m1"), model_routing="optimistic")

    assert routing(answer) == ("optimistic", "fallback", "model_unavailable_fallback")


@pytest.mark.django_db(transaction=True)
def test_discovery_asks_the_endpoints_for_a_model_that_nobody_knows(
    serve: Callable[..., Served], upstream: FakeUpstream
) -> None:
    from endpoints.routing import watch  # noqa: PLC0415

    made = Endpoint.objects.create(name="mini-1", url=upstream.url)
    EndpointHealth.objects.filter(pk=made.pk).update(status=Status.HEALTHY)
    before = snapshot()
    watch.stop()  # another test may have left it with a table that looks newer than this test's database
    watch.start()
    try:
        assert watch.wait_ready(10)
        gateway = gateway_with(model_routing="discovery", rediscovery=Rediscovery(seconds=5))
        upstream.answer("/v1/models", answers.respond(answers.models_list(("m1", "brand-new"))))
        with httpx.Client(base_url=serve(gateway).url, trust_env=False, timeout=20) as client:
            found = client.post(CHAT, json=chat_body("brand-new"))
            unknown = [client.post(CHAT, json=chat_body("nope")) for _ in range(3)]
    finally:
        watch.stop()
        install(before)

    assert (found.status_code, routing(found)) == (200, ("discovery", "routed", "model_found"))
    assert [each.status_code for each in unknown] == [404] * 3
    assert len(upstream.requests_for("/v1/models")) == 1  # not again for each name that nobody knows


# --- What a model can do ---


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({}, "mini-1"),
        ({"messages": [{"role": "user", "content": [PICTURE]}]}, "mini-2"),
        ({"tools": [TOOL]}, "mini-3"),
        ({"tools": []}, "mini-1"),
    ],
)
def test_a_request_goes_to_the_model_that_can(
    asked: Callable[..., httpx.Response],
    upstreams: Upstreams,
    table: Table,
    more: dict[str, Any],
    expected: str,
) -> None:
    table(
        target_for(upstreams("a"), number=1, models=(model("a", told=("chat",)),)),
        target_for(upstreams("b-vl-3b"), number=2, models=(model("b-vl-3b"),)),
        target_for(upstreams("c"), number=3, models=(model("c", told=("chat", "tools")),)),
        aliases={"smart": Alias(("a", "b-vl-3b", "c"))},
    )

    assert asked(chat_body("smart", **more)).headers["x-olla-endpoint"] == expected


def test_two_servers_of_one_model_may_differ_in_what_they_can(
    asked: Callable[..., httpx.Response], upstreams: Upstreams, table: Table
) -> None:
    table(
        target_for(upstreams(), number=1, priority=99, models=(model("m1", told=("chat",)),)),
        target_for(upstreams(), number=2, models=(model("m1", told=("chat", "vision")),)),
    )
    seeing = chat_body(messages=[{"role": "user", "content": [PICTURE]}])

    assert asked(chat_body()).headers["x-olla-endpoint"] == "mini-1"
    assert asked(seeing).headers["x-olla-endpoint"] == "mini-2"


def test_where_nobody_can_the_server_says_so_itself(
    asked: Callable[..., httpx.Response], upstream: FakeUpstream, table: Table
) -> None:
    table(target_for(upstream, models=(model("m1", told=("chat",)),)))

    assert asked(chat_body(tools=[TOOL])).status_code == 200


def test_embeddings_without_a_model_go_to_who_embeds(
    asked: Callable[..., httpx.Response], upstreams: Upstreams, table: Table
) -> None:
    table(
        target_for(upstreams(), number=1, priority=99, models=(model("m1", told=("chat",)),)),
        target_for(upstreams(), number=2, models=(model("bge-small"),)),
    )

    answer = asked({"input": "x"}, path="/olla/vllm-mlx/v1/embeddings")

    assert (answer.status_code, answer.headers["x-olla-endpoint"]) == (200, "mini-2")


# --- Context ---


def long_body(tokens: int, name: str = "m1") -> dict[str, Any]:
    return chat_body(name, messages=[{"role": "user", "content": "abcd" * tokens}])


def test_a_prompt_goes_where_it_fits(
    asked: Callable[..., httpx.Response], upstreams: Upstreams, table: Table
) -> None:
    table(
        target_for(upstreams(), number=1, priority=99, models=(model("m1", context=1000),)),
        target_for(upstreams(), number=2, models=(model("m1", context=32_000),)),
    )

    assert asked(long_body(100)).headers["x-olla-endpoint"] == "mini-1"
    assert asked(long_body(5000)).headers["x-olla-endpoint"] == "mini-2"


def test_a_prompt_that_fits_nowhere_is_refused_with_the_numbers(
    asked: Callable[..., httpx.Response], upstream: FakeUpstream, table: Table
) -> None:
    table(target_for(upstream, models=(model("m1", context=1000),)))

    answer = asked(long_body(5000))

    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (400, "context_length_exceeded")
    assert "1000 tokens" in error["message"]
    assert "about 50" in error["message"]
    assert not upstream.requests


@pytest.mark.parametrize(
    "body",
    [
        long_body(1500),  # it may have fewer tokens than it looks
        chat_body(messages=[{"role": "user", "content": [PICTURE]}]),
        chat_body(
            messages=[{"role": "user", "content": "你" * 1800}]
        ),  # six bytes each, as JSON escapes them
    ],
    ids=["unsure", "picture", "escapes"],
)
def test_a_prompt_that_may_fit_is_left_to_the_server(
    asked: Callable[..., httpx.Response], upstream: FakeUpstream, table: Table, body: dict[str, Any]
) -> None:
    table(target_for(upstream, models=(model("m1", context=1000),)))
    with_escapes = json.loads(json.dumps(body))

    assert asked(with_escapes).status_code == 200
