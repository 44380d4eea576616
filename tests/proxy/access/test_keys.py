"""Keys from making to revoking: whom the gateway takes a caller for, and what a key may use."""

from __future__ import annotations

import json
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from django.contrib.auth.models import Group, User
from django.core.exceptions import ValidationError

from endpoints.models import Revision
from endpoints.routing import watch
from ollaproject.wire import clock
from ollaproject.wire.openai_errors import ApiError
from proxy.access import key_table, keys
from proxy.models import ApiKey, PersonLimits, UsageTotal
from tests.proxy.access.test_access import FORWARDED, request_from
from tests.proxy.conftest import CHAT, chat_body, gateway_with, open_guard, target_for
from tests.proxy.key_making import REMOTE, judged, made

if TYPE_CHECKING:
    from collections.abc import Callable

    from proxy.gateway import Gateway
    from tests.fakes.upstream import FakeUpstream
    from tests.proxy.conftest import Served

    Serve = Callable[[Gateway], Served]
    Table = Callable[..., None]
    Settings = Any

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("no_keys_left")]

PROMPT_SECONDS = 5.0  # it takes a quarter of one, and a few times as long on a busy machine


# --- Whose key it is ---


@pytest.mark.parametrize("api_auth", ["remote", "always", "never"])
@pytest.mark.parametrize("peer", [REMOTE, "127.0.0.1"])
@pytest.mark.parametrize("header", ["bearer", "x-api-key"])
def test_a_known_key_says_who_calls_wherever_from(api_auth: str, peer: str, header: str) -> None:
    assert judged(made(), api_auth=api_auth, peer=peer, header=header) == "ann"


UNKNOWN = [
    ("remote", REMOTE, False),
    ("remote", "127.0.0.1", True),
    ("always", "127.0.0.1", False),
    ("never", REMOTE, True),
]


@pytest.mark.parametrize(("api_auth", "peer", "let_in"), UNKNOWN)
@pytest.mark.parametrize(
    "sent", ["not-needed", "sk-olla-0123456789ab-" + "x" * 40, "sk-olla-", "sk-olla-\xff"]
)
def test_an_unknown_key_counts_as_none(api_auth: str, peer: str, sent: str, *, let_in: bool) -> None:
    made()

    assert judged(sent, api_auth=api_auth, peer=peer) == ("nobody" if let_in else "401 invalid_api_key")


@pytest.mark.parametrize("forwarded", FORWARDED)
def test_a_key_opens_what_is_forwarded_too(forwarded: tuple[str, str]) -> None:
    sent = ("authorization", f"bearer {made()}")
    caller = open_guard().authenticate(request_from("127.0.0.1", forwarded, sent))

    assert caller.holder is not None


def test_a_wrong_secret_is_nobodys() -> None:
    plain = made()

    assert judged(plain[:-1] + ("a" if plain[-1] != "a" else "b")) == "401 invalid_api_key"


def test_the_secret_is_stored_nowhere() -> None:
    plain = made()
    secret = plain.rpartition("-")[2]

    assert secret not in json.dumps(list(ApiKey.objects.values()), default=str)
    assert secret not in repr(key_table.keys().by_id)


CLOSED: list[dict[str, Any]] = [
    {"revoked_at": clock.now()},
    {"enabled": False},
    {"expires_at": clock.now() - timedelta(seconds=1)},
]


@pytest.mark.parametrize("fields", CLOSED)
@pytest.mark.parametrize("peer", [REMOTE, "127.0.0.1"])
@pytest.mark.parametrize("api_auth", ["remote", "never"])
def test_a_key_that_is_closed_is_refused_even_where_none_is_needed(
    fields: dict[str, Any], peer: str, api_auth: str
) -> None:
    assert judged(made(**fields), peer=peer, api_auth=api_auth) == "401 invalid_api_key"


def test_the_key_of_a_closed_account_is_refused() -> None:
    owner = User.objects.create_user("ann")
    plain = made(owner=owner)
    owner.is_active = False
    owner.save()
    key_table.rebuild()

    assert judged(plain) == "401 invalid_api_key"


@pytest.mark.parametrize(
    ("address", "verdict"),
    [
        (REMOTE, "ann"),
        ("10.1.2.3", "ann"),
        ("::ffff:10.1.2.3", "ann"),
        ("9.9.9.9", "403 address_not_allowed"),
    ],
)
def test_a_key_may_be_kept_to_networks(address: str, verdict: str) -> None:
    assert judged(made(allowed_networks=["10.0.0.0/8", REMOTE]), peer=address) == verdict


