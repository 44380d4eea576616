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
from endpoints.snapshot import install, snapshot

if TYPE_CHECKING:
    from collections.abc import Iterator

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

    assert "1. high (priority 90)\n  2. low (priority 10)\n" in said
    assert "- other (priority 85): it does not serve the model" in said
    assert "- down (priority 85): down is offline" in said
    assert "- resting (priority 85): resting is paused" in said


def test_an_alias_shows_the_model_at_each_step() -> None:
    endpoint("one", "llama")
    endpoint("two", "qwen")
    alias = ModelAlias.objects.create(name="gpt-4o-mini")
    for position, model in enumerate(["qwen", "llama"]):
        AliasedModel.objects.create(alias=alias, position=position, model=model)

    found = json.loads(route("--model", "gpt-4o-mini", "--json"))

    assert found["alias"] == ["qwen", "llama"]
    assert [(step["endpoint"], step["model"]) for step in found["order"]] == [
        ("two", "qwen"),
        ("one", "llama"),
    ]
    assert found["refusal"] is None


def test_a_refusal_is_explained_and_ends_with_an_error() -> None:
    endpoint("one", "llama")
    out = StringIO()

    with pytest.raises(CommandError, match="404 model_not_found"):
        call_command("route", "--model", "nope", stdout=out)

    assert "Served here: llama." in out.getvalue()


def test_an_unknown_way_in_is_named() -> None:
    with pytest.raises(CommandError, match="/olla/nope/"):
        route("--surface", "nope")
