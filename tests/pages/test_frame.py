"""The frame of every page: what the bar leads to, errors in it, and the first steps."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest
from django.contrib.auth.models import User
from django.test import Client, RequestFactory
from django.urls import reverse
from django.views.defaults import server_error

from endpoints.choices import Status
from ollaproject import logs, navigation
from ollaproject.wire.clock import now
from proxy.models import RequestRecord
from tests.pages.fleet import add_endpoint, set_health

if TYPE_CHECKING:
    from django.conf import LazySettings

    from tests.pages.conftest import SignIn

pytestmark = pytest.mark.django_db


def test_the_bar_shows_to_each_person_what_they_may_open(member: User, operator: User) -> None:
    assert "/admin/" not in [link.url for link in navigation.links(member, "/")]
    assert "/admin/" in [link.url for link in navigation.links(operator, "/")]


@pytest.mark.parametrize(
    ("path", "label"), [("/", "Fleet"), ("/endpoints/3/", "Fleet"), ("/incidents/", "Incidents")]
)
def test_the_bar_says_where_one_is(member: User, path: str, label: str) -> None:
    assert [link.label for link in navigation.links(member, path) if link.current] == [label]


def test_every_entry_leads_somewhere(signed_in: SignIn, admin_user: User) -> None:
    client = signed_in(admin_user)
    for entry in navigation.ENTRIES:
        assert client.get(reverse(entry.url_name)).status_code == 200, entry.url_name


def test_a_fault_is_shown_in_the_frame_though_nobody_is_known_there() -> None:
    response = server_error(RequestFactory().get("/"))
    assert response.status_code == 500
    assert 'class="bar"' in response.content.decode()
    assert "/admin/" not in response.content.decode()


def test_a_page_that_is_not_there_leads_to_one_that_its_reader_may_see(
    signed_in: SignIn, member: User
) -> None:
    nobody = User.objects.create_user("nobody")
    for client, url in (
        (Client(), reverse("dashboard")),
        (signed_in(member), reverse("dashboard")),
        (signed_in(nobody), reverse("requests")),
    ):
        response = client.get("/nothing-here/")
        assert response.status_code == 404
        assert f'<p class="lead">It may have been removed, or the address is mistyped. <a href="{url}">' in (
            response.content.decode()
        )


def test_somebody_who_may_not_see_a_page_is_one_line_of_the_log(
    signed_in: SignIn, capfd: pytest.CaptureFixture[str]
) -> None:
    handler = logging.StreamHandler()
    configured = logs.configuration()["filters"]["refusals"]
    handler.addFilter(configured["()"]())
    logger = logging.getLogger("django.request")
    logger.addHandler(handler)
    try:
        assert signed_in(User.objects.create_user("nobody")).get("/models/").status_code == 403
    finally:
        logger.removeHandler(handler)
    assert capfd.readouterr().err == "Forbidden (Permission denied): /models/\n"


def test_the_first_steps_go_when_a_request_has_come_through(
    signed_in: SignIn, operator: User, member: User, settings: LazySettings
) -> None:
    settings.OLLA_REQUEST_HISTORY_DAYS = 7
    endpoint = add_endpoint("mini-1", status=Status.OFFLINE)
    client = signed_in(operator)
    assert "See it serve" in client.get("/").content.decode()
    assert "First steps" not in signed_in(member).get("/").content.decode()
    set_health(endpoint, status=Status.HEALTHY)
    assert "Send a request" in client.get("/").content.decode()
    RequestRecord.objects.create(at=now(), request_id="r", duration_ms=1, bytes_in=0, bytes_out=0, status=200)
    assert "First steps" not in client.get("/").content.decode()


@pytest.mark.parametrize(
    "url",
    ["/requests/?q=%00", "/requests/a%00b/", "/usage/?model=a%00", "/?tag=%00", "/api/endpoints/?name=%00"],
)
def test_a_nul_in_a_url_is_refused_for_no_database_has_one(
    signed_in: SignIn, admin_user: User, url: str
) -> None:
    response = signed_in(admin_user).get(url)

    assert response.status_code == 400
    assert response.headers["Content-Security-Policy"]
    assert (response.headers["Content-Type"] == "application/json") == url.startswith("/api/")


def test_a_percent_sign_before_zeros_is_none(signed_in: SignIn, admin_user: User) -> None:
    assert signed_in(admin_user).get("/requests/?q=100%2500").status_code == 200
