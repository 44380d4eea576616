"""An endpoint's credential in the admin: it is stored, kept, replaced and removed, and never shown again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from django.contrib.admin.models import LogEntry

from endpoints.choices import AuthKind
from endpoints.models import Endpoint
from tests.fakes.upstream import FakeUpstream
from tests.pages.admin_form import ADD, BEARER, GOOD, LIST, change_url
from tests.pages.fleet import SECRET

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from django.test import Client

    from tests.pages.conftest import SignIn

pytestmark = pytest.mark.django_db


def stored_secret(client: Client) -> Endpoint:
    client.post(ADD, {**BEARER, "new_credential": SECRET})
    return Endpoint.objects.get()


def test_a_credential_is_stored_and_never_shown_again(client: Client) -> None:
    endpoint = stored_secret(client)
    assert endpoint.credential() == SECRET
    pages = [
        change_url(endpoint),
        LIST,
        f"{LIST}{endpoint.pk}/history/",
        f"{LIST}{endpoint.pk}/delete/",
        "/admin/",
        "/",
    ]
    for url in pages:
        html = client.get(url).content.decode()
        assert SECRET not in html
        assert endpoint.encrypted_credential not in html
    assert "A credential is stored" in client.get(change_url(endpoint)).content.decode()


def test_a_credential_is_not_repeated_in_a_form_with_errors(client: Client) -> None:
    response = client.post(ADD, {**BEARER, "new_credential": SECRET, "url": "nonsense"})
    assert response.status_code == 200
    assert SECRET not in response.content.decode()


def test_a_credential_is_not_shown_to_those_who_may_only_look(
    client: Client, signed_in: SignIn, onlooker: User
) -> None:
    endpoint = stored_secret(client)
    html = signed_in(onlooker).get(change_url(endpoint)).content.decode()
    assert endpoint.name in html
    assert SECRET not in html
    assert endpoint.encrypted_credential not in html


def test_a_credential_is_not_in_the_log_of_changes(client: Client) -> None:
    endpoint = stored_secret(client)
    client.post(change_url(endpoint), {**BEARER, "new_credential": f"{SECRET}-2"})
    client.post(f"{LIST}{endpoint.pk}/delete/", {"post": "yes"})
    assert LogEntry.objects.count() == 3
    for entry in LogEntry.objects.all():
        assert SECRET not in f"{entry.object_repr}{entry.change_message}"


def test_an_edit_without_a_new_credential_keeps_the_stored_one(client: Client) -> None:
    endpoint = stored_secret(client)
    assert client.post(change_url(endpoint), {**BEARER, "weight": "3"}).status_code == 302
    endpoint.refresh_from_db()
    assert (endpoint.weight, endpoint.credential()) == (3, SECRET)


def test_the_stored_one_is_not_sent_elsewhere_to_detect_a_type_there(
    client: Client,
) -> None:
    endpoint = stored_secret(client)
    with FakeUpstream() as upstream:
        response = client.post(change_url(endpoint), {**BEARER, "url": upstream.url, "type": "auto"})
        assert "was not entered for 127.0.0.1" in response.content.decode()
        assert upstream.requests == []


def test_a_new_credential_replaces_the_stored_one(client: Client) -> None:
    endpoint = stored_secret(client)
    assert client.post(change_url(endpoint), {**BEARER, "new_credential": "other"}).status_code == 302
    assert Endpoint.objects.get().credential() == "other"


def test_a_stored_credential_can_be_removed(client: Client) -> None:
    endpoint = stored_secret(client)
    assert client.post(change_url(endpoint), {**GOOD, "remove_credential": "on"}).status_code == 302
    endpoint.refresh_from_db()
    assert (endpoint.auth_kind, endpoint.has_credential) == (AuthKind.NONE, False)


def test_a_password_may_hold_letters_of_any_language(client: Client) -> None:
    basic = {**GOOD, "auth_kind": "basic", "auth_username": "ada"}
    assert client.post(ADD, {**basic, "new_credential": "Fußgängerübergang"}).status_code == 302
    assert Endpoint.objects.get().credential() == "Fußgängerübergang"


def test_a_token_that_no_header_can_carry_is_refused_without_repeating_it(client: Client) -> None:
    response = client.post(ADD, {**BEARER, "new_credential": "tök"})
    assert "Copy it again" in str(response.context["adminform"].form.errors)
    assert "tök" not in response.content.decode()


def test_a_credential_is_not_replaced_and_removed_at_once(client: Client) -> None:
    endpoint = stored_secret(client)
    response = client.post(
        change_url(endpoint), {**BEARER, "new_credential": "other", "remove_credential": "on"}
    )
    assert "Do one or the other" in response.content.decode()
    assert Endpoint.objects.get().credential() == SECRET
