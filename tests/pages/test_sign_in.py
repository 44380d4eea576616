"""Signing in and out, and the error pages that share the frame."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from django.contrib.auth.models import User
from django.test import Client

from ollaproject.wire import roles
from tests.pages.fleet import PASSWORD

if TYPE_CHECKING:
    from pytest_django import Settings

    from tests.pages.conftest import SignIn

pytestmark = pytest.mark.django_db


@pytest.fixture
def person(settings: Settings) -> User:
    settings.PASSWORD_HASHERS = [
        "django.contrib.auth.hashers.MD5PasswordHasher"
    ]  # fast; what is tested is the page
    user = User.objects.create_user("grace", password=PASSWORD)
    roles.grant(user, roles.VIEWER)
    return user


def test_signing_in_leads_to_the_page_that_was_asked_for(person: User) -> None:
    client = Client()
    assert client.get("/").headers["Location"] == "/login/?next=/"
    html = client.get("/login/?next=/admin/").content.decode()
    assert '<input type="hidden" name="next" value="/admin/">' in html
    response = client.post("/login/", {"username": "grace", "password": PASSWORD, "next": "/admin/"})
    assert response.headers["Location"] == "/admin/"


def test_signing_in_never_leads_to_another_site(person: User) -> None:
    response = Client().post(
        "/login/", {"username": "grace", "password": PASSWORD, "next": "https://evil.test/"}
    )
    assert response.headers["Location"] == "/"


def test_a_wrong_password_is_said_to_be_wrong_and_the_name_is_kept(person: User) -> None:
    html = Client().post("/login/", {"username": "grace", "password": "wrong"}).content.decode()
    assert "correct username and password" in html
    assert 'value="grace"' in html
    assert "wrong" not in html


def test_an_empty_form_says_what_is_missing() -> None:
    assert "Enter both" in Client().post("/login/", {"username": "", "password": ""}).content.decode()


def test_a_deactivated_user_cannot_sign_in(person: User) -> None:
    person.is_active = False
    person.save()
    assert Client().post("/login/", {"username": "grace", "password": PASSWORD}).status_code == 200


def test_signing_out_ends_the_session(signed_in: SignIn, member: User) -> None:
    client = signed_in(member)
    assert client.get("/logout/").status_code == 405
    assert client.post("/logout/").headers["Location"] == "/login/"
    assert client.get("/").status_code == 302


@pytest.mark.parametrize("url", ["/nothing-here/", "/endpoints/1/"])
def test_an_unknown_page_is_said_so_in_our_frame(signed_in: SignIn, member: User, url: str) -> None:
    response = signed_in(member).get(url)
    assert response.status_code == 404
    assert "There is no such page" in response.content.decode()
    assert "Skip to the content" in response.content.decode()


def test_an_unknown_host_gets_a_hint_at_the_setting() -> None:
    response = Client(raise_request_exception=False).get("/", headers={"host": "elsewhere.test"})
    assert response.status_code == 400
    assert "OLLA_ALLOWED_HOSTS" in response.content.decode()


@pytest.mark.parametrize("name", ["400", "403", "403_csrf", "404", "500"])
def test_the_error_pages_need_nothing_but_themselves(name: str) -> None:
    from django.template.loader import render_to_string  # noqa: PLC0415

    html = render_to_string(f"{name}.html")
    assert "ollaproject" in html
    assert "Traceback" not in html


def test_the_header_leads_staff_to_the_admin_and_others_not(
    signed_in: SignIn, member: User, operator: User
) -> None:
    assert b'href="/admin/"' not in signed_in(member).get("/").content
    assert b'href="/admin/"' in signed_in(operator).get("/").content
    assert b'href="/"' in signed_in(operator).get("/admin/").content
