"""Sign-in with OpenID Connect, against a provider that signs: who gets in, as whom, with which roles."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from cryptography.hazmat.primitives.asymmetric import rsa
from django.contrib.auth.models import Group, User
from django.core.checks import run_checks
from django.test import Client

from ollaproject.wire import roles
from proxy.models import Identity
from tests.sign_in import provider as providers
from tests.sign_in.provider import CLIENT_ID, CLIENT_SECRET

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_django import Settings

    from tests.sign_in.provider import Provider

pytestmark = pytest.mark.django_db

BEGIN, CALLBACK = "/oidc/authenticate/", "/oidc/callback/"


@pytest.fixture(scope="module")
def shared_provider() -> Iterator[Provider]:
    with providers.running() as made:
        yield made


@pytest.fixture
def provider(
    shared_provider: Provider, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Provider]:
    """A gateway that knows it, and somebody who is signed in there."""
    before = dict(vars(shared_provider))
    settings.OLLA_OIDC_ISSUER = shared_provider.issuer
    settings.OIDC_RP_CLIENT_ID = CLIENT_ID
    settings.OIDC_RP_CLIENT_SECRET = CLIENT_SECRET
    settings.AUTHENTICATION_BACKENDS = [*settings.AUTHENTICATION_BACKENDS, "proxy.access.oidc.Backend"]
    monkeypatch.setenv("NO_PROXY", "*")
    yield shared_provider
    vars(shared_provider).update(before)


def go_there(client: Client, url: str = BEGIN) -> str:
    """What the provider sends a browser back with."""
    sent = client.get(url).headers["Location"]
    back = requests.get(sent, allow_redirects=False, timeout=5).headers["Location"]
    assert back.startswith(f"http://testserver{CALLBACK}?")
    return back.removeprefix("http://testserver")


def sign_in(client: Client, url: str = BEGIN) -> Any:
    return client.get(go_there(client, url))


def failed(response: Any) -> bool:
    return bool(response.headers["Location"] == "/login/?failed=oidc")


def test_somebody_new_gets_an_account_with_the_default_role(provider: Provider) -> None:
    client = Client()

    response = sign_in(client, f"{BEGIN}?next=/models/")

    assert response.headers["Location"] == "/models/"
    assert client.get("/").status_code == 200
    user = User.objects.get(username="grace")
    assert (user.email, user.has_usable_password()) == ("grace@example.com", False)
    assert roles.roles_of(user) == ["member"]
    assert provider.asked[-1]["scope"] == "openid email profile"


def test_they_are_known_by_their_subject_whatever_they_are_called(provider: Provider) -> None:
    sign_in(Client())
    provider.claims = {**provider.claims, "preferred_username": "grace.hopper", "email": "g@example.com"}

    sign_in(Client())

    assert [user.email for user in User.objects.filter(identity__isnull=False)] == ["g@example.com"]


def test_the_name_of_an_account_that_is_there_is_nobodys_for_the_asking(provider: Provider) -> None:
    User.objects.create_superuser("admin", email="admin@example.com")
    provider.claims = {
        "sub": "s-2",
        "preferred_username": "admin",
        "email": "admin@example.com",
        "email_verified": True,
    }

    sign_in(Client())

    assert Identity.objects.get().user.username == "admin-2"
    assert not Identity.objects.get().user.is_superuser


@pytest.mark.parametrize(("verified", "accounts"), [(True, 1), (False, 2), ("true", 2)])
def test_an_account_is_taken_over_by_a_verified_address_only(
    provider: Provider, verified: object, accounts: int
) -> None:
    User.objects.create_user("ghopper", email="Grace@example.com")
    provider.claims = {**provider.claims, "email_verified": verified}

    sign_in(Client())

    assert User.objects.count() == accounts


def test_groups_of_the_provider_are_roles_and_teams_at_each_sign_in(
    provider: Provider, settings: Settings
) -> None:
    settings.OLLA_OIDC_ROLES = {"llm-ops": "operator", "llm-admins": "admin"}
    settings.OLLA_OIDC_TEAMS = ["team-*"]
    provider.claims = {**provider.claims, "groups": ["llm-ops", "team-red", "role:admin", "other"]}
    sign_in(Client())
    user = User.objects.get(username="grace")
    user.groups.add(Group.objects.create(name="given by hand"))
    assert set(user.groups.values_list("name", flat=True)) == {"role:operator", "team-red", "given by hand"}

    provider.claims = {**provider.claims, "groups": ["team-blue"]}
    sign_in(Client())

    assert set(user.groups.values_list("name", flat=True)) == {"role:member", "team-blue", "given by hand"}


def test_without_a_default_role_there_is_nothing_to_see(provider: Provider, settings: Settings) -> None:
    settings.OLLA_OIDC_DEFAULT_ROLE = "none"
    client = Client()

    sign_in(client)

    assert client.get("/").status_code == 403


@pytest.mark.parametrize(
    "wrong",
    [
        {"iss": "https://elsewhere.test"},
        {"aud": "another client"},
        {"exp": 1_000_000_000},
        {"nonce": "of another sign-in"},
    ],
    ids=lambda wrong: next(iter(wrong)),
)
def test_a_token_that_is_not_for_this_sign_in_is_refused(provider: Provider, wrong: dict[str, Any]) -> None:
    provider.token_claims = wrong

    assert failed(sign_in(Client()))
    assert not User.objects.exists()


def test_a_token_that_somebody_else_has_signed_is_refused(provider: Provider) -> None:
    provider.key = rsa.generate_private_key(65537, 2048)

    assert failed(sign_in(Client()))


def test_a_userinfo_of_somebody_else_is_refused(provider: Provider) -> None:
    provider.userinfo = {"sub": "s-3"}

    assert failed(sign_in(Client()))


def test_a_code_works_once_and_in_one_browser_only(provider: Provider) -> None:
    client = Client()
    back = go_there(client)

    assert failed(Client().get(back))  # another browser: it has no such state
    assert client.get(back).headers["Location"] == "/"
    assert failed(client.get(back))


def test_who_says_no_there_is_told_so_here(provider: Provider) -> None:
    client = Client()
    state = parse_qs(urlsplit(client.get(BEGIN).headers["Location"]).query)["state"][0]

    response = client.get(CALLBACK, {"error": "access_denied", "state": state}, follow=True)

    html = response.content.decode()
    assert "Signing in there has failed" in html
    assert "Sign in with single sign-on</a>" in html


def test_a_provider_that_is_down_leaves_the_password(
    provider: Provider, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    settings.OLLA_OIDC_ISSUER = "http://127.0.0.1:9"
    client = Client()

    assert failed(client.get(BEGIN))
    assert "127.0.0.1:9/.well-known/openid-configuration cannot be read" in caplog.text
    User.objects.create_user("ada", password="a long password")
    form = {"username": "ada", "password": "a long password"}
    assert client.post("/login/", form).headers["Location"] == "/"


def test_somebody_who_is_deactivated_is_out_at_once_and_stays_out(provider: Provider) -> None:
    client = Client()
    sign_in(client)
    User.objects.update(is_active=False)

    assert client.get("/").status_code == 302
    assert failed(sign_in(Client()))


def test_without_an_issuer_there_is_nothing(db: None) -> None:
    assert Client().get(BEGIN).status_code == Client().get(CALLBACK).status_code == 404


def test_what_is_half_configured_is_said_with_a_hint(settings: Settings) -> None:
    settings.OLLA_OIDC_ISSUER = "http://id.example.com"
    settings.OIDC_RP_CLIENT_ID = ""
    settings.OLLA_OIDC_ROLES = {"llm-admins": "boss"}

    assert {found.id for found in run_checks()} >= {"olla.E006", "olla.E007", "olla.E008"}
