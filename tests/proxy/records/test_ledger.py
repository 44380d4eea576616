"""The history of requests: one row each, written off the path, and nothing lost without a word."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import httpx
import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from endpoints.past import retention
from ollaproject.wire import clock
from proxy.access.key_table import Holder, Team
from proxy.answer.usage import Tokens
from proxy.limits.limits import Limits
from proxy.models import ApiKey, Came, RequestRecord, UsageTotal
from proxy.records.history_rows import COLUMNS
from proxy.records.ledger import Ledger
from proxy.status import catalogue
from proxy.tasks import prune_requests
from tests.proxy.conftest import CHAT, chat_body, gateway_with, target_for
from tests.proxy.outcomes import outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from django.conf import LazySettings
    from django.test import Client

    from proxy.records.record import Outcome
    from tests.fakes.upstream import FakeUpstream
    from tests.proxy.conftest import Served

    Table = Callable[..., None]

pytestmark = pytest.mark.django_db(transaction=True)


def written(*outcomes: Outcome, addresses: str = "full") -> list[RequestRecord]:
    """The rows of these outcomes."""
    ledger = Ledger(addresses=addresses)
    for each in outcomes:
        ledger.add(each)
    ledger.stop()
    return list(RequestRecord.objects.order_by("id"))


def test_a_row_says_what_came_of_a_request() -> None:
    (row,) = written(outcome())

    assert (row.request_id, row.model, row.endpoint, row.status) == ("req_1", "m1", "mini-2", 200)
    assert row.attempts == [["mini-1", "refused the connection", 0, 2], ["mini-2", None, 500, 250]]
    assert row.outcome == Came.OK
    assert (row.ttft_ms, row.duration_ms, row.caller) == (250, 1500, "127.0.0.1")
    assert (row.prompt_tokens, row.completion_tokens, row.cached_tokens) == (5, 3, None)


def test_a_row_fills_every_column() -> None:
    fields = RequestRecord._meta.concrete_fields

    assert sorted(COLUMNS) == sorted(field.attname for field in fields if not field.primary_key)


def test_the_gateway_writes_a_row_for_each_request(
    serve: Callable[..., Served], upstream: FakeUpstream, table: Table
) -> None:
    table(target_for(upstream))
    ledger = Ledger(addresses="none")
    gateway = gateway_with(ledger=ledger)
    url = serve(gateway).url + CHAT
    with httpx.Client(trust_env=False) as client:
        client.post(url, json=chat_body())
        client.post(url, json=chat_body("nothing-of-this-name"))
        client.get(url.removesuffix(CHAT) + "/v1/models")  # when it is answered, the others are recorded
    ledger.stop()

    rows = RequestRecord.objects.order_by("id")[:2]
    assert [(row.status, row.error_code, row.prompt_tokens) for row in rows] == [
        (200, "", 5),
        (404, "model_not_found", None),
    ]


def test_many_rows_are_written_in_their_order() -> None:
    rows = written(*(outcome(number) for number in range(1203)))

    assert [row.request_id for row in rows] == [f"req_{number}" for number in range(1203)]


ANN = Holder(7, "laptop", b"0123456789ab", (), 3, "ann", Team(2, "red", Limits()))


def test_a_row_says_whose_it_was_and_what_answered() -> None:
    (row,) = written(
        outcome(holder=ANN, served_model="m9", routing=("alias", "routed", "model_found"), charged=8)
    )

    assert (row.key_id, row.key_name) == (7, "laptop")
    assert (row.user_id, row.user_name, row.team_id, row.team_name) == (3, "ann", 2, "red")
    assert (row.model, row.served_model, row.routing) == ("m1", "m9", "alias routed model_found")


def test_totals_are_the_sums_of_the_rows() -> None:
    written(
        outcome(1),
        outcome(2, served_model="m9", holder=ANN),
        outcome(3, holder=ANN, error_code="upstream_disconnected"),
        outcome(4, holder=ANN, client_left=True, tokens=None, ttft=None),
        outcome(5, holder=ANN, status=404, endpoint=None, model="made-up", error_code="model_not_found"),
    )
    written(outcome(6, holder=ANN, charged=8))  # by another process

    counted = UsageTotal.objects.order_by("key_id", "model").values_list(
        *("key_name", "user_name", "model", "endpoint", "requests", "failures", "abandoned"),
        *("prompt_tokens", "completion_tokens", "charged_tokens", "begun"),
    )
    assert list(counted) == [
        ("", "", "m1", "mini-2", 1, 0, 0, 5, 3, 0, 1),
        ("laptop", "ann", "", "", 1, 1, 0, 5, 3, 0, 1),
        ("laptop", "ann", "m1", "mini-2", 3, 1, 1, 10, 6, 8, 2),
        ("laptop", "ann", "m9", "mini-2", 1, 0, 0, 5, 3, 0, 1),
    ]


def test_how_fast_a_model_writes_is_told_by_streams_alone() -> None:
    """Nobody sees when the tokens of other answers are written, and what failed wrote none."""
    written(
        outcome(1, stream=True, ttft=0.5, duration=1.5, tokens=Tokens(5, 41, None)),
        outcome(2, stream=False, ttft=4.0, duration=4.001, tokens=Tokens(5, 400, None)),
        outcome(3, stream=True, ttft=None, duration=30.0, tokens=None, error_code="upstream_timeout"),
        outcome(4, stream=True, ttft=0.2, duration=0.201, tokens=Tokens(5, 1, None)),
    )

    assert catalogue.used()["m1"].tokens_per_second == pytest.approx(40)


def test_totals_are_kept_without_rows_and_when_rows_are_gone() -> None:
    ledger = Ledger(addresses="none", rows=False)
    ledger.add(outcome())
    ledger.stop()

    assert (RequestRecord.objects.count(), UsageTotal.objects.get().requests) == (0, 1)


def test_rows_and_totals_are_written_together_or_not_at_all(no_totals: Away) -> None:
    ledger = Ledger(addresses="none", interval=0.02)
    ledger.add(outcome())
    wait_for(lambda: ledger._down)
    assert RequestRecord.objects.count() == 0
    no_totals.bring_back()
    ledger.stop()

    assert (RequestRecord.objects.count(), UsageTotal.objects.get().requests) == (1, 1)


def test_a_key_knows_when_it_was_last_used() -> None:
    key = ApiKey.objects.create(name="laptop", public_id="0123456789ab")
    (row,) = written(outcome(holder=replace(ANN, id=key.pk)))

    key.refresh_from_db()
    assert key.last_used_at == row.at


@pytest.mark.parametrize(("addresses", "length"), [("hashed", 16), ("none", 0)])
def test_the_address_is_kept_as_the_setting_says(addresses: str, length: int) -> None:
    (row,) = written(outcome(), addresses=addresses)

    assert len(row.caller) == length
    assert "127" not in row.caller or length == 16


class Away:
    """A table that is away until it is brought back, as when the database is down."""

    def __init__(self, table: str) -> None:
        self.table = table
        with connection.cursor() as cursor:
            cursor.execute(f"ALTER TABLE {table} RENAME TO away")

    def bring_back(self) -> None:
        if self.table:
            with connection.cursor() as cursor:
                cursor.execute(f"ALTER TABLE away RENAME TO {self.table}")
            self.table = ""


@pytest.fixture
def no_table() -> Iterator[Away]:
    away = Away("proxy_requestrecord")
    yield away
    away.bring_back()


@pytest.fixture
def no_totals() -> Iterator[Away]:
    away = Away("proxy_usagetotal")
    yield away
    away.bring_back()


def wait_for(what: Callable[[], bool]) -> None:
    pause = threading.Event()
    for _ in range(500):
        if what():
            return
        pause.wait(0.02)
    pytest.fail("It did not come to pass within ten seconds.")


def test_rows_wait_while_the_database_is_down(no_table: Away, caplog: pytest.LogCaptureFixture) -> None:
    ledger = Ledger(addresses="full", interval=0.02)
    ledger.add(outcome(1))
    wait_for(lambda: "its rows wait" in caplog.text)
    ledger.add(outcome(2))
    no_table.bring_back()
    ledger.stop()

    assert RequestRecord.objects.count() == 2
    assert (ledger.waiting, ledger.lost) == (0, 0)
    assert caplog.text.count("its rows wait") == 1


def test_what_there_is_no_room_for_is_counted_and_said(
    no_table: Away, caplog: pytest.LogCaptureFixture
) -> None:
    ledger = Ledger(addresses="full", max_waiting=3, interval=0.02)
    for number in range(5):
        ledger.add(outcome(number))
    wait_for(lambda: "lost 2 rows" in caplog.text)
    no_table.bring_back()
    ledger.stop()

    assert RequestRecord.objects.count() == 3
    assert ledger.lost == 2


def test_a_row_that_cannot_be_stored_does_not_hold_up_the_others(caplog: pytest.LogCaptureFixture) -> None:
    ledger = Ledger(addresses="full", interval=0.02)
    ledger.add(outcome(1, prompt=2**70))
    wait_for(lambda: ledger.lost == 1)
    ledger.add(outcome(2))
    ledger.stop()

    assert [row.request_id for row in RequestRecord.objects.all()] == ["req_2"]
    assert "cannot be stored" in caplog.text


def test_a_row_that_cannot_be_stored_takes_none_of_its_batch_with_it() -> None:
    ledger = Ledger(addresses="full")
    for number in range(1203):
        ledger.add(outcome(number, prompt=2**70 if number in (0, 77, 901) else 5))
    ledger.stop()

    good = [f"req_{number}" for number in range(1203) if number not in (0, 77, 901)]
    assert [row.request_id for row in RequestRecord.objects.order_by("id")] == good
    assert sum(UsageTotal.objects.values_list("requests", flat=True)) == len(good)
    assert ledger.lost == 3


def test_old_rows_are_deleted(settings: LazySettings) -> None:
    settings.OLLA_REQUEST_HISTORY_DAYS = 7
    old, young = written(outcome(1), outcome(2))
    RequestRecord.objects.filter(pk=old.pk).update(at=old.at.replace(year=old.at.year - 1))

    prune_requests()

    assert list(RequestRecord.objects.all()) == [young]


def test_old_rows_are_deleted_bit_by_bit_so_that_nobody_waits_long_to_write() -> None:
    written(*(outcome(number) for number in range(retention.BATCH_ROWS * 2 + 1)))
    RequestRecord.objects.update(at=clock.now() - timedelta(days=400))

    with CaptureQueriesContext(connection) as sent:
        prune_requests()

    assert RequestRecord.objects.count() == 0
    assert sum(each["sql"].startswith("DELETE") and "requestrecord" in each["sql"] for each in sent) == 3


def test_the_admin_pages_show_rows_and_change_none(admin_client: Client) -> None:
    (row,) = written(outcome())

    listed = admin_client.get(reverse("admin:proxy_requestrecord_changelist"), {"endpoint": "mini-2"})
    shown = admin_client.get(reverse("admin:proxy_requestrecord_change", args=[row.pk]))
    added = admin_client.get(reverse("admin:proxy_requestrecord_add"))

    assert b"req_1" in listed.content
    assert b"refused the connection" in shown.content
    assert b'name="_save"' not in shown.content
    assert added.status_code == 403
