"""What the log keeps beside a request: the limit that refused it, its bodies, budgets that are used up."""

from __future__ import annotations

import contextlib
import logging
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from django.contrib.auth.models import Group, User
from django.db import connection

from endpoints.alerts.alert_models import AlertChannel, AlertDelivery
from ollaproject.wire import clock, roles
from proxy.access import key_table, keys
from proxy.models import ApiKey, BudgetReached, KeptBody, RequestRecord, TeamLimits, UsageTotal
from proxy.records import kept_bodies
from proxy.records.ledger import Ledger
from proxy.tasks import prune_requests
from tests.fakes import answers
from tests.proxy.conftest import CHAT, chat_body, gateway_with, target_for
from tests.proxy.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from django.conf import LazySettings

    from tests.fakes.upstream import FakeUpstream
    from tests.proxy.conftest import Served

    Table = Callable[..., None]
    Ask = Callable[..., httpx.Response]

pytestmark = pytest.mark.django_db(transaction=True)

PROMPT = "the secret of the pyramids"


class Door:
    """A gateway whose ledger is written when somebody wants to read it."""

    def __init__(self, serve: Callable[..., Served]) -> None:
        self.serve = serve
        self.ledger = Ledger(addresses="none", interval=3600)
        self.url = serve(gateway_with(ledger=self.ledger)).url + CHAT

    def ask(self, key: str, **body: Any) -> httpx.Response:
        key_table.rebuild()
        with httpx.Client(trust_env=False) as client:
            return client.post(
                self.url,
                json={**chat_body(), "messages": [{"role": "user", "content": PROMPT}], **body},
                headers={"x-api-key": key},
            )

    def rows(self) -> list[RequestRecord]:
        httpx.get(self.url.removesuffix(CHAT) + "/v1/models")  # once it is answered, the others are recorded
        self.ledger.stop()
        return list(RequestRecord.objects.exclude(method="GET").order_by("id"))


@pytest.fixture
def door(serve: Callable[..., Served], upstream: FakeUpstream, table: Table) -> Iterator[Door]:
    table(target_for(upstream))
    opened = Door(serve)
    yield opened
    opened.ledger.stop()
    key_table.install(key_table.KeyTable())


def raw_table(name: str) -> str:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT * FROM {name}")  # noqa: S608
        return str(cursor.fetchall())


def test_bodies_are_kept_for_the_key_that_wants_it_and_no_other(door: Door) -> None:
    owner = User.objects.create_user("ann")
    keeping = keys.create(name="laptop", owner=owner, keep_bodies=True)
    other = keys.create(name="phone", owner=owner)
    answer = door.ask(keeping.plain)
    door.ask(other.plain)
    first, second = door.rows()

    opened = kept_bodies.of(first, owner)
    assert opened is not None
    assert PROMPT in opened.asked
    assert opened.answered == answer.text
    assert not opened.asked_cut
    assert not opened.answered_cut
    assert kept_bodies.of(second, owner) is None
    assert KeptBody.objects.count() == 1
    assert PROMPT not in raw_table("proxy_keptbody") + raw_table("proxy_requestrecord")


def test_a_stream_is_kept_as_it_was_sent_and_cut_at_the_size(
    door: Door, upstream: FakeUpstream, settings: LazySettings
) -> None:
    settings.OLLA_KEPT_BODIES_SIZE = 50
    owner = User.objects.create_user("ann")
    key = keys.create(name="laptop", owner=owner, keep_bodies=True)
    answer = door.ask(key.plain, stream=True)
    opened = kept_bodies.of(door.rows()[0], owner)

    assert opened is not None
    assert answer.text.startswith("data: ")
    assert (opened.answered, opened.answered_bytes) == (answer.text[:50], len(answer.content))
    assert opened.answered_cut
    assert len(opened.asked) == 50


def test_bodies_are_read_by_the_owner_and_by_permission_until_they_expire(door: Door) -> None:
    owner, lead, admin = (User.objects.create_user(name) for name in ("ann", "bob", "ada"))
    team = Group.objects.create(name="red")
    lead.groups.add(team)
    roles.grant(lead, roles.LEAD)
    roles.grant(admin, roles.ADMIN)
    door.ask(keys.create(name="laptop", owner=owner, team=team, keep_bodies=True).plain)
    (row,) = door.rows()

    assert [kept_bodies.of(row, each) is not None for each in (owner, lead, admin)] == [True, False, True]
    KeptBody.objects.update(expires_at=clock.now() - timedelta(seconds=1))
    assert kept_bodies.of(row, owner) is None
    prune_requests()
    assert not KeptBody.objects.exists()


def test_a_row_says_which_limit_refused_it_and_the_totals_count_it(door: Door) -> None:
    team = Group.objects.create(name="red")
    key = keys.create(name="laptop", team=team, requests_per_minute=1)
    assert [door.ask(key.plain).status_code for _ in range(3)] == [200, 429, 429]
    rows = door.rows()

    assert [row.limited_by for row in rows] == ["", *["The API key 'laptop', requests per minute: 1"] * 2]
    assert sum(UsageTotal.objects.values_list("limited", flat=True)) == 2


