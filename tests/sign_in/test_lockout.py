"""Whoever guesses passwords is stopped, and nobody else is."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from axes.models import AccessAttempt
from django.contrib.auth.models import User
from django.test import Client

if TYPE_CHECKING:
    from pytest_django import Settings

pytestmark = pytest.mark.django_db

PASSWORD = "correct horse battery"
PROXY = "10.0.0.5"


@pytest.fixture(autouse=True)
def _three_attempts(settings: Settings) -> None:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # fast
    settings.AXES_FAILURE_LIMIT = 3
    settings.OLLA_TRUSTED_PROXIES = [PROXY]
    User.objects.create_user("grace", password=PASSWORD)


def attempt(password: str, address: str = "192.0.2.1", *, forwarded: str = "", to: str = "/login/") -> Any:
    headers = {"X-Forwarded-For": forwarded} if forwarded else {}
    form = {"username": "grace", "password": password}
    return Client(REMOTE_ADDR=address).post(to, form, headers=headers)


def lock_out(address: str = "192.0.2.1", *, forwarded: str = "", to: str = "/login/") -> Any:
    for _ in range(2):
        assert attempt("guess", address, forwarded=forwarded, to=to).status_code == 200
    return attempt("guess", address, forwarded=forwarded, to=to)


@pytest.mark.parametrize("to", ["/login/", "/admin/login/"])
def test_after_so_many_failures_the_right_password_opens_nothing(to: str) -> None:
    response = lock_out(to=to)

    assert response.status_code == 429
    assert 895 <= int(response.headers["Retry-After"]) <= 900
    assert "Try again in 15 minutes" in response.content.decode()
    assert attempt(PASSWORD).status_code == 429


def test_other_addresses_still_sign_in_to_the_same_account() -> None:
    lock_out()

    assert attempt(PASSWORD, "192.0.2.2").headers["Location"] == "/"


def test_the_lock_opens_by_itself_and_guessing_meanwhile_does_not_prolong_it() -> None:
    lock_out()
    AccessAttempt.objects.update(
        attempt_time=AccessAttempt.objects.get().attempt_time - timedelta(minutes=14)
    )

    response = attempt("guess")
    assert (response.status_code, int(response.headers["Retry-After"]) <= 60) == (429, True)
    AccessAttempt.objects.update(attempt_time=AccessAttempt.objects.get().attempt_time - timedelta(minutes=2))

    assert attempt(PASSWORD).headers["Location"] == "/"


def test_a_success_forgets_the_failures_before_it() -> None:
    for _ in range(2):
        for password in ("guess", "guess", PASSWORD):
            status = attempt(password).status_code
    assert status == 302


def test_behind_a_trusted_proxy_it_is_the_client_that_is_locked_out() -> None:
    assert lock_out(PROXY, forwarded="198.51.100.7").status_code == 429

    assert attempt(PASSWORD, PROXY, forwarded="198.51.100.7").status_code == 429
    # What a client writes in front of its own address changes nothing.
    assert attempt(PASSWORD, PROXY, forwarded="203.0.113.9, 198.51.100.7").status_code == 429
    assert attempt(PASSWORD, PROXY, forwarded="198.51.100.8").headers["Location"] == "/"


def test_a_stranger_does_not_get_more_attempts_by_making_addresses_up() -> None:
    for number in range(2):
        attempt("guess", forwarded=f"198.51.100.{number}")

    assert attempt("guess", forwarded="198.51.100.9").status_code == 429


def test_the_addresses_of_one_ipv6_network_are_one() -> None:
    for number in range(2):
        attempt("guess", f"2001:db8::{number}")

    assert attempt("guess", "2001:db8::9").status_code == 429
    assert attempt(PASSWORD, "2001:db8:0:1::9").headers["Location"] == "/"


def test_it_can_be_switched_off(settings: Settings) -> None:
    settings.AXES_ENABLED = False

    assert lock_out().status_code == 200
    assert attempt(PASSWORD).headers["Location"] == "/"


def test_names_and_passwords_are_in_no_log(caplog: pytest.LogCaptureFixture) -> None:
    """People type the one into the field of the other."""
    lock_out()

    assert "grace" not in caplog.text
    assert "guess" not in caplog.text
