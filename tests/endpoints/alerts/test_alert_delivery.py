"""Alerts on their way: in which form they are sent, and what becomes of what cannot be delivered."""

from __future__ import annotations

import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pytest

from endpoints.alerts import alert_delivery, alerts
from endpoints.alerts.alert_formats import post_for
from endpoints.alerts.alert_models import AlertChannel, AlertDelivery, AlertKind, ChannelKind, DeliveryState
from endpoints.alerts.alert_rules import Event
from endpoints.past import retention
from ollaproject.wire import clock
from tests.endpoints.alert_channels import channel
from tests.fakes import answers
from tests.fakes.mail import FakeMailServer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_django import DjangoAssertNumQueries, Settings

    from tests.fakes.upstream import FakeUpstream

pytestmark = pytest.mark.django_db

BERLIN = ZoneInfo("Europe/Berlin")
PUBLIC = "https://llm.example.com"
HOOK = "/services/T00/B00/very-secret"


# --- How it is sent: to a real server on loopback ---


def sent_to(upstream: FakeUpstream) -> Any:
    return next(each for each in upstream.requests if each.path == HOOK)


def test_what_happens_together_is_one_signed_message(upstream: FakeUpstream) -> None:
    made = channel(url=upstream.url + HOOK, secret="s3cret")
    upstream.answer(HOOK, answers.respond({}))
    alerts.tell(AlertKind.DOWN, "mini-1", "mini-1 is offline")
    alerts.tell(AlertKind.DOWN, "mini-2", "mini-2 is offline")

    assert alert_delivery.send_due() == 1

    request = sent_to(upstream)
    body = request.json()
    assert body["title"] == "2 down"
    assert [each["subject"] for each in body["events"]] == ["mini-1", "mini-2"]
    digest = hmac.new(b"s3cret", request.body, hashlib.sha256).hexdigest()
    assert request.header("x-olla-signature") == f"sha256={digest}"
    rows = AlertDelivery.objects.filter(channel=made)
    assert {(row.state, row.attempts, row.error) for row in rows} == {(DeliveryState.SENT, 1, "")}
    assert alert_delivery.send_due() == 0


@pytest.mark.parametrize(
    ("paths", "link"),
    [
        (["/endpoints/1/"], f"{PUBLIC}/endpoints/1/"),
        (["/endpoints/1/", "/endpoints/2/"], f"{PUBLIC}/"),
        ([""], f"{PUBLIC}/"),
    ],
    ids=str,
)
@pytest.mark.parametrize("kind", [kind for kind in ChannelKind if kind != ChannelKind.EMAIL])
def test_a_message_leads_to_the_page_that_says_more_where_the_gateway_knows_its_url(
    kind: ChannelKind, paths: list[str], link: str
) -> None:
    events = [
        Event(clock.now(), AlertKind.DOWN, "mini", "mini is <down>" + "!" * 3000, path) for path in paths
    ]
    with_link = post_for(kind, events, secret="", zone=BERLIN, base=PUBLIC)
    without = post_for(kind, events, secret="", zone=BERLIN)

    said = with_link.body.decode() + with_link.headers.get("Click", "")
    assert link in said
    assert "http" not in without.body.decode()
    assert "Click" not in without.headers
    if kind == ChannelKind.WEBHOOK:
        document = json.loads(with_link.body)
        assert document["url"] == link
        assert [each.get("url") for each in document["events"]] == [
            (path and PUBLIC + path) or None for path in paths
        ]
    if kind == ChannelKind.DISCORD:
        assert len(json.loads(with_link.body)["content"]) <= 2000


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (ChannelKind.SLACK, {"text": "*&lt;b&gt; is down*\n12:00:00 &lt;b&gt; is down"}),
        (
            ChannelKind.DISCORD,
            {"content": "**<b> is down**\n12:00:00 <b> is down", "allowed_mentions": {"parse": []}},
        ),
    ],
)
def test_slack_and_discord_get_what_they_read(
    upstream: FakeUpstream, kind: ChannelKind, expected: dict[str, Any]
) -> None:
    channel(kind, url=upstream.url + HOOK)
    upstream.answer(HOOK, answers.respond({}))
    at = datetime(2026, 11, 25, 12, tzinfo=UTC) - timedelta(days=400)
    alerts.tell(AlertKind.DOWN, "<b>", "<b> is down", at=at)
    alert_delivery.send_due()
    assert sent_to(upstream).json() == expected


