"""The status page for everyone with its link: what it says, what it never says, and how the link ends."""

from __future__ import annotations

import json
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from django.core.cache import cache
from django.db import connection
from django.test import Client

from endpoints.choices import Mode, Status
from endpoints.models import Change, Transition
from endpoints.pages.status_page import current, together
from endpoints.past.history import Flip
from endpoints.status_page_row import StatusPage
from ollaproject.wire.clock import now
from tests.pages.fleet import add_endpoint, set_health

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.contrib.auth.models import User
    from pytest_django import DjangoAssertNumQueries

pytestmark = pytest.mark.django_db

ADMIN = "/admin/endpoints/statuspage/"


@pytest.fixture(autouse=True)
def nothing_kept() -> Iterator[None]:
    cache.clear()
    yield
    cache.clear()


@pytest.fixture
def link() -> str:
    page = StatusPage.objects.create(enabled=True, title="Our <models>")
    return f"/status/{page.token}/"


def test_it_says_how_the_service_is_and_nothing_of_what_it_is_made_of(
    link: str, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    add_endpoint("studio-7", url="http://10.1.2.3:8000", models=("secret-model",))
    down = add_endpoint("mini-9", status=Status.OFFLINE, reason="connection refused")
    Transition.objects.create(
        endpoint=down, at=now() - timedelta(hours=2), old_status="unknown", new_status="offline"
    )
    with django_assert_num_queries(5):
        response = Client().get(link)
    html = response.content.decode()
    assert "Serving, with less capacity" in html
    assert "Our &lt;models&gt;" in html
    for internal in ("studio-7", "mini-9", "10.1.2.3", "secret-model", "refused", "vllm", "/admin/", "Sign"):
        assert internal not in html
    assert response.headers["Referrer-Policy"] == "no-referrer"
    assert "unsafe" not in response.headers["Content-Security-Policy"]
    with django_assert_num_queries(1):  # the link; what it shows is kept for a few seconds
        Client().get(link)


@pytest.mark.parametrize(
    ("states", "state"),
    [
        ((Status.HEALTHY, Status.BUSY), "up"),
        ((Status.HEALTHY, Status.OFFLINE), "partly"),
        ((Status.OFFLINE,), "down"),
        ((), "down"),
    ],
)
def test_its_badges_say_the_same(link: str, states: tuple[Status, ...], state: str) -> None:
    for number, status in enumerate(states):
        add_endpoint(f"mini-{number}", status=status)
    add_endpoint("resting", mode=Mode.PAUSED)
    said = json.loads(Client().get(f"{link}badge.json").content)
    assert (said["state"], said["schemaVersion"], said["label"]) == (state, 1, "Our <models>")
    svg = Client().get(f"{link}badge.svg")
    assert svg.headers["Content-Type"] == "image/svg+xml"
    assert f"Our &lt;models&gt;: {said['message']}" in svg.content.decode()


@pytest.mark.parametrize("language", ["en", "de"])
def test_the_numbers_of_its_badge_are_numbers_in_every_language(link: str, language: str) -> None:
    """In an SVG `46,5` would be two places, and letters would lie on each other."""
    for words in ("x", "xy"):  # of an odd and of an even length
        StatusPage.objects.update(title=words)
        svg = Client(headers={"accept-language": language}).get(f"{link}badge.svg").content.decode()
        places = re.findall(r'<text x="([^"]*)"', svg)
        assert len(places) == 2
        assert all(float(place) > 0 for place in places)


def test_models_are_named_only_when_that_is_wanted(link: str) -> None:
    add_endpoint("mini-1", models=("served",))
    set_health(add_endpoint("mini-2", models=("away",)), status=Status.OFFLINE)
    StatusPage.objects.update(shows_models=True)
    html = Client().get(link).content.decode()
    assert html.index(">away<") < html.index("Unavailable") < html.index(">served<") < html.index("Available")


@pytest.mark.parametrize("path", ["", "badge.svg", "badge.json"])
def test_it_is_not_there_when_it_is_switched_off_or_the_link_is_another(link: str, path: str) -> None:
    assert Client().get(f"/status/wrong/{path}").status_code == 404
    StatusPage.objects.update(enabled=False)
    assert Client().get(link + path).status_code == 404


def test_the_admin_switches_it_on_and_a_new_link_ends_the_old_one(client: Client, admin_user: User) -> None:
    client.force_login(admin_user)
    form = client.get(ADMIN, follow=True)
    assert "It is switched off." in form.content.decode()
    url = form.redirect_chain[-1][0]
    saved = client.post(url, {"enabled": "on", "title": "Models", "_continue": "1"}, follow=True)
    before = StatusPage.objects.get().token
    assert f"http://testserver/status/{before}/" in saved.content.decode()
    assert Client().get(f"/status/{before}/").status_code == 200
    renewed = client.post(f"{ADMIN}renew/", follow=True).content.decode()
    assert before not in renewed
    assert Client().get(f"/status/{before}/").status_code == 404
    assert Client().get(f"/status/{StatusPage.objects.get().token}/").status_code == 200


def test_what_is_done_in_german_is_written_down_in_english_and_shown_in_german(
    client: Client, admin_user: User
) -> None:
    client.force_login(admin_user)
    client.defaults["HTTP_ACCEPT_LANGUAGE"] = "de"
    client.post(client.get(ADMIN).headers["Location"], {"enabled": "on", "title": "Models"})
    change = Change.objects.get()
    assert (change.kind, change.action) == ("status page", "switched on")
    listed = client.get("/admin/endpoints/change/").content.decode()
    assert ">Statusseite<" in listed
    assert ">eingeschaltet<" in listed


def test_a_member_of_no_role_cannot_switch_it_on(client: Client, onlooker: User) -> None:
    client.force_login(onlooker)
    assert client.get(ADMIN).status_code == 403
    assert client.post(f"{ADMIN}renew/").status_code == 403


def test_the_service_is_down_only_while_every_endpoint_is() -> None:
    start = now()

    def flip(minute: int, old: Status, new: Status) -> Flip:
        return Flip(start + timedelta(minutes=minute), old, new)

    up, down = Status.HEALTHY, Status.OFFLINE
    flips = [
        (1, flip(0, Status.UNKNOWN, up)),
        (2, flip(1, Status.UNKNOWN, up)),
        (1, flip(2, up, down)),
        (2, flip(3, up, down)),
        (1, flip(4, down, up)),
    ]
    found = [((each.at - start).seconds // 60, each.new) for each in together(flips)]
    assert found == [(0, up), (3, down), (4, up)]


@pytest.mark.django_db(transaction=True)
def test_of_many_who_look_at_once_one_has_it_worked_out() -> None:
    add_endpoint("studio-7")
    page = StatusPage.objects.create(enabled=True)
    together = threading.Barrier(8)

    def look() -> datetime:
        try:
            together.wait()
            return current(page).at
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as threads:
        seen = [each.result() for each in [threads.submit(look) for _ in range(8)]]

    assert len(set(seen)) == 1
