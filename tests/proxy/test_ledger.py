"""The history of requests: one row each, written off the path, and nothing lost without a word."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import httpx
import pytest
from django.db import connection
from django.urls import reverse

from proxy.ledger import Ledger
from proxy.models import RequestRecord
from proxy.record import Attempt, Outcome
from proxy.tasks import prune_requests
from proxy.usage import Tokens
from tests.proxy.conftest import CHAT, chat_body, gateway_with, target_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from django.conf import LazySettings
    from django.test import Client

    from tests.fakes.upstream import FakeUpstream
    from tests.proxy.conftest import Served

    Table = Callable[..., None]

pytestmark = pytest.mark.django_db(transaction=True)


def outcome(number: int = 1, *, prompt: int = 5) -> Outcome:
    return Outcome(
        request_id=f"req_{number}",
        method="POST",
        route=CHAT,
        caller="127.0.0.1",
        model="m1",
        endpoint="mini-2",
        attempts=(Attempt("mini-1", "refused the connection"), Attempt("mini-2", None)),
        status=200,
        stream=True,
        ttft=0.25,
        duration=1.5,
        bytes_in=10,
        bytes_out=20,
        error_code=None,
        client_left=False,
        tokens=Tokens(prompt, 3, None),
    )


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
    assert row.attempts == [["mini-1", "refused the connection"], ["mini-2", None]]
    assert (row.ttft_ms, row.duration_ms, row.caller) == (250, 1500, "127.0.0.1")
    assert (row.prompt_tokens, row.completion_tokens, row.cached_tokens) == (5, 3, None)


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


@pytest.mark.parametrize(("addresses", "length"), [("hashed", 16), ("none", 0)])
def test_the_address_is_kept_as_the_setting_says(addresses: str, length: int) -> None:
    (row,) = written(outcome(), addresses=addresses)

    assert len(row.caller) == length
    assert "127" not in row.caller or length == 16


@pytest.fixture
def no_table() -> Iterator[threading.Event]:
    """The rows' table is away until the event is set, as when the database is down."""
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE proxy_requestrecord RENAME TO away")
    back = threading.Event()
    yield back
    if not back.is_set():
        bring_back(back)


def bring_back(back: threading.Event) -> None:
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE away RENAME TO proxy_requestrecord")
    back.set()


def wait_for(what: Callable[[], bool]) -> None:
    pause = threading.Event()
    for _ in range(500):
        if what():
            return
        pause.wait(0.02)
    pytest.fail("It did not come to pass within ten seconds.")


def test_rows_wait_while_the_database_is_down(
    no_table: threading.Event, caplog: pytest.LogCaptureFixture
) -> None:
    ledger = Ledger(addresses="full", interval=0.02)
    ledger.add(outcome(1))
    wait_for(lambda: "its rows wait" in caplog.text)
    ledger.add(outcome(2))
    bring_back(no_table)
    ledger.stop()

    assert RequestRecord.objects.count() == 2
    assert (ledger.waiting, ledger.lost) == (0, 0)
    assert caplog.text.count("its rows wait") == 1


def test_what_there_is_no_room_for_is_counted_and_said(
    no_table: threading.Event, caplog: pytest.LogCaptureFixture
) -> None:
    ledger = Ledger(addresses="full", max_waiting=3, interval=0.02)
    for number in range(5):
        ledger.add(outcome(number))
    wait_for(lambda: "lost 2 rows" in caplog.text)
    bring_back(no_table)
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


def test_old_rows_are_deleted(settings: LazySettings) -> None:
    settings.OLLA_REQUEST_HISTORY_DAYS = 7
    old, young = written(outcome(1), outcome(2))
    RequestRecord.objects.filter(pk=old.pk).update(at=old.at.replace(year=old.at.year - 1))

    prune_requests()

    assert list(RequestRecord.objects.all()) == [young]


def test_the_admin_pages_show_rows_and_change_none(admin_client: Client) -> None:
    (row,) = written(outcome())

    listed = admin_client.get(reverse("admin:proxy_requestrecord_changelist"), {"endpoint": "mini-2"})
    shown = admin_client.get(reverse("admin:proxy_requestrecord_change", args=[row.pk]))
    added = admin_client.get(reverse("admin:proxy_requestrecord_add"))

    assert b"req_1" in listed.content
    assert b"refused the connection" in shown.content
    assert b'name="_save"' not in shown.content
    assert added.status_code == 403
