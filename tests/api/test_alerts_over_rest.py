"""Alert channels over REST: what is written and never read, tests, and what came of alerts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from django.contrib.auth.models import Permission, User

from endpoints.alerts import alert_delivery, alerts
from endpoints.alerts.alert_models import AlertChannel, AlertDelivery, AlertKind
from endpoints.models import Change
from tests.fakes import answers
from tests.pages.fleet import SECRET

if TYPE_CHECKING:
    from rest_framework.test import APIClient

    from tests.api.conftest import SignIn
    from tests.fakes.upstream import FakeUpstream

pytestmark = pytest.mark.django_db

CHANNELS, DELIVERIES = "/api/alert-channels/", "/api/alert-deliveries/"
URL = f"https://hooks.example.com/{SECRET}"
GOOD: dict[str, Any] = {"name": "ops", "kind": "webhook", "url": URL, "secret": f"2{SECRET}"}


@pytest.fixture
def client(signed_in: SignIn, admin_user: User) -> APIClient:
    return signed_in(admin_user)


def test_a_channel_is_written_and_its_secrets_are_never_read(client: APIClient) -> None:
    made = client.post(CHANNELS, {**GOOD, "quiet_from": "22:00", "quiet_until": "07:00", "on_back": False})
    assert made.status_code == 201
    read = client.get(f"{CHANNELS}{made.json()['id']}/")
    assert read.json() == made.json()
    assert (read.json()["host"], read.json()["has_secret"]) == ("hooks.example.com", True)
    assert (read.json()["quiet_from"], read.json()["on_back"], read.json()["group_seconds"]) == (
        "22:00",
        False,
        10,
    )
    channel = AlertChannel.objects.get()
    assert (channel.url(), channel.secret()) == (URL, f"2{SECRET}")
    seen = client.get(CHANNELS).content + made.content + client.get("/api/changes/").content
    assert SECRET not in seen.decode()


def test_what_is_left_out_of_a_change_stays_and_the_record_names_what_does_not(client: APIClient) -> None:
    number = client.post(CHANNELS, GOOD).json()["id"]
    changed = client.patch(f"{CHANNELS}{number}/", {"enabled": False, "secret": ""}).json()
    assert (changed["enabled"], changed["has_secret"], changed["host"]) == (False, False, "hooks.example.com")
    assert Change.objects.first().differences == ["fields: enabled, secret"]  # type: ignore[union-attr]
    mail = client.put(
        f"{CHANNELS}{number}/", {"name": "mail", "kind": "email", "recipients": ["ada@example.com"]}
    )
    assert (mail.json()["enabled"], mail.json()["recipients"]) == (True, ["ada@example.com"])
    assert client.delete(f"{CHANNELS}{number}/").status_code == 204
    assert [each.action for each in Change.objects.all()] == ["deleted", "changed", "changed", "added"]


def test_a_secret_does_not_go_to_another_host_than_it_was_entered_for(client: APIClient) -> None:
    number = client.post(CHANNELS, GOOD).json()["id"]
    same = client.patch(f"{CHANNELS}{number}/", {"url": "https://hooks.example.com/other"}).json()
    assert same["has_secret"] is True
    other = client.patch(f"{CHANNELS}{number}/", {"url": "https://elsewhere.example.com/"}).json()
    assert (other["host"], other["has_secret"]) == ("elsewhere.example.com", False)


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"url": f"ftp://{SECRET}"}, "url"),
        ({"kind": "email"}, "recipients"),
        ({"kind": "email", "recipients": ["ada"]}, "recipients.0"),
        ({"kind": "pigeon"}, "kind"),
        ({"time_zone": "Mars/Base"}, "time_zone"),
        ({"quiet_from": "22:00"}, "quiet_until"),
        ({"group_seconds": 4000}, "group_seconds"),
        ({"token": "x"}, "token"),
    ],
    ids=str,
)
def test_a_mistake_names_its_field(client: APIClient, given: dict[str, Any], field: str) -> None:
    answer = client.post(CHANNELS, {**GOOD, **given})
    assert answer.status_code == 400
    assert field in answer.json()["error"]["fields"]
    assert SECRET not in answer.content.decode()
    assert client.post(CHANNELS, {"name": "ops", "kind": "slack"}).json()["error"]["param"] == "url"
    assert not AlertChannel.objects.exists()


def test_a_test_is_sent_and_what_came_of_it_can_be_read(client: APIClient, upstream: FakeUpstream) -> None:
    upstream.answer("/hook", answers.respond({}, status=404))
    number = client.post(CHANNELS, {**GOOD, "url": f"{upstream.url}/hook"}).json()["id"]
    sent = client.post(f"{CHANNELS}{number}/test/")
    assert (sent.status_code, sent.json()["state"], sent.json()["kind"]) == (202, "waiting", "test")
    alert_delivery.send_due()
    found = client.get(f"{DELIVERIES}{sent.json()['id']}/").json()
    assert (found["state"], found["error"], found["channel_name"]) == ("failed", "it answered 404", "ops")

    alerts.tell(AlertKind.DOWN, "mini-1", "mini-1 is offline")
    for query, count in (
        ("", 2),
        ("?kind=down", 1),
        (f"?channel={number}&state=failed", 1),
        ("?channel=7000", 0),
    ):
        assert client.get(DELIVERIES + query).json()["count"] == count
    assert client.delete(f"{DELIVERIES}{sent.json()['id']}/").status_code == 405


def test_who_may_only_look_may_neither_change_nor_test(signed_in: SignIn, onlooker: User) -> None:
    onlooker.user_permissions.add(Permission.objects.get(codename="view_alertchannel"))
    channel = AlertChannel.objects.create(name="ops")
    client = signed_in(User.objects.get(pk=onlooker.pk))
    assert client.get(CHANNELS).json()["count"] == 1
    for call in (client.post, client.put, client.patch, client.delete):
        assert call(f"{CHANNELS}{channel.pk}/", {}).status_code in (403, 405)
    assert client.post(f"{CHANNELS}{channel.pk}/test/").status_code == 403
    assert client.get(DELIVERIES).status_code == 403
    assert not AlertDelivery.objects.exists()