def test_ntfy_gets_a_text_with_a_title_and_its_token(upstream: FakeUpstream) -> None:
    channel(ChannelKind.NTFY, url=upstream.url + HOOK, secret="tk_1")
    upstream.answer(HOOK, answers.respond({}))
    alerts.tell(AlertKind.BUDGET, "lab", "The team lab has used up its budget of 1,000 tokens of this day")
    alert_delivery.send_due()
    request = sent_to(upstream)
    assert request.header("title") == "The team lab has used up its budget of 1,000 tokens of this day"
    assert (request.header("priority"), request.header("authorization")) == ("high", "Bearer tk_1")
    assert request.body.decode().endswith("of this day")


def test_a_title_is_one_line_whatever_an_endpoint_says_of_itself(upstream: FakeUpstream) -> None:
    channel(ChannelKind.NTFY, url=upstream.url + HOOK)
    upstream.answer(HOOK, answers.respond({}))
    alerts.tell(AlertKind.DOWN, "mini-1", "mini-1 is unhealthy: it says of itself: out of\r\nmem\x1bory")
    assert alert_delivery.send_due() == 1
    assert sent_to(upstream).header("title") == "mini-1 is unhealthy: it says of itself: out of mem ory"


@pytest.mark.parametrize("secret", ["schlüssel", "two\nlines"])
def test_a_secret_that_no_header_takes_is_an_error_that_is_said(
    upstream: FakeUpstream, secret: str, caplog: pytest.LogCaptureFixture
) -> None:
    channel(ChannelKind.NTFY, url=upstream.url + HOOK, secret=secret)
    alerts.tell(AlertKind.DOWN, "mini-1", "mini-1 is offline")
    assert alert_delivery.send_due() == 0
    row = AlertDelivery.objects.get()
    assert (row.state, row.error) == (
        DeliveryState.FAILED,
        "its secret holds what no header may: enter it again",
    )
    assert secret not in caplog.text


@pytest.mark.timeout(60)
def test_a_webhook_that_answers_without_end_holds_up_nobody(upstream: FakeUpstream) -> None:
    channel(url=upstream.url + HOOK)
    upstream.answer(HOOK, answers.flood())
    alerts.tell(AlertKind.DOWN, "mini-1", "mini-1 is offline")
    assert alert_delivery.send_due() == 1
    assert AlertDelivery.objects.get().state == DeliveryState.SENT


@pytest.mark.timeout(60)
def test_a_webhook_that_trickles_is_given_as_long_as_any_other(upstream: FakeUpstream) -> None:
    channel(url=upstream.url + HOOK)
    upstream.answer(HOOK, answers.trickle(answers.head(200, {"X-Wait": "." * 90}), seconds=0.5))
    alerts.tell(AlertKind.DOWN, "mini-1", "mini-1 is offline")
    assert alert_delivery.send_due() == 0
    row = AlertDelivery.objects.get()
    assert (row.state, row.error) == (DeliveryState.WAITING, "no answer within 10s")


@pytest.fixture
def mail_server(settings: Settings) -> Iterator[FakeMailServer]:
    with FakeMailServer() as server:
        settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
        settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", server.port
        yield server


def test_an_e_mail_goes_to_all_recipients(mail_server: FakeMailServer, settings: Settings) -> None:
    settings.OLLA_PUBLIC_URL = PUBLIC
    channel(ChannelKind.EMAIL, recipients="ada@example.com bob@example.com")
    alerts.tell(AlertKind.DOWN, "mini-1", "mini-1 is offline: connection refused")
    assert alert_delivery.send_due() == 1
    (message,) = mail_server.messages
    assert "Subject: mini-1 is offline: connection refused" in message
    assert "To: ada@example.com, bob@example.com" in message
    assert message.rstrip().endswith(f"{PUBLIC}/")


