"""Every page in a real browser: by keyboard, on a phone, in light and dark, and with mistakes in a form."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import expect

from bench.ports import free_port
from endpoints.choices import Mode, Status
from endpoints.models import Endpoint
from endpoints.status_page_row import StatusPage
from inference.local.choices import State
from inference.models import LocalModel
from ollaproject.wire import roles
from tests.fakes.upstream import FakeUpstream
from tests.pages.fleet import PASSWORD, add_endpoint
from tests.pages.test_local_models import add_machine, add_model

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import Page

    from tests.browser.conftest import Console, WebServer

    OpenPage = Callable[..., Page]

pytestmark = pytest.mark.browser

NARROW_PIXELS = 360
IMPORTED = """
endpoints:
  - name: mini-7
    url: http://192.168.1.37:8000
    type: vllm-mlx
"""
LONG = "a-very-long-name-without-any-place-to-break-it-0123456789-abcdef"
# What is wider than the box that cuts it off. (A table may be moved sideways in its own box, unless its rows
# are cards on a phone.)
CUT_OFF = """() => [...document.querySelectorAll("main *")]
  .filter((box) => ["hidden", "clip"].includes(getComputedStyle(box).overflowX) ||
    box.matches(".table-box:has(> .cards-on-phone)"))
  .filter((box) => !box.closest("input, .unseen, .visually-hidden, .names, .cards-on-phone thead"))
  .filter((box) => box.checkVisibility() && box.scrollWidth > box.clientWidth + 1)
  .map((box) => box.className || box.tagName)"""


@pytest.fixture
def fleet(web: WebServer) -> Endpoint:
    """One endpoint in each status and mode, with names as long as they may be."""
    for status in Status:
        add_endpoint(
            f"mini-{status}", status=status, reason="something that takes a whole sentence to explain"
        )
    add_endpoint("resting", mode=Mode.PAUSED)
    for state in State:
        why = "a reason that takes a whole sentence to explain"
        add_model(f"org/{state}-{LONG}", state=state, done=1, total=2, reason=why, log_tail=f"{LONG}\n" * 9)
    add_machine()
    url = f"http://{'sub.' * 12}example.test:8000"
    return add_endpoint(
        LONG, mode=Mode.DRAINING, url=url, models=tuple(f"organisation/{LONG}-{n}" for n in range(5))
    )


def pages_of(endpoint: Endpoint) -> list[str]:
    admin = "/admin/endpoints/endpoint/"
    return [
        "/",
        f"/endpoints/{endpoint.pk}/",
        "/incidents/",
        "/models/",
        f"/models/organisation/{LONG}-1/",
        "/models/local/",
        f"/models/local/{LocalModel.objects.get(status__state=State.FAILED).pk}/",
        f"/admin/inference/localmodel/{LocalModel.objects.get(status__state=State.LOADING).pk}/change/",
        "/admin/inference/localmodel/",
        admin,
        f"{admin}{endpoint.pk}/change/",
        f"{admin}add/",
        f"{admin}{endpoint.pk}/delete/",
        "/admin/",
    ]


def test_nothing_scrolls_sideways_or_is_cut_off_on_a_narrow_phone(
    open_page: OpenPage, operator: User, fleet: Endpoint
) -> None:
    page = open_page(operator, width=NARROW_PIXELS)
    wide = {}
    for url in pages_of(fleet):
        page.goto(url)
        if page.evaluate("document.documentElement.scrollWidth") > NARROW_PIXELS:
            wide[url] = ["page"]
        elif boxes := page.evaluate(CUT_OFF):
            wide[url] = boxes
    assert wide == {}


def test_signing_in_needs_only_a_keyboard(open_page: OpenPage, web: WebServer) -> None:
    roles.grant(User.objects.create_user("grace", password=PASSWORD), roles.VIEWER)
    page = open_page()
    page.goto("/")
    page.keyboard.type("grace")
    page.keyboard.press("Tab")
    page.keyboard.type("wrong")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("correct username and password")
    expect(page.locator("#id_username")).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    expect(page.locator(".sentence")).to_be_visible()
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()


def test_an_endpoint_is_added_after_a_mistake_was_explained(
    open_page: OpenPage, restarted_web: WebServer, operator: User
) -> None:
    page = open_page(operator)
    page.goto("/")
    page.get_by_role("link", name="Add an endpoint").click()
    page.get_by_label("Name:", exact=True).fill("mini-1")
    page.get_by_label("URL:", exact=True).fill("192.168.1.31:8000")
    page.get_by_label("Check interval:", exact=True).fill("2s")
    page.get_by_label("Authentication:").select_option("bearer")
    page.get_by_label("Token").fill("sk-secret")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator(".field-url .errorlist")).to_contain_text("must start with http:// or https://")
    expect(page.locator(".field-check_interval_seconds .errorlist").first).to_contain_text(
        "shorter than the check"
    )
    page.get_by_label("Check interval:", exact=True).fill("10s")
    page.get_by_label("Token").fill("sk-secret")
    test, outcome = page.get_by_role("button", name="Test connection"), page.locator("#test-outcome")
    with FakeUpstream(models=("mlx-community/Qwen3-8B-4bit",)) as upstream:
        page.get_by_label("URL:", exact=True).fill(f"http://127.0.0.1:{free_port()}")
        test.click()
        expect(outcome).to_contain_text("Connection refused")
        page.get_by_label("URL:", exact=True).fill(upstream.url)
        test.click()
        expect(outcome).to_contain_text("Models: mlx-community/Qwen3-8B-4bit")
    assert not Endpoint.objects.exists()
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator("#result_list .field-endpoint a")).to_contain_text("mini-1")
    assert Endpoint.objects.get().credential() == "sk-secret"


def test_endpoints_are_imported_from_a_file_once_its_changes_were_shown(
    open_page: OpenPage, operator: User
) -> None:
    page = open_page(operator)
    page.goto("/admin/endpoints/endpoint/")
    page.get_by_role("link", name="Import a file").click()
    page.get_by_label("Endpoint file").set_input_files(
        {"name": "olla.yaml", "mimeType": "application/yaml", "buffer": IMPORTED.encode()}
    )
    page.get_by_role("button", name="See what it would change").click()
    expect(page.get_by_role("row", name="mini-7")).to_contain_text("added")
    assert not Endpoint.objects.exists()
    page.get_by_role("button", name="Import this").click()
    expect(page.locator("#result_list .field-endpoint a")).to_contain_text("mini-7")


def test_the_status_page_is_seen_by_its_link_alone_until_that_is_made_anew(
    open_page: OpenPage, operator: User, console: Console
) -> None:
    add_endpoint("mini-1", models=("org/model",))
    StatusPage.objects.update_or_create(
        pk=StatusPage.SINGLETON, defaults={"enabled": True, "shows_models": True}
    )
    page = open_page(operator)
    page.goto("/admin/endpoints/statuspage/")
    link = page.locator(".field-link a").get_attribute("href") or ""
    somebody = open_page()
    somebody.goto(link)
    expect(somebody.locator(".sentence")).to_have_text("All is well.")
    expect(somebody.get_by_role("listitem").first).to_contain_text("org/model")
    assert "mini-1" not in somebody.content()
    page.get_by_role("button", name="New link").click()
    page.get_by_role("button", name="Go ahead").click()
    expect(page.locator(".messagelist")).to_contain_text("The old link leads nowhere any more")
    console.expect("404")
    somebody.reload()
    expect(somebody.locator("h1")).to_have_text("There is no such page")


def test_the_form_shows_the_defaults_of_the_chosen_type(open_page: OpenPage, operator: User) -> None:
    page = open_page(operator)
    page.goto("/admin/endpoints/endpoint/add/")
    priority = page.get_by_label("Priority")
    expect(priority).to_have_attribute("placeholder", "85")
    page.get_by_label("Backend type").select_option("openai-compatible")
    expect(priority).to_have_attribute("placeholder", "50")


def test_the_theme_that_was_chosen_is_remembered_on_all_pages(open_page: OpenPage, operator: User) -> None:
    page = open_page(operator)
    page.goto("/")
    light = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.locator(".menu summary").click()
    page.get_by_role("button", name="Dark").click()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != light
    page.goto("/admin/")
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")


def test_a_page_that_is_not_there_says_so(open_page: OpenPage, member: User, console: Console) -> None:
    console.expect("404")
    page = open_page(member)
    page.goto("/nothing-here/")
    expect(page.locator("h1")).to_have_text("There is no such page")
    page.get_by_role("link", name="Go to the fleet").click()
    expect(page.locator("#fleet")).to_be_visible()
