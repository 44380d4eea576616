"""Sessions, CSRF and redirects behind a reverse proxy that ends TLS; and what strangers say of themselves."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from ollaproject import forwarded
from ollaproject.wire import roles
from tests.pages.fleet import PASSWORD, add_endpoint

if TYPE_CHECKING:
    from pytest_django import Settings

pytestmark = pytest.mark.django_db

PROXY, STRANGER = "10.0.0.5", "192.0.2.66"
PUBLIC = {
    "Host": "127.0.0.1:40114",
    "X-Forwarded-For": "198.51.100.7",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Host": "llm.example.com",
}


@pytest.fixture(autouse=True)
def _behind_a_proxy(settings: Settings) -> None:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # fast
    settings.OLLA_TRUSTED_PROXIES = [PROXY]
    settings.ALLOWED_HOSTS = ["llm.example.com", "127.0.0.1"]
    settings.SECURE_SSL_REDIRECT = settings.SESSION_COOKIE_SECURE = settings.CSRF_COOKIE_SECURE = True
    roles.grant(User.objects.create_user("ada", password=PASSWORD), roles.OPERATOR)


class Browser:
    """A browser at https://llm.example.com, with a proxy between."""

    def __init__(self, peer: str = PROXY, **headers: str) -> None:
        self.client = Client(enforce_csrf_checks=True, REMOTE_ADDR=peer)
        self.headers = {**PUBLIC, **headers}

    def get(self, url: str) -> Any:
        return self.client.get(url, headers=self.headers)

    def post(self, url: str, form: dict[str, str], *, origin: str) -> Any:
        return self.client.post(url, form, headers={**self.headers, "Origin": origin})

    def sign_in(self, origin: str = "https://llm.example.com") -> Any:
        token = re.search(r'csrfmiddlewaretoken" value="(\w+)"', self.get("/login/").content.decode())
        assert token
        form = {"username": "ada", "password": PASSWORD, "csrfmiddlewaretoken": token[1]}
        return self.post("/login/", form, origin=origin)


def test_a_person_signs_in_and_acts_through_the_proxy() -> None:
    browser = Browser()

    assert browser.sign_in().headers["Location"] == "/"
    cookie = browser.client.cookies["olla_session"]
    assert (cookie["secure"], cookie["httponly"], cookie["samesite"]) == (True, True, "Lax")
    endpoint = add_endpoint("mini-1")
    form = {"csrfmiddlewaretoken": browser.client.cookies["olla_csrf"].value}
    pressed = browser.post(f"/endpoints/{endpoint.pk}/pause/", form, origin="https://llm.example.com")
    assert pressed.status_code == 200


@pytest.mark.parametrize(
    "origin", ["https://evil.test", "http://llm.example.com", "https://127.0.0.1:40114", "null"]
)
def test_another_site_cannot_sign_a_person_in(origin: str) -> None:
    assert Browser().sign_in(origin).status_code == 403


def test_http_at_the_proxy_is_sent_to_https_under_the_public_name() -> None:
    response = Browser(**{"X-Forwarded-Proto": "http"}).get("/login/?next=/models/")

    assert response.status_code == 301
    assert response.headers["Location"] == "https://llm.example.com/login/?next=/models/"


def test_a_stranger_is_not_believed_to_come_over_https_or_under_another_name() -> None:
    response = Browser(STRANGER).get("/login/")

    assert response.headers["Location"] == "https://127.0.0.1:40114/login/"


def test_a_forwarded_name_that_is_not_allowed_is_refused() -> None:
    client = Client(REMOTE_ADDR=PROXY, raise_request_exception=False)

    assert client.get("/login/", headers={**PUBLIC, "X-Forwarded-Host": "evil.test"}).status_code == 400


@pytest.mark.parametrize(
    ("peer", "said", "address", "proto"),
    [
        (PROXY, "198.51.100.7", "198.51.100.7", "https"),
        (PROXY, "203.0.113.9, 198.51.100.7", "198.51.100.7", "https"),
        (PROXY, "198.51.100.7, 10.0.0.5", "198.51.100.7", "https"),
        (PROXY, "", PROXY, "https"),
        (STRANGER, "198.51.100.7", STRANGER, None),
        ("", "198.51.100.7", "", None),
    ],
)
def test_an_address_is_what_the_last_trusted_proxy_saw(
    peer: str, said: str, address: str, proto: str | None
) -> None:
    meta = {"REMOTE_ADDR": peer, "HTTP_X_FORWARDED_FOR": said, "HTTP_X_FORWARDED_PROTO": "https"}

    forwarded.settle(meta)

    assert (meta["REMOTE_ADDR"], meta.get("HTTP_X_FORWARDED_PROTO")) == (address, proto)
