"""The local model that the settings name, and what becomes of models that no supervisor looks after."""

from __future__ import annotations

import pytest

from endpoints.choices import Mode
from endpoints.models import Endpoint, ModelAlias
from inference.local import configuring, from_settings, hosts, record, wishes
from inference.local.choices import Kind, State, Wanted
from inference.local.fleet import Offer
from inference.local.looking import Look
from inference.local.room import Machine
from inference.models import LocalModel
from ollaproject import local_fleet
from ollaproject.local_fleet import LocalFleet

pytestmark = pytest.mark.django_db
URL = "http://127.0.0.1:40115"


def test_it_is_wanted_from_the_start_so_that_whoever_waits_for_it_does_not_give_up() -> None:
    made = from_settings.ensure(chat="demo", embedding="demo", port=40115)

    found = LocalModel.objects.get()
    assert (found.pk, found.name, found.kind) == (made.pk, "SmolLM2-135M-Instruct", Kind.BOTH)
    assert found.wanted == Wanted.RUNNING


def test_a_start_without_it_leaves_it_at_rest_and_wakes_the_others() -> None:
    named = from_settings.ensure(chat="demo", embedding="", port=40115)
    added = LocalModel.objects.create(name="added", source="demo")

    from_settings.leave_out()
    hosts.begin("here", Machine(total=10, free=5))

    found = dict(LocalModel.objects.values_list("pk", "wanted"))
    assert found == {named.pk: Wanted.STOPPED, added.pk: Wanted.RUNNING}


def test_a_model_that_is_deleted_takes_its_endpoint_along_with_no_supervisor_about() -> None:
    model = from_settings.ensure(chat="demo", embedding="", port=40115)
    endpoint_id = LocalFleet().open(Offer(None, model.name, is_first=True, url=URL, models=(model.name,)))
    record.note(record.status_of(model), endpoint_id=endpoint_id)
    for aliases in (["small", "fast"], ["fast", "cheap"]):  # they count at once, whether it runs or not
        model.aliases = aliases
        configuring.store(model, Look())
        assert set(ModelAlias.objects.values_list("name", flat=True)) == set(aliases)

    configuring.remove(model)

    assert not Endpoint.objects.exists()
    assert not ModelAlias.objects.exists()


def test_a_machine_that_runs_no_models_any_more_has_them_at_rest_and_leaves_others_theirs() -> None:
    fleet = LocalFleet()
    for name, host in (("mine", "here"), ("theirs", "there")):
        model = LocalModel.objects.create(name=name, source="demo")
        endpoint_id = fleet.open(Offer(None, name, is_first=False, url=URL, models=(name,)))
        record.move(record.status_of(model), State.READY, host=host, endpoint_id=endpoint_id)

    local_fleet.leave("here")

    states = dict(LocalModel.objects.values_list("name", "status__state"))
    assert states == {"mine": State.STOPPED, "theirs": State.READY}
    modes = dict(Endpoint.objects.values_list("name", "mode"))
    assert modes == {"mine": Mode.PAUSED, "theirs": Mode.ACTIVE}


def test_one_that_is_not_to_start_with_the_gateway_stays_as_it_is() -> None:
    model = from_settings.ensure(chat="demo", embedding="", port=40115)
    wishes.stop(model)
    LocalModel.objects.update(autostart=False)

    from_settings.ensure(chat="demo", embedding="", port=40115)

    assert LocalModel.objects.get().wanted == Wanted.STOPPED
