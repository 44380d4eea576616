"""The dashboard in a real browser: it follows the fleet, says when it cannot, and its buttons work."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from django.contrib.sessions.models import Session
from playwright.sync_api import expect

from endpoints.choices import Mode, Status
from endpoints.models import Endpoint
from tests.pages.fleet import add_endpoint, set_health

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.contrib.auth.models import User
    from playwright.sync_api import Page, WebSocketRoute

    from tests.browser.conftest import Console, WebServer

    OpenPage = Callable[..., Page]

pytestmark = pytest.mark.browser

# It takes half a second, more on a busy machine. Nothing but the push tells a page that is live.
PUSHED_MS = 15_000
PATIENTLY_MS = 60_000
# How a stopped server sounds in the console.
UNREACHABLE = (
    "ERR_CONNECTION_REFUSED",
    "WebSocket connection to",
    "ERR_EMPTY_RESPONSE",
    "htmx:",
    "ERR_CONNECTION_RESET",
)


def watch_fleet(page: Page) -> None:
    page.goto("/")
    expect(page.locator("#live")).to_have_text("Live")
    page.evaluate("window.sameDocument = true")


def test_a_card_follows_its_endpoint_without_a_reload(open_page: OpenPage, member: User) -> None:
    endpoint = add_endpoint("mini-1")
    page = open_page(member)
    watch_fleet(page)
    expect(page.locator(".card .pill")).to_have_text("Healthy")
    set_health(endpoint, status=Status.OFFLINE, reason="connection refused")
    expect(page.locator(".card .pill")).to_have_text("Offline", timeout=PUSHED_MS)
    expect(page.locator(".card")).to_contain_text("Connection refused")
    expect(page).to_have_title("(1 down) Fleet · ollaproject")
    assert (page.get_attribute("link[rel=icon]", "href") or "").startswith("data:image/svg+xml")
    set_health(endpoint, status=Status.HEALTHY, reason="")
    expect(page.locator(".card .pill")).to_have_text("Healthy", timeout=PUSHED_MS)
    expect(page).to_have_title("Fleet · ollaproject")
    assert page.evaluate("window.sameDocument")


def test_an_endpoint_that_is_added_and_deleted_comes_and_goes(open_page: OpenPage, member: User) -> None:
    page = open_page(member)
    watch_fleet(page)
    expect(page.locator(".sentence")).to_have_text("No endpoint yet.")
    endpoint = add_endpoint("mini-1")
    expect(page.locator(".card h2")).to_have_text("mini-1", timeout=PUSHED_MS)
    expect(page.locator("#figures")).to_be_visible()
    endpoint.delete()
    expect(page.locator(".card")).to_have_count(0, timeout=PUSHED_MS)
    expect(page.locator("#figures")).to_be_hidden()


def test_an_update_keeps_what_was_opened_and_where_the_focus_was(open_page: OpenPage, operator: User) -> None:
    first = add_endpoint("a", models=("m1", "m2", "m3", "m4", "m5"))
    second = add_endpoint("b")
    page = open_page(operator)
    watch_fleet(page)
    page.locator(f"#endpoint-{first.pk} .more summary").click()
    page.locator(f"#endpoint-{second.pk}-check").focus()
    set_health(second, status=Status.OFFLINE)  # moves the second card in front of the first
    expect(page.locator(".card h2").first).to_have_text("b", timeout=PUSHED_MS)
    expect(page.locator(f"#endpoint-{second.pk}-check")).to_be_focused()
    assert page.evaluate(f"document.getElementById('endpoint-{first.pk}-models').open")


def test_times_go_on_between_updates(open_page: OpenPage, member: User) -> None:
    add_endpoint("mini-1", since_seconds=30)
    page = open_page(member)
    watch_fleet(page)
    since = page.locator(".state time")
    first = since.inner_text()
    expect(since).not_to_have_text(first, timeout=PUSHED_MS)
    assert "20" in (since.get_attribute("title") or "")


def test_it_says_when_the_gateway_is_gone_and_recovers(
    open_page: OpenPage, web: WebServer, member: User, console: Console
) -> None:
    endpoint = add_endpoint("mini-1")
    page = open_page(member)
    watch_fleet(page)
    console.expect(*UNREACHABLE)
    web.stop()
    try:
        expect(page.locator("#stale")).to_contain_text("the gateway does not answer", timeout=PATIENTLY_MS)
        expect(page.locator("#live")).to_have_text("Not live")
        set_health(endpoint, status=Status.OFFLINE)
    finally:
        web.start()
    expect(page.locator(".card .pill")).to_have_text("Offline", timeout=PATIENTLY_MS)
    expect(page.locator("#stale")).to_be_hidden()
    expect(page.locator("#live")).to_have_text("Live", timeout=PATIENTLY_MS)


def test_without_a_socket_it_asks_every_two_seconds(open_page: OpenPage, member: User) -> None:
    def refuse(socket: WebSocketRoute) -> None:
        socket.close()

    endpoint = add_endpoint("mini-1")
    page = open_page(member)
    page.route_web_socket("**/ws/fleet/*", refuse)
    page.goto("/")
    expect(page.locator("#live")).to_have_text("Every 2 s")
    set_health(endpoint, status=Status.UNHEALTHY)
    expect(page.locator(".card .pill")).to_have_text("Unhealthy", timeout=PUSHED_MS)


def test_a_hidden_page_fetches_nothing_and_catches_up_when_it_is_seen(
    open_page: OpenPage, member: User
) -> None:
    endpoint = add_endpoint("mini-1")
    page = open_page(member)
    watch_fleet(page)
    page.wait_for_load_state("networkidle")
    hide = "hidden => { Object.defineProperty(document, 'hidden', {value: hidden, configurable: true});"
    hide += "document.dispatchEvent(new Event('visibilitychange')) }"
    page.evaluate(hide, True)  # noqa: FBT003 - the argument of the script
    fetched: list[str] = []
    page.on("request", lambda request: fetched.append(request.url))
    set_health(endpoint, status=Status.OFFLINE)
    expect(page).to_have_title("(1 down) Fleet · ollaproject", timeout=PUSHED_MS)
    assert fetched == []
    page.evaluate(hide, False)  # noqa: FBT003 - the argument of the script
    expect(page.locator(".card .pill")).to_have_text("Offline", timeout=PUSHED_MS)


def test_someone_who_was_signed_out_elsewhere_comes_to_the_sign_in_page(
    open_page: OpenPage, member: User
) -> None:
    page = open_page(member)
    watch_fleet(page)
    Session.objects.all().delete()
    page.wait_for_url("**/login/?next=/", timeout=PUSHED_MS)


def test_pausing_a_serving_endpoint_is_asked_about_first(open_page: OpenPage, operator: User) -> None:
    add_endpoint("mini-1")
    page = open_page(operator)
    watch_fleet(page)
    page.get_by_role("button", name="Pause mini-1").click()
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator("dialog")).to_be_hidden()
    assert Endpoint.objects.get().mode == Mode.ACTIVE
    page.get_by_role("button", name="Pause mini-1").click()
    page.get_by_role("button", name="Go ahead").click()
    expect(page.locator("#said")).to_have_text("Paused mini-1: no requests and no checks.")
    expect(page.locator(".card .pill")).to_have_text("Paused")
    page.get_by_role("button", name="Put mini-1 back in service").click()
    expect(page.locator(".card .pill")).not_to_contain_text("Paused")
    assert Endpoint.objects.get().mode == Mode.ACTIVE
    check = page.get_by_role("button", name="Check mini-1 now")
    check.click()
    expect(page.locator("#said")).to_contain_text("hecking mini-1")
    expect(check).to_be_enabled()  # it may be pressed again


def test_a_check_that_the_gateway_refuses_is_said(
    open_page: OpenPage, operator: User, console: Console
) -> None:
    endpoint = add_endpoint("mini-1")
    page = open_page(operator)
    watch_fleet(page)
    console.expect("404", "htmx:")
    page.route(
        "**/check/",
        lambda route: route.continue_(url=route.request.url.replace(f"/{endpoint.pk}/", "/999999/")),
    )
    page.get_by_role("button", name="Check mini-1 now").click()
    expect(page.locator("#said")).to_have_text("It is gone: somebody has deleted it.")
