"""Lists of models: read, filtered, stored as differences."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from endpoints.choices import Status
from endpoints.errors import DiscoveryError
from endpoints.health import discovery
from endpoints.health.findings import FoundModel
from endpoints.known_models import model_lists
from endpoints.models import EndpointHealth, EndpointModel
from ollaproject.wire import clock

if TYPE_CHECKING:
    from tests.endpoints.conftest import MakeEndpoint


def listing(*entries: Any) -> bytes:
    return json.dumps({"object": "list", "data": list(entries)}).encode()


def names(models: tuple[FoundModel, ...]) -> list[str]:
    return [model.name for model in models]


def test_it_reads_an_openai_list() -> None:
    body = listing({"id": "org/m1", "created": 1705334400, "max_model_len": 4096}, {"id": "m2"})
    assert model_lists.parse(body) == (FoundModel("org/m1", 1705334400, 4096), FoundModel("m2"))


def test_a_name_counts_once() -> None:
    assert names(model_lists.parse(listing({"id": "m1"}, {"id": "m1"}))) == ["m1"]


@pytest.mark.parametrize("created", ["yesterday", None, True, -1, 2**63, 1e300])
def test_a_made_up_creation_time_does_no_harm(created: Any) -> None:
    assert model_lists.parse(listing({"id": "m1", "created": created})) == (FoundModel("m1"),)


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        (b"", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[]", "not a list of models"),
        (b'{"data": {}}', "not a list of models"),
        (listing({"name": "m1"}), 'no "id"'),
        (listing("m1"), 'no "id"'),
        (listing({"id": ""}), 'no "id"'),
        (listing({"id": "m\r\n1"}), 'no "id"'),
        (listing({"id": "m" * 301}), "longer than 300"),
        (listing(*[{"id": str(number)} for number in range(10_001)]), "10001 models"),
    ],
)
def test_a_bad_shape_is_a_clear_error(body: bytes, complaint: str) -> None:
    with pytest.raises(DiscoveryError, match=complaint):
        model_lists.parse(body)


@pytest.mark.parametrize(
    ("include", "exclude", "left"),
    [
        ([], [], ["a/x", "a/y", "b/x"]),
        (["*"], [], ["a/x", "a/y", "b/x"]),
        (["a/*"], [], ["a/x", "a/y"]),
        (["A/*"], ["*/Y"], ["a/x"]),
        ([], ["*"], []),
        (["nothing"], [], []),
    ],
)
def test_exclude_wins_over_include(include: list[str], exclude: list[str], left: list[str]) -> None:
    models = tuple(FoundModel(name) for name in ("a/x", "a/y", "b/x"))
    assert names(discovery.let_through(models, include=include, exclude=exclude)) == left


def store(endpoint_id: int, *found: FoundModel) -> bool:
    health = EndpointHealth.objects.get(pk=endpoint_id)
    return discovery.store(health, found=found, at=clock.now())


def test_models_come_and_go(make_endpoint: MakeEndpoint) -> None:
    endpoint = make_endpoint()
    assert store(endpoint.pk, FoundModel("m1"), FoundModel("m2"))
    kept = EndpointModel.objects.get(name="m2")
    assert store(endpoint.pk, FoundModel("m2"), FoundModel("m3"))
    assert list(endpoint.models.values_list("name", flat=True)) == ["m2", "m3"]
    assert EndpointModel.objects.get(name="m2").first_seen_at == kept.first_seen_at


def test_the_same_list_changes_nothing_but_when_it_was_seen(make_endpoint: MakeEndpoint) -> None:
    endpoint = make_endpoint()
    store(endpoint.pk, FoundModel("m1", created=1))
    before = EndpointModel.objects.get()
    assert not store(endpoint.pk, FoundModel("m1", created=2))
    after = EndpointModel.objects.get()
    assert after.created == before.created
    assert after.last_seen_at > before.last_seen_at


def test_a_new_context_length_is_a_change(make_endpoint: MakeEndpoint) -> None:
    endpoint = make_endpoint()
    store(endpoint.pk, FoundModel("m1", max_model_len=4096))
    assert store(endpoint.pk, FoundModel("m1", max_model_len=8192))
    assert EndpointModel.objects.get().max_model_len == 8192


def test_other_endpoints_keep_theirs(make_endpoint: MakeEndpoint) -> None:
    first, second = make_endpoint(), make_endpoint()
    store(first.pk, FoundModel("m1"))
    store(second.pk, FoundModel("m2"))
    store(first.pk)
    assert list(EndpointModel.objects.values_list("name", flat=True)) == ["m2"]


@pytest.mark.parametrize(
    ("status", "seconds_ago"),
    [(Status.HEALTHY, 31), (Status.HEALTHY, None), (Status.OFFLINE, 5), (Status.WARMING, 5)],
)
def test_models_are_read_when_it_comes_up_and_when_the_list_is_old(
    status: Status, seconds_ago: int | None
) -> None:
    now = clock.now()
    synced = None if seconds_ago is None else now - timedelta(seconds=seconds_ago)
    assert discovery.is_wanted(EndpointHealth(status=status, models_synced_at=synced), at=now)


def test_models_that_were_read_just_now_are_not_read_again() -> None:
    now = clock.now()
    health = EndpointHealth(status=Status.HEALTHY, models_synced_at=now - timedelta(seconds=5))
    assert not discovery.is_wanted(health, at=now)
