"""Closes an API key for good."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand, CommandError

from proxy.access import keys
from proxy.models import ApiKey

if TYPE_CHECKING:
    from django.core.management.base import CommandParser


class Command(BaseCommand):
    help = (
        "Close an API key for good. Every gateway refuses it within a second. "
        "The exit code is 1 when there is no such key. "
        "Example: manage.py revoke_key ci-bot"
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", metavar="NAME", help="the key, by its name")

    def handle(self, *_args: Any, name: str, **_options: Any) -> None:
        key = ApiKey.objects.filter(name=name).first()
        if key is None:
            raise CommandError(
                f"There is no key called {name}. manage.py list_keys shows those that there are."
            )
        if keys.revoke(key=key):
            self.stderr.write(f"Revoked the key {name}.")
        else:
            self.stderr.write(f"The key {name} was revoked already, on {key.revoked_at:%Y-%m-%d}.")
