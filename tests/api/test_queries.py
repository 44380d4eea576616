"""What stands in the query string of a call: a misspelt filter must not look as if nothing were filtered."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from endpoints.models import Endpoint
from tests.pages.fleet import add_endpoint
from tests.pages.test_local_models import add_model

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from rest_framework.test import APIClient

pytestmark = pytest.mark.django_db


@pytest.fixture
def client(client: APIClient, admin_user: User) -> APIClient:
    client.force_login(admin_user)
    return client


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("endpoints/?stauts=healthy", "stauts"),
        ("endpoints/?status=helthy", "status"),
        ("endpoints/?mode=on", "mode"),
        ("aliases/?name=a", "name"),
        ("changes/?by=ada", "by"),
        ("alert-channels/?kind=slack", "kind"),
        ("alert-deliveries/?kind=dwon", "kind"),
        ("alert-deliveries/?channel=ops", "channel"),
        ("local-models/?state=redy", "state"),
        ("local-models/?status=ready", "status"),
        ("keys/?owner=ada", "owner"),
        ("usage/?form=2026-11-01", "form"),
        ("me/usage/?models=qwen", "models"),
    ],
)
def test_what_is_no_filter_is_refused_by_its_name(client: APIClient, path: str, name: str) -> None:
    answer = client.get(f"/api/{path}")
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, name)


def test_what_would_have_been_known_is_named(client: APIClient) -> None:
    said = client.get("/api/endpoints/?tpye=ollama").json()["error"]["message"]
    known = "name, type, mode, status, model, page, page_size"
    assert said == f"tpye: This parameter is not known. Known parameters: {known}."


def test_pages_go_with_filters_and_empty_filters_are_none(client: APIClient) -> None:
    for number in range(3):
        add_endpoint(f"mini-{number}")
    found = client.get("/api/endpoints/?page=2&page_size=2&status=&mode=active").json()
    assert (found["count"], [one["name"] for one in found["results"]]) == (3, ["mini-2"])


@pytest.mark.parametrize("query", ["dryrun=true", "dry_run=ture", "prune=maybe"])
def test_a_file_is_not_imported_in_a_way_that_was_not_meant(client: APIClient, query: str) -> None:
    text = "endpoints:\n  - name: mini-1\n    url: http://mini-1.test:8000\n"
    answer = client.generic("POST", f"/api/import/?{query}", text, content_type="application/yaml")
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, query.partition("=")[0])
    assert not Endpoint.objects.exists()


@pytest.mark.parametrize(
    ("query", "name"), [("lines=many", "lines"), ("lines=0", "lines"), ("last=5", "last")]
)
def test_a_log_says_which_lines_it_cannot_give(client: APIClient, query: str, name: str) -> None:
    answer = client.get(f"/api/local-models/{add_model().pk}/log/?{query}")
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, name)
