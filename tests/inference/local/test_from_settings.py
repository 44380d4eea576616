"""The local model that the settings name."""

from __future__ import annotations

import pytest

from inference.local import from_settings, wishes
from inference.local.choices import Kind, Wanted
from inference.models import LocalModel

pytestmark = pytest.mark.django_db


def test_it_is_wanted_from_the_start_so_that_whoever_waits_for_it_does_not_give_up() -> None:
    made = from_settings.ensure(chat="demo", embedding="demo", port=40115)

    found = LocalModel.objects.get()
    assert (found.pk, found.name, found.kind) == (made.pk, "SmolLM2-135M-Instruct", Kind.BOTH)
    assert found.wanted == Wanted.RUNNING


def test_one_that_is_not_to_start_with_the_gateway_stays_as_it_is() -> None:
    model = from_settings.ensure(chat="demo", embedding="", port=40115)
    wishes.stop(model)
    LocalModel.objects.update(autostart=False)

    from_settings.ensure(chat="demo", embedding="", port=40115)

    assert LocalModel.objects.get().wanted == Wanted.STOPPED
