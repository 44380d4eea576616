"""Gives an API key another secret and prints it, this once."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand, CommandError

from proxy.access import keys
from proxy.access.expiry import parse_span
from proxy.models import ApiKey

if TYPE_CHECKING:
    from django.core.management.base import CommandParser


class Command(BaseCommand):
    help = (
        "Give an API key another secret. It alone goes to standard output, everything else to standard "
        "error; the one before goes on working for a while. The exit code is 1 when there is no such key. "
        "Example: manage.py rotate_key ci-bot --grace 7d"
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", metavar="NAME", help="the key, by its name")
        parser.add_argument(
            "--grace",
            metavar="TIME",
            default="24h",
            help="how long the secret from before goes on working: 0, 12h, 7d (%(default)s)",
        )

    def handle(self, *_args: Any, name: str, grace: str, **_options: Any) -> None:
        key = ApiKey.objects.filter(name=name).first()
        if key is None:
            raise CommandError(
                f"There is no key called {name}. manage.py list_keys shows those that there are."
            )
        if key.revoked_at is not None:
            raise CommandError(f"The key {name} was revoked, for good. Make another one.")
        try:
            span = timedelta(0) if grace == "0" else parse_span(grace)
        except ValueError as error:
            raise CommandError(str(error)) from None
        issued = keys.rotate(key=key, grace=span)
        until = issued.key.previous_until
        before = f"works until {until:%Y-%m-%d %H:%M} UTC" if until else "is refused from now on"
        self.stderr.write(f"The secret from before {before}. The new one is shown this once:")
        self.stdout.write(issued.plain)
