"""Makes an API key and prints it, this once."""

from __future__ import annotations

from argparse import ArgumentTypeError
from typing import TYPE_CHECKING, Any

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError

from ollaproject.wire import clock, roles
from proxy.access import keys
from proxy.access.expiry import parse_expiry
from proxy.limits.limits import WORDS

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from django.core.management.base import CommandParser

LIMITS = {
    "rpm": "requests per minute",
    "tpm": "tokens per minute, of prompts and answers together",
    "concurrent": "requests at a time",
    "tokens-per-day": "tokens per day (UTC)",
    "tokens-per-month": "tokens per calendar month (UTC)",
    "max-tokens": "tokens that one answer may have",
}


class Command(BaseCommand):
    help = (
        "Make an API key. The key alone goes to standard output, everything else to standard error; it is "
        "shown this once and stored nowhere. "
        "Example: manage.py create_key ci-bot --team research --models 'mlx-community/*' --expires 90d"
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", metavar="NAME", help="what the key is called; names differ")
        parser.add_argument("--owner", metavar="USER", help="whose it is, by user name (nobody's)")
        parser.add_argument(
            "--team", metavar="GROUP", help="the team that it counts for; made if need be (none)"
        )
        for word, what in (("models", "models"), ("endpoints", "endpoints")):
            parser.add_argument(
                f"--{word}",
                metavar="PATTERN",
                nargs="+",
                default=[],
                help=f"the {what} that it may use, such as 'mlx-*' (all)",
            )
        parser.add_argument(
            "--networks",
            metavar="NETWORK",
            nargs="+",
            default=[],
            help="where it may be used from, such as 10.0.0.0/8 (anywhere)",
        )
        parser.add_argument("--expires", metavar="WHEN", help="90d, 12h, or a day such as 2027-01-31 (never)")
        for word, what in LIMITS.items():
            parser.add_argument(
                f"--{word}", type=_count, metavar="N", help=f"{what} (OLLA_KEY_LIMITS; 0: no limit)"
            )
        parser.add_argument(
            "--priority", type=int, default=0, help="in the queue of full endpoints, higher goes first (0)"
        )
        parser.add_argument(
            "--rest-api", action="store_true", help="it may act for its owner over /api/ (no)"
        )
        parser.add_argument("--notes", default="", help="anything worth knowing about it")

    def handle(self, *_args: Any, **options: Any) -> None:
        fields = {WORDS[word]: options[word.replace("-", "_")] for word in LIMITS}
        try:
            issued = keys.create(
                name=options["name"],
                owner=_owner(options["owner"]),
                team=_team(options["team"]),
                allowed_models=_split(options["models"]),
                allowed_endpoints=_split(options["endpoints"]),
                allowed_networks=_split(options["networks"]),
                expires_at=parse_expiry(options["expires"], now=clock.now()) if options["expires"] else None,
                priority=options["priority"],
                rest_api=options["rest_api"],
                notes=options["notes"],
                **fields,
            )
        except ValidationError as error:
            raise CommandError(" ".join(_sentences(error))) from None
        except ValueError as error:
            raise CommandError(str(error)) from None
        self.stderr.write(f"Made the key {issued.key.name}. This is the only time that it is shown:")
        self.stdout.write(issued.plain)


def _count(text: str) -> int:
    if not text.isdecimal():
        raise ArgumentTypeError(f"{text!r} is no number from 0 on")
    return int(text)


def _split(words: list[str]) -> list[str]:
    """Several may be given by spaces or by commas."""
    return [part.strip() for word in words for part in word.split(",") if part.strip()]


def _owner(name: str | None) -> User | None:
    if name is None:
        return None
    found = get_user_model().objects.filter(username=name).first()
    if found is None:
        raise CommandError(f"There is no user called {name}.")
    return found


def _team(name: str | None) -> Group | None:
    if name is None:
        return None
    if name.startswith(roles.PREFIX):
        raise CommandError(f"{name} is a role, and no team.")
    return Group.objects.get_or_create(name=name)[0]


def _sentences(error: ValidationError) -> list[str]:
    if not hasattr(error, "error_dict"):
        return error.messages
    return [
        sentence if field == "__all__" else f"{field}: {sentence}"
        for field, sentences in error.message_dict.items()
        for sentence in sentences
    ]
