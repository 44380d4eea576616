"""The pages of requests: who sees which, how they are found, and that a million of them cost no more."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.db import connection
from django.db.models import Q
from django.utils.html import escape

from ollaproject.sealed import seal
from ollaproject.wire import roles
from proxy.access import keys
from proxy.models import Came, KeptBody, RequestRecord
from proxy.pages.request_search import PER_PAGE, Search, page_of, whose
from proxy.routing.failover import BROKEN_OFF
from tests.pages.fleet import add_endpoint
from tests.pages.records import record

if TYPE_CHECKING:
    from pytest_django import DjangoAssertNumQueries

    from tests.pages.conftest import SignIn

pytestmark = pytest.mark.django_db

LIST = "/requests/"


@pytest.fixture
def auditor(member: User) -> User:
    """Someone who may view everyone's requests."""
    member.user_permissions.add(Permission.objects.get(codename="view_requestrecord"))
    return member


def test_everyone_sees_their_own_and_an_auditor_sees_all(
    signed_in: SignIn, onlooker: User, member: User
) -> None:
    own = record(user_id=onlooker.pk, user_name="ada")
    other = record(user_id=member.pk, user_name="grace")
    html = signed_in(onlooker).get(LIST).content.decode()
    assert own.request_id in html
    assert other.request_id not in html
    assert signed_in(onlooker).get(f"{LIST}{other.request_id}/").status_code == 404
    member.user_permissions.add(Permission.objects.get(codename="view_requestrecord"))
    html = signed_in(member).get(LIST).content.decode()
    assert own.request_id in html
    assert other.request_id in html


def test_a_lead_sees_the_requests_of_their_teams_in_one_order(signed_in: SignIn, member: User) -> None:
    red, blue = (Group.objects.create(name=name) for name in ("red", "blue"))
    member.groups.add(red)
    for age in range(PER_PAGE + 9):
        record(age_seconds=age, **({"team_id": red.pk} if age % 3 else {"user_id": member.pk}))
    both = record(user_id=member.pk, team_id=red.pk, age_seconds=4)
    record(team_id=blue.pk)
    assert len(page_of(Search(whose=whose(member))).rows) < PER_PAGE
    roles.grant(member, roles.LEAD)
    lead = User.objects.get(pk=member.pk)
    first = page_of(Search(whose=whose(lead)))
    second = page_of(Search(whose=whose(lead)), before=first.older)
    shown = [*first.rows, *second.rows]
    assert len(shown) == len({row.pk for row in shown}) == PER_PAGE + 10
    assert shown == sorted(shown, key=lambda row: (row.at, row.pk), reverse=True)
    assert both in shown
    assert blue.pk not in {row.team_id for row in shown}
    back = page_of(Search(whose=whose(lead)), after=second.newer)
    assert back.rows == first.rows


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("?model=m2", "b"),
        ("?endpoint=mini-2", "b"),
        ("?outcome=failed", "b"),
        ("?q=req_bb", "b"),
        ("?key=laptop", "b"),
        ("?since=1h", "a"),
        ("?model=m2&outcome=ok", ""),
        ("?outcome=nonsense&since=never&before=x&after=y", "ab"),
    ],
)
def test_the_url_says_which_requests_are_shown(
    signed_in: SignIn, auditor: User, query: str, found: str
) -> None:
    record(request_id="req_aaaa")
    failed = {"status": 502, "outcome": Came.FAILED, "error_code": "upstream_error"}
    record(
        request_id="req_bbbb", model="m2", endpoint="mini-2", age_seconds=7200, key_name="laptop", **failed
    )
    html = signed_in(auditor).get(LIST + query).content.decode()
    assert set(re.findall("req_([ab])", html.partition("<tbody")[2].partition("</tbody>")[0])) == set(found)


