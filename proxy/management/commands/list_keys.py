"""Lists the API keys, without their secrets."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, TypedDict

from django.core.management.base import BaseCommand

from ollaproject.wire import clock
from proxy.access.keys import pepper_is_old, state_of
from proxy.limits.limits import WORDS
from proxy.models import ApiKey
from proxy.status import figures

if TYPE_CHECKING:
    from datetime import datetime

    from django.core.management.base import CommandParser

COLUMNS = ("name", "id", "state", "owner", "team", "expires", "last used")


class KeyRow(TypedDict):
    """Times in RFC 3339. `limits` holds what the key says itself, by the words of the settings.

    `old_pepper`: its secret waits to be signed anew, which its next use does.
    """

    name: str
    id: str
    state: str
    owner: str | None
    team: str | None
    models: list[str]
    endpoints: list[str]
    networks: list[str]
    priority: int
    limits: dict[str, int]
    old_pepper: bool
    keeps_bodies: bool
    created_at: str
    previous_until: str | None
    expires_at: str | None
    last_used_at: str | None


class Command(BaseCommand):
    help = (
        "List the API keys: whose they are, how they stand, when they were last used. No secret is shown, "
        "for none is stored. Example: manage.py list_keys --json"
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="print JSON")

    def handle(self, *_args: Any, **options: Any) -> None:
        now = clock.now()
        keys = list(ApiKey.objects.select_related("owner", "team"))
        if options["json"]:
            self.stdout.write(json.dumps([_row(key, now) for key in keys], indent=2))
        else:
            self.stdout.write(_table(keys, now))
            self._tell_of_old_peppers(keys)

    def _tell_of_old_peppers(self, keys: list[ApiKey]) -> None:
        waiting = [key.name for key in keys if pepper_is_old(key) and state_of(key, clock.now()) == "active"]
        if waiting:
            self.stderr.write(
                "Not used since OLLA_KEY_PEPPERS has a new first one, so still under an old one: "
                f"{', '.join(waiting)}. They are signed anew when they are used."
            )


def _row(key: ApiKey, now: datetime) -> KeyRow:
    return {
        "name": key.name,
        "id": key.public_id,
        "state": state_of(key, now),
        "owner": key.owner.get_username() if key.owner else None,
        "team": key.team.name if key.team else None,
        "models": key.allowed_models,
        "endpoints": key.allowed_endpoints,
        "networks": key.allowed_networks,
        "priority": key.priority,
        "limits": {word: said for word, name in WORDS.items() if (said := getattr(key, name)) is not None},
        "old_pepper": pepper_is_old(key),
        "keeps_bodies": key.keep_bodies,
        "created_at": key.created_at.isoformat(),
        "previous_until": key.previous_until.isoformat() if key.previous_until else None,
        "expires_at": key.expires_at.isoformat() if key.expires_at else None,
        "last_used_at": key.last_used_at.isoformat() if key.last_used_at else None,
    }


def _table(keys: list[ApiKey], now: datetime) -> str:
    if not keys:
        return "There are no keys. Make one in the admin, or with manage.py create_key NAME."
    lines = [COLUMNS, *(_cells(key, now) for key in keys)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(COLUMNS))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def _cells(key: ApiKey, now: datetime) -> tuple[str, ...]:
    return (
        key.name,
        key.public_id,
        state_of(key, now),
        key.owner.get_username() if key.owner else "-",
        key.team.name if key.team else "-",
        f"{key.expires_at:%Y-%m-%d}" if key.expires_at else "never",
        figures.ago(key.last_used_at, now),
    )
