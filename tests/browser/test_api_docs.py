"""The REST API's own pages, under the strict policy: the browser fetches nothing from elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.contrib.auth.models import User
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser


def test_the_documentation_shows_every_part_and_tries_a_call(
    open_page: Callable[..., Page], operator: User
) -> None:
    page = open_page(operator)
    page.goto("/api/docs/")
    for part in ("Models", "Operators", "REST"):
        expect(page.locator(f"#operations-tag-{part}")).to_be_visible()
    page.locator("[id=operations-REST-endpoints_list] .opblock-summary-control").click()
    page.get_by_role("button", name="Try it out").click()
    page.get_by_role("button", name="Execute").click()
    expect(page.locator(".live-responses-table .response .response-col_status")).to_contain_text("200")