@pytest.mark.parametrize(
    ("query", "refused"),
    [
        (b"api_key=abc", True),
        (b"a=b&api-key=", True),
        (b"key=sk-olla-0123456789ab-x", True),
        (b"token=Bearer%20sk-olla-0123", True),
        (b"x=sk%2Dolla-0123", True),
        (b"q=what+is+sk-olla-like", False),
        (b"limit=5&key=value", False),
    ],
)
def test_a_key_in_the_url_is_refused(query: bytes, *, refused: bool) -> None:
    scope = {**request_from("127.0.0.1"), "query_string": query}
    if not refused:
        open_guard().authenticate(scope)
        return
    with pytest.raises(ApiError) as raised:
        open_guard().authenticate(scope)
    assert (raised.value.status, raised.value.code) == (400, "key_in_url")


# --- Peppers ---


def test_a_lost_pepper_is_said(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    made("ci-bot")
    settings.OLLA_KEY_PEPPERS = ["another"]
    key_table.rebuild()

    assert "no longer holds what they were made with: ci-bot" in caplog.text


# --- Making, rotating, revoking ---


def test_a_rotated_key_works_with_both_secrets_until_the_grace_is_over() -> None:
    old = made()
    new = keys.rotate(key=ApiKey.objects.get(), grace=timedelta(hours=1)).plain
    key_table.rebuild()
    assert (judged(old), judged(new)) == ("ann", "ann")

    ApiKey.objects.update(previous_until=clock.now() - timedelta(seconds=1))
    key_table.rebuild()
    assert (judged(old), judged(new)) == ("401 invalid_api_key", "ann")


def test_without_grace_the_old_secret_ends_at_once() -> None:
    old = made()
    new = keys.rotate(key=ApiKey.objects.get(), grace=timedelta(0)).plain
    key_table.rebuild()

    assert (judged(old), judged(new)) == ("401 invalid_api_key", "ann")


@pytest.mark.parametrize(
    "fields",
    [
        {"allowed_networks": ["10.0.0.0/99"]},
        {"allowed_models": [""]},
        {"allowed_endpoints": "x"},
        {"name": "a\nb"},
    ],
)
def test_what_makes_no_sense_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        keys.create(**{"name": "ann", **fields})


def test_every_change_of_who_may_call_moves_the_counter() -> None:
    def access() -> int:
        return Revision.objects.values_list("access", flat=True).get()

    user, team = User.objects.create_user("ann"), Group.objects.create(name="red")
    issued = keys.create(name="ann", owner=user, team=team)
    seen = [access()]
    for act in (
        lambda: keys.rotate(key=issued.key),
        lambda: keys.revoke(key=issued.key),
        user.save,
        team.save,
        issued.key.delete,
    ):
        act()
        seen.append(access())
    assert seen == sorted(set(seen))

    user.save(update_fields=["last_login"])
    assert access() == seen[-1]


@pytest.mark.django_db(transaction=True)
def test_a_revoked_key_stops_within_moments(serve: Serve, table: Table, upstream: FakeUpstream) -> None:
    table(target_for(upstream))
    issued = keys.create(name="ann")
    watch.start()
    try:
        assert watch.wait_ready(5)
        table(target_for(upstream))
        url = serve(gateway_with(api_auth="always")).url
        with httpx.Client(base_url=url, trust_env=False) as client:
            client.headers["authorization"] = f"Bearer {issued.plain}"
            assert client.post(CHAT, json=chat_body()).status_code == 200
            keys.revoke(key=issued.key)
            revoked_at = time.monotonic()
            while (answer := client.get("/v1/models")).status_code == 200:
                assert time.monotonic() - revoked_at < PROMPT_SECONDS
        assert answer.json()["error"]["code"] == "invalid_api_key"
        assert "'ann' was revoked" in answer.json()["error"]["message"]
    finally:
        watch.stop()


def test_budgets_go_on_after_a_restart_from_what_the_totals_say(settings: Settings) -> None:
    settings.OLLA_TEAM_LIMITS = {"tokens-per-day": 5000}
    team = Group.objects.create(name="red")
    with_budget = keys.create(name="ann", team=team, tokens_per_month=1000).key
    without = keys.create(name="bob", team=team).key
    today = clock.now().date()
    first, before = today.replace(day=1), today.replace(day=1) - timedelta(days=1)
    for day in {today, first, before}:
        for key in (with_budget, without):
            UsageTotal.objects.create(day=day, key_id=key.pk, team_id=team.pk, charged_tokens=100)

    # In the playground nobody needs a key.
    ada = User.objects.create(username="ada")
    PersonLimits.objects.create(person=ada, tokens_per_month=9)
    UsageTotal.objects.create(day=today, user_id=ada.pk, charged_tokens=7)

    spent = dict(key_table.build().spent)

    of_month = 100 * len({today, first})
    assert spent.pop(f"person {ada.pk}")[1:] == (7, 7)
    assert set(spent) == {f"key {with_budget.pk}", f"team {team.pk}"}
    assert spent[f"key {with_budget.pk}"][1:] == (100, of_month)
    assert spent[f"team {team.pk}"][1:] == (200, 2 * of_month)
