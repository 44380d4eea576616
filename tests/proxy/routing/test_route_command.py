"""`manage.py route` says where a request would go, by the rules that place it."""

from __future__ import annotations

import json
from io import StringIO
from typing import TYPE_CHECKING, Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from endpoints.choices import Mode, Status
from endpoints.models import AliasedModel, Endpoint, EndpointHealth, EndpointModel, ModelAlias
from endpoints.routing.snapshot import install, snapshot
from proxy.gateway import sticky_from_settings
from proxy.routing.sticky import SESSION_HEADER, Asker

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_django import Settings

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def table() -> Iterator[None]:
    before = snapshot()
    yield
    install(before)


def endpoint(name: str, *models: str, status: Status = Status.HEALTHY, **fields: Any) -> Endpoint:
    made = Endpoint.objects.create(name=name, url=f"http://127.0.0.1:9/{name}", **fields)
    EndpointHealth.objects.filter(endpoint=made).update(status=status)
    now = timezone.now()
    for model in models:
        EndpointModel.objects.create(
            endpoint=made, name=model, created=0, first_seen_at=now, last_seen_at=now
        )
    return made


def route(*arguments: str) -> str:
    out = StringIO()
    call_command("route", *arguments, stdout=out)
    return out.getvalue()


def test_it_says_who_is_tried_in_which_order_and_why_others_are_not() -> None:
    endpoint("low", "qwen", priority=10)
    endpoint("high", "qwen", priority=90)
    endpoint("other", "llama")
    endpoint("down", "qwen", status=Status.OFFLINE)
    endpoint("resting", "qwen", mode=Mode.PAUSED)

    said = route("--model", "qwen")

    assert "2. OLLA_ROUTING_STRATEGY is strict: only endpoints that serve the model may answer.\n" in said
    assert "3. 2 of 5 endpoints may answer it now.\n" in said
    assert "On an idle gateway it goes to high, then to low." in said
    assert "strategy strict, decision routed, reason model_found" in said
    assert "- other (priority 85): it does not serve the model" in said
    assert "- down (priority 85): down is offline" in said
    assert "- resting (priority 85): resting is paused" in said


def test_an_alias_shows_the_model_at_each_step() -> None:
    endpoint("one", "llama")
    endpoint("two", "qwen")
    alias = ModelAlias.objects.create(
        name="gpt-4o-mini", defaults={"temperature": 0.6}, overrides={"top_p": None}
    )
    for position, model in enumerate(["qwen", "llama"]):
        AliasedModel.objects.create(alias=alias, position=position, model=model)

    found = json.loads(route("--model", "gpt-4o-mini", "--json"))

    assert found["alias"] == ["qwen", "llama"]
    assert (found["defaults"], found["overrides"]) == ({"temperature": 0.6}, {"top_p": None})
    assert 'A request that does not say them itself gets {"temperature": 0.6}.' in found["steps"]
    assert 'Whatever a request says, it gets {"top_p": null}.' in found["steps"]
    assert [(step["endpoint"], step["model"]) for step in found["order"]] == [
        ("two", "qwen"),
        ("one", "llama"),
    ]
    assert found["refusal"] is None
    assert "gpt-4o-mini is an alias: qwen, else llama." in found["steps"]


def test_an_alias_s_own_load_balancer_is_named() -> None:
    endpoint("one", "qwen")
    alias = ModelAlias.objects.create(name="fast", strategy="round-robin")
    AliasedModel.objects.create(alias=alias, position=0, model="qwen")

    said = route("--model", "fast")

    assert "round-robin decides (the alias's own load balancer): one after another." in said
    assert "it goes to one as qwen" in said


def test_it_says_who_cannot_do_what_the_request_needs() -> None:
    for name, capabilities, context in (
        ("sees", ["chat", "vision"], 131_072),
        ("blind", ["chat"], 131_072),
        ("short", ["chat", "vision"], 4096),
    ):
        endpoint(name, "qwen")
        EndpointModel.objects.filter(endpoint__name=name).update(
            capabilities=capabilities, max_model_len=context
        )

    images = route("--model", "qwen", "--images")
    assert "A request for qwen with images by the way in for OpenAI-compatible endpoints." in images
    assert "- blind (priority 85): its model cannot do vision" in images
    long = route("--model", "qwen", "--tokens", "20000")
    assert "- short (priority 85): a prompt of about 20,000 tokens does not fit into its 4,096" in long
    with pytest.raises(CommandError, match="400 context_length_exceeded"):
        route("--model", "qwen", "--tokens", "500000")


def test_it_says_who_stands_in_for_a_model_that_nobody_serves(settings: Settings) -> None:
    settings.OLLA_ROUTING_STRATEGY = "optimistic"
    endpoint("one", "llama")

    said = route("--model", "nope")

    assert "OLLA_ROUTING_STRATEGY is optimistic: when nobody who serves the model can answer" in said
    assert "it goes to one" in said
    assert "decision fallback, reason model_not_found_fallback" in said


@pytest.mark.redis
def test_where_a_session_is_it_is_told_by_redis(settings: Settings, redis_url: str) -> None:
    endpoint("one", "qwen", priority=90)
    place = endpoint("two", "qwen", priority=10)
    assert "OLLA_STICKY_SESSIONS is off" in route("--model", "qwen", "--session", "s1")
    settings.OLLA_STICKY_SESSIONS, settings.REDIS_URL = True, redis_url
    sticky = sticky_from_settings()
    asker = Asker([(SESSION_HEADER, b"s1")], address="", model="qwen", prompt=None)
    sticky.session_of(asker).placed(place.pk)
    assert sticky.sharing is not None
    sticky.sharing.stop()  # it tells what is left

    said = route("--model", "qwen", "--session", "s1")
    assert "The session s1 is at two, which is asked first while it has room." in said
    assert "it goes to two, then to one" in said
    assert "has no place yet" in route("--model", "qwen", "--session", "s2")

    Endpoint.objects.filter(name="two").update(mode=Mode.DRAINING)
    assert "is at two, which may not answer now" in route("--model", "qwen", "--session", "s1")


def test_a_refusal_is_explained_and_ends_with_an_error() -> None:
    endpoint("one", "llama")
    out = StringIO()

    with pytest.raises(CommandError, match="404 model_not_found"):
        call_command("route", "--model", "nope", stdout=out)

    assert "Served here: llama." in out.getvalue()


def test_an_unknown_way_in_is_named() -> None:
    with pytest.raises(CommandError, match="/olla/nope/"):
        route("--surface", "nope")
