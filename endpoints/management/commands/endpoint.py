"""Takes endpoints out of service and puts them back: one, several, or all of a host."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand, CommandError

from endpoints import operations
from endpoints.models import Endpoint
from ollaproject.wire import clock
from ollaproject.wire.durations import DurationError, parse_until

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from django.core.management.base import CommandParser

DONE = {
    "drain": "Draining {}: running requests finish, new ones go elsewhere.",
    "pause": "Paused {}: no requests and no checks.",
    "resume": "Put {} in service. It is checked now.",
    "maintain": "{} is in maintenance until {:%Y-%m-%d %H:%M} UTC, and then in service again.",
}


class Command(BaseCommand):
    help = (
        "Drain, pause or resume endpoints, or put them in maintenance until a time. Takes effect within a "
        "second. The exit code is 1 when there is no such endpoint. "
        "Examples: manage.py endpoint drain studio-1; manage.py endpoint pause --host 192.168.0.100; "
        "manage.py endpoint maintain studio-1 --until 2h; manage.py endpoint resume --host 192.168.0.100"
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("action", choices=list(DONE), help="what to do")
        parser.add_argument("names", nargs="*", metavar="NAME", help="endpoints by name")
        parser.add_argument("--host", help="all endpoints whose URL names this host")
        parser.add_argument(
            "--until", help="for maintain: a time such as 2026-12-01T08:00 (UTC), or from now on such as 2h"
        )
        parser.add_argument("--json", action="store_true", help="print JSON")

    def handle(self, *_args: Any, action: str, names: list[str], **options: Any) -> None:
        until = _until(options["until"]) if action == "maintain" else None
        operate = _operation(action, until)
        chosen = _chosen(names, options["host"])
        for endpoint in chosen:
            operate(endpoint=endpoint)
            if not options["json"]:
                self.stdout.write(DONE[action].format(endpoint.name, until))
        if options["json"]:
            rows = [{"name": each.name, "mode": each.mode} for each in chosen]
            self.stdout.write(json.dumps(rows, indent=2))


def _operation(action: str, until: datetime | None) -> Callable[..., None]:
    return operations.named("activate" if action == "resume" else action, until=until)


def _chosen(names: list[str], host: str | None) -> list[Endpoint]:
    if not names and not host:
        raise CommandError("Name endpoints, or a --host.")
    known = {each.name: each for each in Endpoint.objects.filter(name__in=names)}
    if missing := [name for name in names if name not in known]:
        raise CommandError(f"There is no endpoint called {', '.join(missing)}.")
    found = {name: known[name] for name in names}
    if host:
        there = operations.on_host(host)
        if not there:
            raise CommandError(f"No endpoint is on the host {host}.")
        found |= {each.name: each for each in there}
    return list(found.values())


def _until(text: str | None) -> datetime:
    if not text:
        raise CommandError("Maintenance needs --until: a time, or how long.")
    try:
        return parse_until(text, now=clock.now())
    except DurationError as error:
        raise CommandError(f"--until: {error}") from None