def test_a_budget_that_is_used_up_is_noted_once_a_period(
    door: Door, upstream: FakeUpstream, caplog: pytest.LogCaptureFixture
) -> None:
    upstream.answer(
        "/v1/chat/completions",
        answers.respond({"choices": [], "usage": {"prompt_tokens": 60, "completion_tokens": 50}}),
    )
    team = Group.objects.create(name="red")
    key = keys.create(name="laptop", team=team, tokens_per_day=100, tokens_per_month=10_000)
    caplog.set_level(logging.WARNING)
    assert [door.ask(key.plain, max_tokens=10).status_code for _ in range(3)] == [200, 429, 429]
    door.rows()

    (notice,) = BudgetReached.objects.all()
    assert (notice.kind, notice.subject_id, notice.name) == ("key", key.key.pk, "laptop")
    assert (notice.period, notice.since, notice.budget) == ("day", clock.now().date(), 100)
    assert caplog.text.count("The key laptop has used up its budget of 100 tokens of this day.") == 1

    again = Door(door.serve)  # as after a restart
    again.ask(key.plain)
    again.rows()
    assert BudgetReached.objects.count() == 1


def test_a_person_s_budget_counts_all_their_keys_and_its_end_is_told(
    door: Door, upstream: FakeUpstream, settings: LazySettings
) -> None:
    usage = {"prompt_tokens": 60, "completion_tokens": 250}
    upstream.answer("/v1/chat/completions", answers.respond({"choices": [], "usage": usage}))
    settings.OLLA_PERSON_LIMITS = {"tokens-per-month": 300}
    AlertChannel.objects.create(name="ops")
    ada = User.objects.create(username="ada")
    first, second = (keys.create(name=name, owner=ada).plain for name in ("laptop", "ci"))

    assert door.ask(first, max_tokens=200).status_code == 200
    error = door.ask(second, max_tokens=200).json()["error"]
    door.rows()

    assert error["code"] == "insufficient_quota"
    assert "The person 'ada' has used up a budget (tokens per month: 300)" in error["message"]
    notice = BudgetReached.objects.get()
    assert (notice.kind, notice.subject_id, notice.name) == ("person", ada.pk, "ada")
    alert = AlertDelivery.objects.get()
    assert alert.text == "The person ada has used up their budget of 300 tokens of this month"
    assert alert.path == "/usage/?of=all&user=ada"


@pytest.mark.parametrize("database", ["takes alerts", "refuses alerts"])
def test_an_alert_of_a_used_up_budget_breaks_nothing_of_what_it_tells(
    door: Door, upstream: FakeUpstream, caplog: pytest.LogCaptureFixture, database: str
) -> None:
    upstream.answer(
        "/v1/chat/completions",
        answers.respond({"choices": [], "usage": {"prompt_tokens": 60, "completion_tokens": 50}}),
    )
    stored = database == "takes alerts"
    AlertChannel.objects.create(name="ops")
    AlertChannel.objects.create(name="quiet", on_budget=False)
    team = Group.objects.create(name="red")
    TeamLimits.objects.create(team=team, tokens_per_month=100)
    key = keys.create(name="laptop", team=team)
    with contextlib.nullcontext() if stored else _refusing_alerts():
        door.ask(key.plain)
        (row,) = door.rows()

    assert row.completion_tokens == 50
    assert UsageTotal.objects.filter(team_id=team.pk).get().prompt_tokens == 60
    assert BudgetReached.objects.get().name == "red"
    told = [(each.channel.name, each.text, each.path) for each in AlertDelivery.objects.all()]
    text = "The team red has used up its budget of 100 tokens of this month"
    assert told == ([("ops", text, f"/usage/?of={team.pk}")] if stored else [])
    assert ("An alert could not be stored" in caplog.text) is not stored


@contextlib.contextmanager
def _refusing_alerts() -> Iterator[None]:
    """The database takes no alerts."""
    table = AlertDelivery._meta.db_table
    on_sqlite = connection.vendor == "sqlite"
    begin, end = (
        (
            f"CREATE TRIGGER none BEFORE INSERT ON {table} BEGIN SELECT RAISE(ABORT, 'full'); END",
            "DROP TRIGGER none",
        )
        if on_sqlite
        else (
            f"ALTER TABLE {table} ADD CONSTRAINT none CHECK (false) NOT VALID",
            f"ALTER TABLE {table} DROP CONSTRAINT none",
        )
    )
    with connection.cursor() as cursor:
        cursor.execute(begin)
    yield
    with connection.cursor() as cursor:
        cursor.execute(end)


def test_a_key_under_an_old_pepper_is_signed_anew_by_its_use(settings: LazySettings, door: Door) -> None:
    settings.OLLA_KEY_PEPPERS = ["old"]
    used, unused = keys.create(name="laptop"), keys.create(name="phone")
    settings.OLLA_KEY_PEPPERS = ["new", "old"]
    assert keys.pepper_is_old(used.key)
    before = ApiKey.objects.get(name="laptop").digest
    assert door.ask(used.plain).status_code == 200
    wait_for(lambda: ApiKey.objects.get(name="laptop").digest != before)

    settings.OLLA_KEY_PEPPERS = ["new"]
    newer = keys.create(name="tablet")
    key_table.rebuild()
    found = [key_table.keys().find(each.plain.encode(), time.time()) for each in (used, unused, newer)]
    assert [each and each.name for each in found] == ["laptop", None, "tablet"]
