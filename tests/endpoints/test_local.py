"""Endpoints that our own machines' servers get by themselves."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from endpoints import local, operations
from endpoints.choices import Mode, Status
from endpoints.health import health, schedule
from endpoints.health.findings import Finding, ProbeResult
from endpoints.local import Server
from endpoints.models import Endpoint, EndpointHealth, EndpointModel, ModelAlias
from endpoints.routing import sleep
from endpoints.routing.routing_table import build
from ollaproject.wire import clock

if TYPE_CHECKING:
    from tests.endpoints.conftest import MakeEndpoint

pytestmark = pytest.mark.django_db
URL = "http://127.0.0.1:40115"
FIRST = Server(None, "SmolLM2-135M-Instruct", URL, is_first=True, key="k1")


def status_of(endpoint: Endpoint) -> str:
    return EndpointHealth.objects.get(pk=endpoint.pk).status


def test_a_server_has_one_endpoint_however_often_it_is_opened() -> None:
    first, second = local.open_for(FIRST), local.open_for(FIRST)
    assert first == second
    assert (first.name, first.url, first.type, first.credential()) == ("local", URL, "vllm-mlx", "k1")


def test_only_address_and_key_follow() -> None:
    endpoint = local.open_for(FIRST)
    endpoint.name, endpoint.priority, endpoint.mode = "studio", 3, Mode.DRAINING
    endpoint.save()
    again = local.open_for(Server(endpoint.pk, "any", "http://127.0.0.1:50000", key="k2"))
    assert (again.pk, again.url, again.credential()) == (endpoint.pk, "http://127.0.0.1:50000", "k2")
    assert (again.name, again.priority, again.mode) == ("studio", 3, Mode.DRAINING)


def test_a_server_that_is_being_started_again_has_its_new_key_before_it_answers() -> None:
    endpoint = local.open_for(FIRST)
    local.expect(Server(endpoint.pk, "any", URL, key="k2"))
    (target,) = build(0).targets
    assert [value for _, value in target.headers] == ["Bearer k2"]
    local.expect(Server(None, "another", URL, key="k3"))
    assert Endpoint.objects.get().credential() == "k2"


def test_an_operators_own_endpoint_called_local_is_not_taken_over(make_endpoint: MakeEndpoint) -> None:
    make_endpoint(name="local", url="http://127.0.0.1:7")
    assert local.open_for(FIRST).name == "local-2"
    assert Endpoint.objects.get(name="local").url == "http://127.0.0.1:7"


def test_further_servers_are_called_after_their_models() -> None:
    name = "mlx-community/Llama-3.2-3B-Instruct-4bit"
    assert local.open_for(Server(None, name, URL)).name == "Llama-3.2-3B-Instruct-4bit"
    assert local.open_for(Server(None, "häuschen" + "x" * 99, URL)).name.startswith("h-uschenxxx")


def test_a_closed_one_is_out_of_service_until_it_is_opened_again() -> None:
    endpoint = local.open_for(FIRST)
    local.close(endpoint.pk, reason="its model is stopped")
    row = EndpointHealth.objects.select_related("endpoint").get()
    assert (row.endpoint.mode, row.reason) == (Mode.PAUSED, "its model is stopped")
    assert local.open_for(FIRST).mode == Mode.ACTIVE


def test_an_operators_pause_outlasts_a_restart() -> None:
    endpoint = local.open_for(FIRST)
    operations.pause(endpoint=endpoint)
    local.close(endpoint.pk, reason="its model is stopped")
    assert local.open_for(FIRST).mode == Mode.PAUSED


def test_one_that_sleeps_offers_its_models_and_is_not_checked() -> None:
    endpoint = local.sleep(FIRST, models=("smol", "minilm"), wakes_in_seconds=4.5)
    target = build(0).targets[0]
    assert (target.routable, target.wakeable, target.wakes_in_seconds) == (False, True, 4.5)
    assert target.model_names == {"smol", "minilm"}
    assert schedule.claim_due(clock.now()) == []
    assert operations.check_now([endpoint]) == 0


def test_a_check_that_was_under_way_wakes_nobody() -> None:
    endpoint = local.open_for(FIRST)
    began = clock.now()
    local.sleep(FIRST, models=("smol",), wakes_in_seconds=None)
    assert health.record(endpoint=endpoint, finding=Finding(ProbeResult(Status.OFFLINE)), at=began) is None
    assert status_of(endpoint) == Status.ASLEEP


def test_who_asks_for_a_sleeper_is_heard_until_it_wakes() -> None:
    endpoint = local.sleep(FIRST, models=("smol",), wakes_in_seconds=None)
    assert sleep.asked_for([endpoint.pk]) == set()
    sleep.ask(endpoint.pk)
    assert sleep.asked_for([endpoint.pk]) == {endpoint.pk}
    local.open_for(FIRST)
    assert status_of(endpoint) == Status.UNKNOWN
    assert sleep.asked_for([endpoint.pk]) == set()
    local.sleep(FIRST, models=("smol",), wakes_in_seconds=None)
    assert sleep.asked_for([endpoint.pk]) == set()


def test_one_that_cannot_be_woken_says_why_until_its_server_is_started() -> None:
    endpoint = local.sleep(FIRST, models=("smol",), wakes_in_seconds=None)
    until = clock.now() + timedelta(seconds=15)
    local.keep_asleep(endpoint.pk, reason="needs 5.1 GB", until=until)
    target = build(0).targets[0]
    assert (target.wakeable, target.reason, target.next_check_at) == (False, "needs 5.1 GB", until)
    local.expect(Server(endpoint.pk, "any", URL, key="k2"))
    assert build(0).targets[0].wakeable


def test_requests_wait_for_a_server_that_comes_anyway() -> None:
    endpoint = local.open_for(FIRST)
    local.sleep(FIRST, models=("smol",), wakes_in_seconds=None, wakes_anyway=True)
    assert build(0).targets[0].wakeable
    local.open_for(FIRST)
    assert status_of(endpoint) == Status.UNKNOWN
    assert build(0).targets[0].wakeable


def test_an_endpoint_that_is_nobodys_server_is_left_alone(make_endpoint: MakeEndpoint) -> None:
    theirs = make_endpoint()
    local.close(theirs.pk, reason="no")
    local.remove(theirs.pk)
    assert Endpoint.objects.get().mode == Mode.ACTIVE


def test_a_removed_one_is_gone_with_what_it_served() -> None:
    endpoint = local.sleep(FIRST, models=("smol",), wakes_in_seconds=None)
    local.remove(endpoint.pk)
    assert not Endpoint.objects.exists()
    assert not EndpointModel.objects.exists()


def test_aliases_are_added_and_an_operators_order_is_kept() -> None:
    local.name_also("smol", ["gpt-4o-mini"])
    local.name_also("smol", ["gpt-4o-mini"])
    local.name_also("other", ["gpt-4o-mini"])
    alias = ModelAlias.objects.get()
    assert [each.model for each in alias.models.all()] == ["smol", "other"]
