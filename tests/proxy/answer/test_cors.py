"""Which pages of other origins may read what the gateway answers, and what a page of an endpoint may do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest
from django.core.checks import run_checks

from tests.fakes import answers
from tests.proxy.conftest import CHAT, chat_body, gateway_with, target_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytest_django import Settings

    from proxy.gateway import Gateway
    from tests.fakes.upstream import FakeUpstream
    from tests.proxy.conftest import Served

PAGE = "https://chat.example.com"
ASKED = {
    "Origin": PAGE,
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "authorization,content-type,x-stainless-os",
}


@pytest.fixture
def client(
    serve: Callable[[Gateway], Served], table: Callable[..., None], request: pytest.FixtureRequest
) -> Iterator[httpx.Client]:
    """For the origins that the test is parametrised with."""
    table()
    gateway = gateway_with(api_auth="always", origins=getattr(request, "param", (PAGE,)))
    with httpx.Client(base_url=serve(gateway).url, trust_env=False) as made:
        yield made


@pytest.mark.parametrize("path", [CHAT, "/olla/openai/v1/models", "/internal/status"])
def test_a_preflight_of_a_named_origin_is_answered_without_a_key(client: httpx.Client, path: str) -> None:
    answer = client.options(path, headers={**ASKED, "Access-Control-Request-Private-Network": "true"})

    assert answer.status_code == 204
    assert answer.headers["access-control-allow-origin"] == PAGE
    assert answer.headers["access-control-allow-headers"] == ASKED["Access-Control-Request-Headers"]
    assert "POST" in answer.headers["access-control-allow-methods"]
    assert answer.headers["access-control-allow-private-network"] == "true"
    assert "access-control-allow-credentials" not in answer.headers
    assert answer.headers["vary"] == "Origin"


def test_a_page_can_read_answers_and_errors(client: httpx.Client) -> None:
    answer = client.post(CHAT, headers={"Origin": PAGE}, json=chat_body())

    assert answer.status_code == 401
    assert answer.headers["access-control-allow-origin"] == PAGE
    assert answer.headers["access-control-expose-headers"] == "*"


def test_pages_of_other_origins_are_told_so_before_they_ask(client: httpx.Client) -> None:
    answer = client.options(CHAT, headers={**ASKED, "Origin": "https://evil.example"})

    assert answer.status_code == 403
    assert answer.json()["error"]["code"] == "origin_not_allowed"
    assert "OLLA_CORS_ORIGINS" in answer.json()["error"]["message"]
    assert "access-control-allow-origin" not in answer.headers
    told = client.post(CHAT, headers={"Origin": "https://evil.example"}, json=chat_body())
    assert "access-control-allow-origin" not in told.headers


@pytest.mark.parametrize("client", [("*",)], indirect=True)
def test_any_page_may_where_any_is_said(client: httpx.Client) -> None:
    answer = client.options(CHAT, headers=ASKED)

    assert answer.headers["access-control-allow-origin"] == "*"


@pytest.mark.parametrize("client", [()], indirect=True)
def test_where_none_is_named_nobody_is_allowed(client: httpx.Client) -> None:
    answer = client.options(CHAT, headers=ASKED)

    assert answer.status_code == 401
    assert not [name for name in answer.headers if name.startswith("access-control-")]


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("https://evil.example", 403),
        ("http://localhost:3000", 403),
        ("null", 403),
        ("http://{host}", 200),
        (PAGE, 200),
        ("app://obsidian.md", 200),
        (None, 200),
    ],
)
def test_a_page_makes_nobody_call_without_a_key(
    serve: Callable[[Gateway], Served],
    table: Callable[..., None],
    upstream: FakeUpstream,
    origin: str | None,
    status: int,
) -> None:
    table(target_for(upstream))
    served = serve(gateway_with(origins=(PAGE,)))
    host = served.url.removeprefix("http://")
    sent = {"Origin": origin.format(host=host)} if origin else {}

    answer = httpx.post(served.url + CHAT, headers=sent, json=chat_body(), trust_env=False)

    assert answer.status_code == status
    assert len(upstream.requests) == (1 if status == 200 else 0)
    if status == 403:
        assert answer.json()["error"]["code"] == "origin_not_allowed"
    assert httpx.get(f"{served.url}/v1/models", headers=sent, trust_env=False).status_code == 200


def test_an_endpoint_has_no_say_in_who_may_read_it(
    served: Served, table: Callable[..., None], upstream: FakeUpstream
) -> None:
    table(target_for(upstream))
    page = answers.respond(
        b"<script>alert(1)</script>",
        headers={"Content-Type": "text/html", "Access-Control-Allow-Origin": "*"},
    )
    upstream.answer("/page", page)

    answer = httpx.get(f"{served.url}/olla/proxy/page", trust_env=False)

    assert answer.text == "<script>alert(1)</script>"
    assert "access-control-allow-origin" not in answer.headers
    assert answer.headers["content-security-policy"].startswith("sandbox;")
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_what_is_no_origin_is_named(settings: Settings) -> None:
    settings.OLLA_CORS_ORIGINS = [
        "https://ok.example",
        "app://obsidian.md",
        "chat.example.com/",
        "https://a/b",
    ]

    found = [message for message in run_checks() if message.id == "olla.E009"]

    assert [message.msg.split("'")[1] for message in found] == ["chat.example.com/", "https://a/b"]
