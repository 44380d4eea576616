"""Keys from making to revoking: whom the gateway takes a caller for, and what a key may use."""

from __future__ import annotations

import json
import time
from datetime import timedelta
from io import StringIO
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from django.contrib.auth.models import Group, User
from django.core.exceptions import ValidationError
from django.core.management import CommandError, call_command

from endpoints import watch
from endpoints.models import Revision
from ollaproject.wire import clock
from ollaproject.wire.openai_errors import ApiError
from proxy import key_table, keys
from proxy.expiry import parse_expiry
from proxy.models import ApiKey, UsageTotal
from tests.proxy.conftest import CHAT, chat_body, gateway_with, open_guard, target_for
from tests.proxy.test_access import FORWARDED, request_from

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from proxy.gateway import Gateway
    from tests.fakes.upstream import FakeUpstream
    from tests.proxy.conftest import Served

    Serve = Callable[[Gateway], Served]
    Table = Callable[..., None]
    Settings = Any

pytestmark = pytest.mark.django_db

REMOTE = "192.168.0.7"
PROMPT_SECONDS = 5.0  # it takes a quarter of one, and a few times as long on a busy machine


@pytest.fixture(autouse=True)
def no_keys_left() -> Iterator[None]:
    yield
    key_table.install(key_table.KeyTable())


def made(name: str = "ann", **fields: Any) -> str:
    """A key as its holder sends it, known to this process."""
    plain = keys.create(name=name, **fields).plain
    key_table.rebuild()
    return plain


def judged(plain: str, *, peer: str = REMOTE, header: str = "bearer", **rules: Any) -> str:
    """The name of the holder, "nobody", or the error."""
    sent = ("authorization", f"Bearer {plain}") if header == "bearer" else ("x-api-key", plain)
    try:
        caller = open_guard(**rules).authenticate(request_from(peer, sent))
    except ApiError as error:
        return f"{error.status} {error.code}"
    return caller.holder.name if caller.holder else "nobody"


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


# --- What a key may use ---


@pytest.fixture
def two(upstreams: Callable[..., FakeUpstream], table: Table) -> tuple[FakeUpstream, FakeUpstream]:
    first, second = upstreams("small-1", "large-1"), upstreams("small-1")
    table(target_for(first, number=1, priority=90), target_for(second, number=2))
    return first, second


@pytest.fixture
def ask(serve: Serve) -> Iterator[Callable[..., httpx.Response]]:
    with httpx.Client(base_url=serve(gateway_with()).url, trust_env=False) as client:

        def send(plain: str, model: str | None = None, **how: Any) -> httpx.Response:
            headers = {"x-api-key": plain, **how.pop("headers", {})}
            if model is None and not how:
                return client.get("/v1/models", headers=headers)
            return client.post(CHAT, headers=headers, **(how or {"json": chat_body(model or "")}))

        yield send


@pytest.mark.usefixtures("two")
def test_a_key_sees_and_uses_its_models_only(ask: Callable[..., httpx.Response]) -> None:
    plain = made(allowed_models=["Small-*"])

    assert [each["id"] for each in ask(plain).json()["data"]] == ["small-1"]
    assert ask(plain, "small-1").status_code == 200
    refused = ask(plain, "large-1")
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "model_not_allowed")


@pytest.mark.usefixtures("two")
def test_a_body_that_hides_its_model_is_no_way_around(ask: Callable[..., httpx.Response]) -> None:
    plain = made(allowed_models=["small-*"])
    packed = ask(plain, content=b"\x1f\x8b", headers={"content-encoding": "gzip"})
    unnamed = ask(plain, json={"messages": []})

    assert {packed.status_code, unnamed.status_code} == {403}


def test_a_key_goes_to_its_endpoints_only(
    two: tuple[FakeUpstream, FakeUpstream], ask: Callable[..., httpx.Response]
) -> None:
    plain = made(allowed_endpoints=["mini-2"])

    assert [each["id"] for each in ask(plain).json()["data"]] == ["small-1"]
    assert ask(plain, "small-1").headers["x-olla-endpoint"] == "mini-2"
    assert ask(plain, "large-1").status_code == 404
    assert ask(made("bob"), "small-1").headers["x-olla-endpoint"] == "mini-1"
    assert not any(seen.header("x-api-key") for seen in (*two[0].requests, *two[1].requests))


# --- The commands ---


