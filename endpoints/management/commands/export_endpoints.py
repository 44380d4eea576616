"""Writes the fleet as an endpoint file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand, CommandError

from endpoints.files import exporting
from endpoints.models import Endpoint

if TYPE_CHECKING:
    from django.core.management.base import CommandParser


class Command(BaseCommand):
    help = (
        "Write the endpoints and model aliases as YAML that import_endpoints reads back to the same fleet. "
        "Credentials are not written. Example: manage.py export_endpoints fleet.yaml"
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", nargs="?", type=Path, help="where to write it (standard output)")

    def handle(self, *_args: Any, file: Path | None, **_options: Any) -> None:
        text = exporting.as_yaml()
        if file is None:
            self.stdout.write(text, ending="")
            return
        try:
            file.write_text(text)
        except OSError as error:
            raise CommandError(f"{file} cannot be written: {error.strerror}.") from None
        count = Endpoint.objects.filter(is_local=False).count()
        self.stderr.write(f"{count} {'endpoint' if count == 1 else 'endpoints'} written to {file}.")