@pytest.mark.parametrize(("refusal", "state"), [("450 later", "waiting"), ("550 no such user", "failed")])
def test_a_mail_server_says_whether_to_try_again(
    mail_server: FakeMailServer, refusal: str, state: str
) -> None:
    mail_server.refusal = refusal
    channel(ChannelKind.EMAIL, recipients="ada@example.com")
    alerts.tell(AlertKind.DOWN, "mini-1", "mini-1 is offline")
    alert_delivery.send_due()
    assert AlertDelivery.objects.get().state == state


# --- What becomes of what cannot be delivered ---


def test_a_failure_is_tried_again_and_recorded_without_the_url(
    upstream: FakeUpstream, caplog: pytest.LogCaptureFixture
) -> None:
    channel(url=upstream.url + HOOK)
    upstream.answer(HOOK, answers.error(503, "no", headers={"Retry-After": 45}))
    alerts.tell(AlertKind.DOWN, "mini-1", "mini-1 is offline")
    before = clock.now()
    alert_delivery.send_due()
    row = AlertDelivery.objects.get()
    assert (row.state, row.attempts, row.error) == (DeliveryState.WAITING, 1, "it answered 503")
    assert row.due_at >= before + timedelta(seconds=45)
    assert "very-secret" not in caplog.text + row.error

    AlertDelivery.objects.update(due_at=before, attempts=5)
    alert_delivery.send_due()
    assert AlertDelivery.objects.get().state == DeliveryState.FAILED


@pytest.mark.parametrize(
    ("url", "status", "error"),
    [("", 404, "it answered 404"), ("http://127.0.0.1:9/very-secret", 200, "connection refused")],
)
def test_what_no_further_attempt_mends_is_given_up_at_once(
    upstream: FakeUpstream, url: str, status: int, error: str
) -> None:
    channel(url=url or upstream.url + HOOK)
    upstream.answer(HOOK, answers.error(status, "gone"))
    alerts.tell(AlertKind.DOWN, "mini-1", "mini-1 is offline")
    alert_delivery.send_due()
    row = AlertDelivery.objects.get()
    assert row.error == error
    assert row.state == (DeliveryState.FAILED if status == 404 else DeliveryState.WAITING)


def test_what_a_worker_took_and_died_with_is_taken_up_again(upstream: FakeUpstream) -> None:
    channel(url=upstream.url + HOOK)
    upstream.answer(HOOK, answers.respond({}))
    alerts.tell(AlertKind.DOWN, "mini-1", "mini-1 is offline")
    AlertDelivery.objects.update(state=DeliveryState.SENDING, claimed_at=clock.now())
    assert alert_delivery.send_due() == 0
    AlertDelivery.objects.update(claimed_at=clock.now() - timedelta(minutes=3))
    assert alert_delivery.send_due() == 1


def test_what_waits_when_a_channel_is_switched_off_is_dropped_but_a_test_is_sent(
    upstream: FakeUpstream,
) -> None:
    made = channel(url=upstream.url + HOOK)
    upstream.answer(HOOK, answers.respond({}))
    alerts.tell(AlertKind.DOWN, "mini-1", "mini-1 is offline")
    AlertChannel.objects.update(enabled=False)
    made.refresh_from_db()
    alerts.send_test(made)
    alert_delivery.send_due()
    assert json.loads(sent_to(upstream).body)["title"] == "This is a test of the alert channel ops-webhook"
    states = dict(AlertDelivery.objects.values_list("kind", "state"))
    assert states == {"down": DeliveryState.FAILED, "test": DeliveryState.SENT}


def test_records_of_alerts_are_kept_for_three_months(db: None) -> None:
    channel()
    now = clock.now()
    for days in (1, 89, 91):
        alerts.tell(AlertKind.DOWN, "mini-1", "mini-1 is offline", at=now - timedelta(days=days))
    retention.prune(now)
    assert AlertDelivery.objects.count() == 2


def test_nothing_due_costs_one_query(db: None, django_assert_num_queries: DjangoAssertNumQueries) -> None:
    with django_assert_num_queries(1):
        alert_delivery.send_due()