def run(name: str, *arguments: str) -> tuple[str, str]:
    out, err = StringIO(), StringIO()
    call_command(name, *arguments, stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


def test_create_key_prints_the_key_alone() -> None:
    User.objects.create_user("ada")
    out, err = run(
        *("create_key", "ci-bot", "--owner", "ada", "--team", "red", "--models", "a,b", "c", "--rpm", "60"),
        *("--tokens-per-day", "1000", "--expires", "90d", "--priority", "5", "--networks", "10.0.0.0/8"),
    )
    key_table.rebuild()
    holder = key_table.keys().find(out.strip().encode(), time.time())

    assert holder is not None
    assert holder.team is not None
    assert (holder.name, holder.user, holder.team.name, holder.priority) == ("ci-bot", "ada", "red", 5)
    assert (holder.limits.requests_per_minute, holder.limits.tokens_per_day) == (60, 1000)
    assert holder.models.patterns == ("a", "b", "c")
    assert out.strip() not in err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["taken"], "Names must differ"),
        (["new", "--owner", "nobody"], "no user called nobody"),
        (["new", "--expires", "yesterday"], "90d, 12h"),
        (["new", "--networks", "10.0.0.0/99"], "addresses or networks"),
        (["new", "--rpm", "-1"], "invalid"),
    ],
)
def test_create_key_says_what_is_wrong(arguments: list[str], words: str) -> None:
    keys.create(name="taken")

    with pytest.raises(CommandError, match=words):
        run("create_key", *arguments)
    assert ApiKey.objects.count() == 1


def test_revoke_key_closes_it_once() -> None:
    keys.create(name="ci-bot")

    assert "Revoked" in run("revoke_key", "ci-bot")[1]
    assert "already" in run("revoke_key", "ci-bot")[1]
    with pytest.raises(CommandError, match="no key called other"):
        run("revoke_key", "other")


def test_rotate_key_prints_a_new_secret_and_lets_the_old_one_live_on() -> None:
    before = keys.create(name="ci-bot").plain
    after, said = run("rotate_key", "ci-bot", "--grace", "2h")
    key_table.rebuild()
    assert (judged(before), judged(after.strip())) == ("ci-bot", "ci-bot")
    assert "works until" in said
    last, said = run("rotate_key", "ci-bot", "--grace", "0")
    key_table.rebuild()
    assert (judged(after.strip()), judged(last.strip())) == ("401 invalid_api_key", "ci-bot")
    assert "is refused from now on" in said
    for arguments, words in ((["nobody"], "no key called"), (["ci-bot", "--grace", "soon"], "soon")):
        with pytest.raises(CommandError, match=words):
            run("rotate_key", *arguments)


def test_list_keys_tells_which_wait_for_the_new_pepper(settings: Settings) -> None:
    keys.create(name="ci-bot")
    assert "ci-bot" not in run("list_keys")[1]
    settings.OLLA_KEY_PEPPERS = ["new", *settings.OLLA_KEY_PEPPERS]
    keys.create(name="newer")
    assert "old one: ci-bot. They" in run("list_keys")[1]


def test_list_keys_shows_how_they_stand() -> None:
    assert "There are no keys" in run("list_keys")[0]
    keys.revoke(key=keys.create(name="old").key)
    keys.create(name="ci-bot", requests_per_minute=60)

    table = run("list_keys")[0]
    rows = json.loads(run("list_keys", "--json")[0])

    assert "revoked" in table.splitlines()[2]
    assert [(row["name"], row["state"], row["limits"]) for row in rows] == [
        ("ci-bot", "active", {"rpm": 60}),
        ("old", "revoked", {}),
    ]


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("90d", "2027-04-01T12:00:00+00:00"),
        ("90m", "2027-01-01T13:30:00+00:00"),
        ("2027-01-31", "2027-02-01T00:00:00+00:00"),
        ("2027-01-31T10:00:00+02:00", "2027-01-31T10:00:00+02:00"),
    ],
)
def test_a_key_ends_when_people_say(text: str, moment: str) -> None:
    now = clock.now().replace(2027, 1, 1, 12, 0, 0, 0)

    assert parse_expiry(text, now=now).isoformat() == moment


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

    spent = key_table.build().spent

    of_month = 100 * len({today, first})
    assert set(spent) == {f"key {with_budget.pk}", f"team {team.pk}"}
    assert spent[f"key {with_budget.pk}"][1:] == (100, of_month)
    assert spent[f"team {team.pk}"][1:] == (200, 2 * of_month)