def test_pages_follow_each_other_without_a_gap_and_back(auditor: User) -> None:
    ids = [record(age_seconds=number // 3).pk for number in range(2 * PER_PAGE + 10)]
    rows = RequestRecord.objects.in_bulk(ids)
    expected = sorted(rows, key=lambda pk: (rows[pk].at, pk), reverse=True)
    first = page_of(Search())
    second = page_of(Search(), before=first.older)
    third = page_of(Search(), before=second.older)
    assert [row.pk for page in (first, second, third) for row in page.rows] == expected
    assert (first.newer, third.older) == ("", "")
    back = page_of(Search(), after=third.newer)
    assert [row.pk for row in back.rows] == [row.pk for row in second.rows]
    assert page_of(Search(), after=second.newer).newer == ""


@pytest.mark.parametrize(
    "key",
    ["0001-01-01T00:00:00+23:59_1", "9999-12-31T23:59:59-23:59_1", f"2026-11-30T00:00:00+00:00_{10**30}"],
)
@pytest.mark.parametrize("way", ["before", "after"])
def test_a_place_in_the_list_that_cannot_be_is_no_error(
    signed_in: SignIn, auditor: User, way: str, key: str
) -> None:
    record()
    assert signed_in(auditor).get(LIST, {way: key}).status_code == 200


def test_a_request_s_page_tells_what_limited_it(signed_in: SignIn, auditor: User) -> None:
    refused: dict[str, Any] = {
        "status": 429,
        "outcome": Came.REFUSED,
        "error_code": "rate_limit_exceeded",
        "attempts": [],
    }
    words = "The API key 'ci', requests per minute: 60"
    row = record(limited_by=words, key_name="ci", **refused)
    html = signed_in(auditor).get(f"{LIST}{row.request_id}/").content.decode()
    assert f"Refused by a limit: {escape(words)}." in html
    queued = record(error_code="overloaded", status=503, outcome=Came.FAILED, attempts=[])
    assert "Every endpoint was full" in signed_in(auditor).get(f"{LIST}{queued.request_id}/").content.decode()


def test_what_a_key_keeps_is_on_the_page_for_its_owner_alone(
    signed_in: SignIn, onlooker: User, auditor: User
) -> None:
    key = keys.create(name="ci", owner=onlooker, keep_bodies=True).key
    row = record(key_id=key.pk, user_id=onlooker.pk)
    KeptBody.objects.create(
        request_id=row.request_id,
        key_id=key.pk,
        at=row.at,
        expires_at=row.at + timedelta(hours=1),
        asked=seal("<b>what</b>"),
        answered=seal("this"),
        asked_bytes=11,
        answered_bytes=5000,
    )
    own = signed_in(onlooker).get(f"{LIST}{row.request_id}/").content.decode()
    assert "&lt;b&gt;what&lt;/b&gt;" in own
    assert "the beginning of 4.88 KB" in own
    other = signed_in(auditor).get(f"{LIST}{row.request_id}/").content.decode()
    assert "&lt;b&gt;what" not in other
    assert "keeps what is asked and answered" in other


def test_a_request_s_page_tells_its_way(signed_in: SignIn, auditor: User) -> None:
    endpoint = add_endpoint("mini-1")
    row = record(
        request_id="chosen-by-the-client",
        attempts=[["mini-2", "refused the connection", 0, 3], ["mini-1", None, 1500, 120]],
        routing="alias routed model_found",
        served_model="m1-4bit",
        key_name="ci",
        team_name="research",
    )
    html = signed_in(auditor).get(f"{LIST}{row.request_id}/").content.decode()
    for piece in (
        "mini-1 answered after mini-2 had failed.",
        "Refused the connection.",
        "Waited 1.5 s for a place, then",
        f'href="/endpoints/{endpoint.pk}/"',
        "The name is an alias; an endpoint that serves it was free to take it.",
        "alias routed model_found",
        "It waited 1.5 s for a place.",
        "40.0 tok/s",
        "m1-4bit",
        "research",
    ):
        assert piece in html


def test_an_endpoint_s_own_error_is_told_as_its_answer(signed_in: SignIn, auditor: User) -> None:
    row = record(
        status=500,
        outcome=Came.FAILED,
        error_code="",
        endpoint="mini-1",
        attempts=[["mini-1", None, 0, 5]],
    )
    html = signed_in(auditor).get(f"{LIST}{row.request_id}/").content.decode()

    assert "mini-1 answered with an error, 500." in html
    assert "Answered 500" in html


def test_where_a_request_was_when_its_client_left_is_told(signed_in: SignIn, auditor: User) -> None:
    row = record(status=0, outcome=Came.LEFT, endpoint="mini-1", attempts=[["mini-1", BROKEN_OFF, 0, 900]])
    html = signed_in(auditor).get(f"{LIST}{row.request_id}/").content.decode()

    assert "Broken off before it answered." in html
    assert "Failed</span>" not in html


def test_an_id_that_was_used_again_leads_to_each_of_its_requests(signed_in: SignIn, auditor: User) -> None:
    old = record(request_id="same", age_seconds=60, endpoint="mini-old")
    record(request_id="same", endpoint="mini-new")
    client = signed_in(auditor)
    assert "mini-new answered" in client.get(f"{LIST}same/").content.decode()
    assert "mini-old answered" in client.get(f"{LIST}same/?row={old.pk}").content.decode()


def test_a_row_from_before_times_were_kept_is_shown(signed_in: SignIn, auditor: User) -> None:
    row = record(attempts=[["mini-1", None]], outcome="")
    assert signed_in(auditor).get(f"{LIST}{row.request_id}/").status_code == 200


def test_an_unknown_id_says_how_long_requests_are_kept(signed_in: SignIn, auditor: User) -> None:
    response = signed_in(auditor).get(f"{LIST}nobody-knows/")
    assert response.status_code == 404
    assert "OLLA_REQUEST_HISTORY_DAYS" in response.content.decode()


def test_names_that_clients_choose_are_escaped(signed_in: SignIn, auditor: User) -> None:
    row = record(model="<script>x</script>", request_id="a:b.c-d")
    client = signed_in(auditor)
    for url in (LIST, f"{LIST}{row.request_id}/", f"{LIST}?model=<script>x"):
        assert "<script>x" not in client.get(url).content.decode()


def test_the_list_costs_the_same_few_queries_however_long(
    signed_in: SignIn, auditor: User, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    for number in range(PER_PAGE + 1):
        record(age_seconds=number)
    client = signed_in(auditor)
    # Session, user, their two kinds of permission, the rows, and what the two filters offer.
    with django_assert_num_queries(7):
        client.get(LIST)
    with django_assert_num_queries(5):
        client.get(f"{LIST}?part=rows")


@pytest.mark.parametrize(
    ("search", "index"),
    [
        (Search(), "requests_by_time"),
        (Search(model="m1"), "requests_by_model"),
        (Search(endpoint="mini-1"), "requests_by_endpoint"),
        (Search(outcome="failed"), "requests_by_outcome"),
        (Search(whose=(Q(user_id=1),)), "requests_by_user"),
        (Search(whose=(Q(team_id=1),)), "requests_by_team"),
        (Search(query="req_1"), "requests_by_id"),
    ],
)
def test_every_filter_and_every_page_goes_by_an_index(search: Search, index: str) -> None:
    if connection.vendor != "sqlite":
        pytest.skip("this is how SQLite tells its plan")
    row = record()
    (found,) = search.rows()
    for rows in (found[:PER_PAGE], found.filter(at__lte=row.at)[:PER_PAGE]):
        plan = rows.explain()
        assert index in plan
        assert "SCAN proxy_requestrecord\n" not in f"{plan}\n"
        assert search.query or "TEMP B-TREE" not in plan
