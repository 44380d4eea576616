"""Pages of a large fleet: 50 endpoints, 200 models, and rows enough that nothing may read all of them.

The limit is of the database's steps, which do not depend on the machine: a page that reads a table whole
needs many times as many as it has rows. The number of queries of each page is pinned.
"""

from __future__ import annotations

import random
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from endpoints.choices import Status
from endpoints.models import Endpoint, EndpointModel, HealthCheck, Transition
from endpoints.past.latency import BUCKETS, READ_AT_ONCE
from ollaproject.wire.clock import now
from proxy.models import Came, RequestRecord
from proxy.records import pulse
from tests.pages.fleet import add_endpoint

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.contrib.auth.models import User
    from django.test import Client

pytestmark = pytest.mark.django_db

ENDPOINTS, MODELS = 50, 200
ROWS = 20_000
DAYS = 7
MOST_BYTES = 150_000
# Of SQLite's virtual machine, in thousands. Reading all requests, or all checks, once takes far more.
MOST_STEPS_K = 150
STEPS_AT_ONCE = 1000


def fill() -> None:
    dice = random.Random(7)  # noqa: S311 - the same rows each time
    at = now()
    rows = [
        add_endpoint(
            f"mini-{number}", models=tuple(f"org/model-{number * 4 + each}-4bit" for each in range(4))
        )
        for number in range(ENDPOINTS)
    ]
    Transition.objects.bulk_create(
        Transition(
            endpoint=row, at=at - timedelta(hours=dice.random() * 2000), old_status=old, new_status=new
        )
        for row in rows
        for old, new in ((Status.HEALTHY, Status.OFFLINE), (Status.OFFLINE, Status.HEALTHY))
    )
    HealthCheck.objects.bulk_create(
        HealthCheck(
            endpoint=rows[number % ENDPOINTS],
            at=at - timedelta(days=number / ROWS),
            status=Status.HEALTHY,
            latency_seconds=0.01,
        )
        for number in range(ROWS)
    )
    RequestRecord.objects.bulk_create(
        RequestRecord(
            at=at - timedelta(days=DAYS * number / ROWS),
            request_id=f"req_{number}",
            method="POST",
            route="/v1/chat/completions",
            model=f"org/model-{number % MODELS}-4bit",
            endpoint=f"mini-{number % ENDPOINTS}",
            status=200,
            stream=True,
            attempts=[[f"mini-{number % ENDPOINTS}", None, 0, 100]],
            ttft_ms=100.0,
            duration_ms=900.0,
            bytes_in=100,
            bytes_out=1000,
            prompt_tokens=50,
            completion_tokens=80,
            outcome=Came.FAILED if number % 97 == 0 else Came.OK,
        )
        for number in range(ROWS)
    )


@pytest.fixture
def steps() -> Iterator[list[int]]:
    """How many thousand steps the database has made."""
    if connection.vendor != "sqlite":
        pytest.skip("counts the steps of SQLite")
    made = [0]

    def count() -> int:
        made[0] += 1
        return 0

    connection.ensure_connection()
    connection.connection.set_progress_handler(count, STEPS_AT_ONCE)
    yield made
    connection.connection.set_progress_handler(None, 0)


def test_no_page_of_a_large_fleet_is_large_or_reads_tables_whole(
    client: Client, admin_user: User, steps: list[int]
) -> None:
    fill()
    client.force_login(admin_user)
    first = Endpoint.objects.order_by("pk")[0]
    model = EndpointModel.objects.order_by("pk")[0].name
    found = {}
    for page, queries in queries_of(first.pk, model).items():
        for _ in range(BUCKETS // READ_AT_ONCE + 1 if page == "/" else 1):
            client.get(page)  # the latency of a day is read in pieces, and then kept
        pulse.forget()
        steps[0] = 0
        with CaptureQueriesContext(connection) as asked:
            response = client.get(page)
        assert response.status_code == 200, page
        if len(response.content) >= MOST_BYTES or steps[0] > MOST_STEPS_K or len(asked) != queries:
            found[page] = (len(response.content), steps[0], len(asked))
    assert not found, found


def queries_of(first: int, model: str) -> dict[str, int]:
    """Every page, with how many queries it makes."""
    return {
        "/": 12,
        "/endpoints/fleet/": 4,
        f"/endpoints/{first}/": 8,
        f"/endpoints/{first}/now/": 11,
        f"/endpoints/{first}/latency/?span=90d": 7,  # who asks, the endpoint, and four of its history
        f"/traffic/{first}/": 5,
        f"/traffic/{first}/first-byte/?span=7d": 4,
        "/models/": 6,
        f"/models/{model}/": 6,
        "/models/local/": 4,
        "/playground/": 7,  # two of them: what this person may use
        "/requests/": 5,
        f"/requests/?endpoint=mini-3&model={model}&since=7d": 5,
        "/requests/?outcome=failed&since=24h": 5,
        "/requests/req_77/": 4,
        "/usage/": 16,
        "/usage/?of=all&by=key&show=cost&days=90": 8,
        "/incidents/": 5,
        "/figures/": 4,
        "/admin/": 3,
        "/admin/endpoints/endpoint/": 7,
        f"/admin/endpoints/endpoint/{first}/change/": 7,
        "/admin/endpoints/change/": 7,
        "/admin/endpoints/alertdelivery/": 5,
        "/admin/proxy/requestrecord/": 9,
        "/admin/proxy/requestrecord/?q=req_77": 9,
        "/admin/proxy/requestrecord/?endpoint=mini-3&outcome__exact=ok": 9,
        "/admin/proxy/usagetotal/": 7,
        "/admin/proxy/apikey/": 7,
        "/admin/auth/user/": 6,
    }
