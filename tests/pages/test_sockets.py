"""Endpoints at Unix sockets on the pages: typed as people write them, shown as people read them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from endpoints.administration.admin_operating import url_of
from endpoints.models import Change, Endpoint
from tests.fakes.upstream import FakeUpstream
from tests.pages.admin_form import ADD, GOOD, LIST, change_url
from tests.pages.fleet import add_endpoint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from django.contrib.auth.models import User
    from django.test import Client

    SignIn = Callable[[User | None], Client]

pytestmark = pytest.mark.django_db

URL = "http+unix://%2Frun%2Fmlx%2Fserver.sock"
SHOWN = "unix:/run/mlx/server.sock"


@pytest.fixture
def client(signed_in: SignIn, operator: User) -> Client:
    return signed_in(operator)


@pytest.fixture
def here(socket_path: Path) -> Iterator[FakeUpstream]:
    with FakeUpstream(models=("m1",), socket_path=socket_path) as running:
        yield running


def test_the_form_takes_it_as_people_write_it(client: Client) -> None:
    assert client.post(ADD, {**GOOD, "url": SHOWN}).status_code == 302
    endpoint = Endpoint.objects.get()
    assert endpoint.url == URL
    assert f'value="{URL}"' in client.get(change_url(endpoint)).content.decode()


def test_the_form_says_what_is_wrong_with_it(client: Client) -> None:
    html = client.post(ADD, {**GOOD, "url": "unix:mlx.sock"}).content.decode()
    assert "A Unix socket is written like unix:/run/mlx/server.sock" in html
    assert not Endpoint.objects.exists()


def test_its_type_is_detected(client: Client, here: FakeUpstream) -> None:
    client.post(ADD, {**GOOD, "url": f"unix:{here.socket_path}", "type": "auto"})
    assert Endpoint.objects.get().type == "vllm-mlx"


def test_its_connection_can_be_tested(client: Client, here: FakeUpstream) -> None:
    typed = {**GOOD, "url": f"unix:{here.socket_path}", "type": "auto"}
    html = client.post(f"{LIST}test/", typed).content.decode()
    assert "m1" in html
    here.stop()
    html = client.post(f"{LIST}test/", {**typed, "type": "vllm-mlx"}).content.decode()
    assert "There is no socket at its path." in html


def test_pages_show_its_path(client: Client) -> None:
    endpoint = add_endpoint("mini-1", url=URL)
    for page in ("/", f"/endpoints/{endpoint.pk}/", LIST, url_of("pause", [endpoint])):
        html = client.get(page).content.decode()
        assert SHOWN in html, page
        assert "%2F" not in html, page


def test_the_history_of_changes_has_its_path(client: Client) -> None:
    endpoint = add_endpoint("mini-1")
    client.post(change_url(endpoint), {**GOOD, "url": f"{SHOWN}:/llm", "preserve_path": "on"})
    assert f"url: {GOOD['url']} → {SHOWN}:/llm" in Change.objects.get().differences
