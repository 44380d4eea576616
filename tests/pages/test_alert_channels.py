"""Alert channels in the admin: what the form takes and never shows, and the button that tests one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from celery.signals import after_task_publish

from endpoints.alerts.alert_models import AlertChannel, AlertDelivery
from endpoints.models import Change
from tests.pages.fleet import SECRET

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from django.test import Client
    from pytest_django import DjangoCaptureOnCommitCallbacks

    from tests.pages.conftest import SignIn

pytestmark = pytest.mark.django_db

LIST = "/admin/endpoints/alertchannel/"
URL = f"https://hooks.example.com/{SECRET}"
GOOD: dict[str, Any] = {
    "name": "ops",
    "kind": "slack",
    "enabled": "on",
    "new_url": URL,
    "on_down": "on",
    "group_seconds": "10",
    "time_zone": "Europe/Berlin",
}


@pytest.fixture
def client(signed_in: SignIn, admin_user: User) -> Client:
    return signed_in(admin_user)


def test_its_url_is_stored_encrypted_and_never_shown(client: Client) -> None:
    assert client.post(f"{LIST}add/", GOOD).status_code == 302
    channel = AlertChannel.objects.get()
    assert channel.url() == URL
    assert SECRET not in channel.encrypted_url
    assert (channel.on_down, channel.on_back) == (True, False)
    for page in (LIST, f"{LIST}{channel.pk}/change/", f"{LIST}{channel.pk}/history/"):
        html = client.get(page).content.decode()
        assert SECRET not in html
    assert "It goes to hooks.example.com." in client.get(f"{LIST}{channel.pk}/change/").content.decode()
    assert SECRET not in str(list(Change.objects.values()))

    client.post(f"{LIST}{channel.pk}/change/", {**GOOD, "new_url": "", "name": "ops-2"})
    channel.refresh_from_db()
    assert (channel.name, channel.url()) == ("ops-2", URL)
    assert [change.action for change in Change.objects.all()] == ["changed", "added"]


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ({"new_url": ""}, "This kind of channel needs a URL."),
        ({"new_url": f"ftp://{SECRET}"}, "This is no URL that can be posted to."),
        ({"kind": "email"}, "An e-mail needs at least one address."),
        ({"kind": "email", "recipients": "ada"}, "Enter a valid email address."),
        ({"time_zone": "Mars/Base"}, "This is no time zone."),
        ({"quiet_from": "22:00"}, "Quiet hours need a beginning and an end."),
    ],
)
def test_a_mistake_is_said_beside_its_field(client: Client, typed: dict[str, str], words: str) -> None:
    html = client.post(f"{LIST}add/", {**GOOD, **typed}).content.decode()
    assert words in html
    assert SECRET not in html
    assert not AlertChannel.objects.exists()


def test_the_button_sends_a_test_by_celery_and_the_page_shows_what_came_of_it(
    client: Client, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    client.post(f"{LIST}add/", GOOD)
    channel = AlertChannel.objects.get()
    published: list[str] = []

    def note(sender: str, **_: object) -> None:
        published.append(sender)

    after_task_publish.connect(note)
    with django_capture_on_commit_callbacks(execute=True):
        html = client.post(f"{LIST}{channel.pk}/test/", follow=True).content.decode()
    after_task_publish.disconnect(note)

    assert published == ["endpoints.send_alerts"]
    assert "A test is on its way." in html
    AlertDelivery.objects.update(state="failed", error="it answered 404")
    shown = client.get(f"{LIST}{channel.pk}/change/").content.decode()
    assert "This is a test of the alert channel ops" in shown
    assert "it answered 404" in shown


def test_who_may_not_change_channels_may_not_test_them(signed_in: SignIn, onlooker: User) -> None:
    channel = AlertChannel.objects.create(name="ops")
    assert signed_in(onlooker).post(f"{LIST}{channel.pk}/test/").status_code == 403
    assert not AlertDelivery.objects.exists()
