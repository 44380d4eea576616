"""What axe-core finds on each page: nothing serious, in light and in dark, on a desktop and on a phone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from axe_playwright_python.base import AXE_SCRIPT
from django.apps import apps
from django.contrib import admin

from endpoints.choices import Mode, Status
from endpoints.models import AliasedModel, ModelAlias
from inference.local.choices import State
from inference.models import LocalModel
from ollaproject.wire.clock import now
from proxy.access import keys
from proxy.models import Came, UsageTotal
from tests.pages.fleet import add_endpoint
from tests.pages.records import record
from tests.pages.test_local_models import add_machine, add_model

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.contrib.auth.models import User
    from playwright.sync_api import Page, ViewportSize

    from endpoints.models import Endpoint
    from tests.browser.conftest import Console, WebServer

    OpenPage = Callable[..., Page]

pytestmark = pytest.mark.browser

DESKTOP: ViewportSize = {"width": 1280, "height": 800}
PHONE: ViewportSize = {"width": 360, "height": 800}
# Colours that are on their way to others are not judged.
SERIOUS = """async () => {
  await Promise.all(document.getAnimations().map(({ finished }) => finished));
  const { violations } = await axe.run({ resultTypes: ["violations"], preload: false });
  return violations
    .filter(({ impact }) => ["serious", "critical"].includes(impact))
    .map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html.slice(0, 160)).slice(0, 3).join(" | ")}`);
}"""


@pytest.fixture
def fleet(operator: User) -> Endpoint:
    """Endpoints in every state, models, aliases and requests, so that each page has something to show."""
    for status in Status:
        add_endpoint(f"mini-{status}", status=status, reason="it says so", models=("m1",), tags=["office"])
    add_endpoint("resting", mode=Mode.PAUSED)
    alias = ModelAlias.objects.create(name="gpt-4o")
    AliasedModel.objects.create(alias=alias, model="m1")
    for outcome in Came.values:
        record(outcome=outcome, endpoint="mini-healthy")
    for state in State:
        add_model(f"org/{state}", state=state, reason="it says so", done=1, total=2, log_tail="one\ntwo")
    add_machine()
    key = keys.create(name="laptop", owner=operator, tokens_per_day=1000, keep_bodies=True).key
    whose = {"key_id": key.pk, "key_name": "laptop", "user_id": operator.pk, "user_name": "ada"}
    UsageTotal.objects.create(
        day=now().date(), model="m1", requests=9, limited=1, charged_tokens=900, prompt_tokens=900, **whose
    )
    return add_endpoint("studio", mode=Mode.DRAINING, models=("m1", "m2"))


def our_pages(fleet: Endpoint) -> list[str]:
    request_id = record(endpoint="studio").request_id
    return [
        "/",
        f"/endpoints/{fleet.pk}/",
        "/models/",
        "/models/m1/",
        "/models/gpt-4o/",
        "/models/local/",
        f"/models/local/{LocalModel.objects.get(name='org/failed').pk}/",
        "/playground/",
        "/requests/",
        f"/requests/{request_id}/",
        "/usage/",
        "/usage/?of=all",
        "/incidents/",
        "/nothing-here/",
    ]


def admin_pages(fleet: Endpoint) -> list[str]:
    """The index, and of each of our models its list and its form."""
    found = ["/admin/", "/admin/password_change/", f"/admin/endpoints/endpoint/{fleet.pk}/change/"]
    found.append(f"/admin/inference/localmodel/{LocalModel.objects.get(name='org/loading').pk}/change/")
    for label in ("endpoints", "proxy", "inference"):
        for model in apps.get_app_config(label).get_models():
            site = admin.site._registry.get(model)
            if site is None:
                continue
            path = f"/admin/{label}/{model._meta.model_name}/"
            found += [path, *([f"{path}add/"] if may_be_added(site) else [])]
    return found


def may_be_added(site: admin.ModelAdmin[Any]) -> bool:
    return type(site).has_add_permission is admin.ModelAdmin.has_add_permission


@pytest.mark.parametrize("pages", [our_pages, admin_pages])
def test_axe_finds_nothing_serious_on_any_page(
    open_page: OpenPage,
    operator: User,
    fleet: Endpoint,
    console: Console,
    pages: Callable[[Endpoint], list[str]],
) -> None:
    console.expect("404")
    page = open_page(operator)
    found = {}
    for path in pages(fleet):
        page.set_viewport_size(DESKTOP)
        page.emulate_media(color_scheme="light", reduced_motion="reduce")
        page.goto(path)
        page.evaluate(AXE_SCRIPT)
        assert page.locator("h1").count() >= 1, path
        if serious := page.evaluate(SERIOUS):
            found[path] = serious
        page.set_viewport_size(PHONE)
        page.emulate_media(color_scheme="dark", reduced_motion="reduce")
        if serious := page.evaluate(SERIOUS):
            found[f"{path} on a phone, dark"] = serious
    assert found == {}


def test_axe_finds_nothing_serious_where_one_signs_in(open_page: OpenPage, web: WebServer) -> None:
    page = open_page()
    page.goto("/login/")
    page.evaluate(AXE_SCRIPT)
    assert page.evaluate(SERIOUS) == []
