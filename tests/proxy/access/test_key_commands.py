"""`manage.py create_key`, `rotate_key`, `revoke_key`, `list_keys`: what they do, print and refuse."""

from __future__ import annotations

import json
import time
from io import StringIO
from typing import TYPE_CHECKING, Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command

from ollaproject.wire import clock
from proxy.access import key_table, keys
from proxy.access.expiry import parse_expiry
from proxy.models import ApiKey
from tests.proxy.key_making import judged

if TYPE_CHECKING:
    from collections.abc import Callable

    from proxy.gateway import Gateway
    from tests.proxy.conftest import Served

    Serve = Callable[[Gateway], Served]
    Table = Callable[..., None]
    Settings = Any

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("no_keys_left")]


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
        (["new", "--networks", "10.0.0.0/99"], "neither an address nor a network"),
        (["new", "--rpm", "-1"], "'-1' is no number from 0 on"),
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
