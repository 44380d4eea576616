"""Credentials of endpoints."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from cryptography.fernet import Fernet
from django.core.exceptions import ImproperlyConfigured, ValidationError

from endpoints import secrets
from endpoints.errors import CredentialError
from endpoints.models import Endpoint

if TYPE_CHECKING:
    from pytest_django import Settings

SECRET = "tok-3c1d"


@pytest.fixture
def endpoint() -> Endpoint:
    made = Endpoint(name="mini-1", url="http://127.0.0.1:9", auth_kind="bearer")
    made.set_credential(SECRET)
    return made


def test_a_credential_is_stored_encrypted_and_comes_back(endpoint: Endpoint) -> None:
    assert SECRET not in endpoint.encrypted_credential
    assert endpoint.has_credential
    assert endpoint.credential() == SECRET


def test_an_empty_credential_removes_what_is_stored(endpoint: Endpoint) -> None:
    endpoint.set_credential("")
    assert not endpoint.has_credential
    assert endpoint.credential() == ""


def test_an_old_key_still_opens_what_it_encrypted(endpoint: Endpoint, settings: Settings) -> None:
    settings.OLLA_ENCRYPTION_KEYS = [Fernet.generate_key().decode(), *settings.OLLA_ENCRYPTION_KEYS]
    assert endpoint.credential() == SECRET


def test_a_credential_that_no_key_opens_is_an_error_that_names_the_endpoint(
    endpoint: Endpoint, settings: Settings
) -> None:
    settings.OLLA_ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    with pytest.raises(CredentialError, match="mini-1 cannot be decrypted") as caught:
        endpoint.credential()
    assert endpoint.encrypted_credential not in str(caught.value)


def test_a_key_that_is_no_key_is_a_clear_error(endpoint: Endpoint, settings: Settings) -> None:
    settings.OLLA_ENCRYPTION_KEYS = ["short"]
    with pytest.raises(ImproperlyConfigured, match="must hold Fernet keys"):
        endpoint.credential()


@pytest.mark.django_db
@pytest.mark.parametrize(
    "changed",
    [
        {"url": "http://evil.test:9"},
        {"health_check_url": "http://evil.test/health"},
        {"model_url": "https://evil.test/v1/models"},
    ],
    ids=str,
)
def test_it_goes_to_no_host_that_it_was_not_entered_for(endpoint: Endpoint, changed: dict[str, str]) -> None:
    endpoint.type = "vllm-mlx"
    endpoint.full_clean()
    endpoint.save()
    for name, value in changed.items():
        setattr(endpoint, name, value)
    with pytest.raises(ValidationError, match="was not entered for evil\\.test") as caught:
        endpoint.full_clean()
    assert set(caught.value.message_dict) == {"url"}

    endpoint.set_credential("another")
    endpoint.full_clean()


def test_repr_does_not_show_it(endpoint: Endpoint) -> None:
    assert SECRET not in repr(endpoint)


@pytest.mark.parametrize(
    ("fields", "header"),
    [
        ({"auth_kind": "bearer"}, ("Authorization", f"Bearer {SECRET}")),
        ({"auth_kind": "api_key"}, ("X-Api-Key", SECRET)),
        ({"auth_kind": "api_key", "auth_header": "X-Token"}, ("X-Token", SECRET)),
        ({"auth_kind": "basic", "auth_username": "me"}, ("Authorization", "Basic bWU6dG9rLTNjMWQ=")),
    ],
)
def test_each_kind_has_its_header(
    endpoint: Endpoint, fields: dict[str, str], header: tuple[str, str]
) -> None:
    for name, value in fields.items():
        setattr(endpoint, name, value)
    assert secrets.request_headers(endpoint) == (header,)


def test_the_credential_wins_over_a_header_of_the_same_name(endpoint: Endpoint) -> None:
    endpoint.auth_kind, endpoint.auth_header = "api_key", "X-Token"
    endpoint.headers = {"x-token": "public", "X-Rack": "4"}
    assert secrets.request_headers(endpoint) == (("X-Rack", "4"), ("X-Token", SECRET))
