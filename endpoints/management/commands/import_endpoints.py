"""Imports an endpoint file into the fleet."""

from __future__ import annotations

import os
import sys
from argparse import RawDescriptionHelpFormatter
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand, CommandError, DjangoHelpFormatter

from endpoints.aliases import aliases
from endpoints.choices import Outcome
from endpoints.errors import EndpointFileError
from endpoints.files import importing, yaml_io

if TYPE_CHECKING:
    from collections.abc import Sequence

    from django.core.management.base import CommandParser

    from endpoints.files.alias_importing import ImportedAlias
    from endpoints.files.importing import Import, Imported
    from endpoints.files.yaml_entries import EndpointFile

MARKS = {Outcome.ADDED: "+", Outcome.CHANGED: "~", Outcome.UNCHANGED: "="}
EPILOG = """\
endpoints.yaml:
  endpoints:
    - url: "http://192.168.0.100:8000"
      name: "vllm-mlx-server"
      type: "vllm-mlx"
      priority: 80
      check_interval: 5s
      auth: {type: bearer, token: "${MINI_TOKEN}"}

  model_aliases:
    gpt-4o-mini: [mlx-community/Qwen2.5-3B-Instruct-4bit, mlx-community/Llama-3.2-3B-Instruct-4bit]
    fast: {models: [mlx-community/Qwen2.5-3B-Instruct-4bit], strategy: least-latency}

An Olla configuration works too: its discovery.static.endpoints are read. Endpoints are told apart by name.
A key that the file leaves out keeps its value, and a stored credential stays when `auth` gives none. With
--prune the file is the whole truth: what it does not name is deleted, and what it leaves out goes back to its
default. A file with a mistake in it changes nothing, and the exit code is 1.

Is the fleet still as the file says?   manage.py import_endpoints fleet.yaml --prune --check
"""


class ExampleFormatter(RawDescriptionHelpFormatter, DjangoHelpFormatter):
    """Django's order of options, and the example as it is written."""


class Command(BaseCommand):
    help = (
        "Import the endpoints of a YAML file: known names are updated, others are added. "
        "Example: manage.py import_endpoints endpoints.yaml --dry-run"
    )

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        return super().create_parser(
            prog_name, subcommand, epilog=EPILOG, formatter_class=ExampleFormatter, **kwargs
        )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path, help="the YAML file, - for standard input")
        parser.add_argument(
            "--dry-run", action="store_true", help="say what would change, and change nothing"
        )
        parser.add_argument(
            "--prune",
            action="store_true",
            help="delete what the file does not name, reset what it leaves out",
        )
        parser.add_argument(
            "--check", action="store_true", help="as --dry-run; exit with 1 when anything would change"
        )

    def handle(
        self, *_args: Any, file: Path, dry_run: bool, prune: bool, check: bool, **_options: Any
    ) -> None:
        try:
            prepared = importing.prepare(self._read(file), prune=prune)
        except EndpointFileError as error:
            for problem in error.problems:
                self.stderr.write(problem)
            raise CommandError("Nothing was imported. Mend the file and try again.") from None
        if not (dry_run or check):
            importing.store(prepared)
        self._show_all(prepared)
        said = " Nothing was written: this was a dry run." if dry_run or check else ""
        self.stdout.write(f"{_summary(prepared, prune=prune)}{said}")
        if check and not prepared.changes_nothing:
            raise CommandError("The fleet is not as the file says.")

    def _read(self, file: Path) -> EndpointFile:
        if str(file) == "-":
            raw = sys.stdin.buffer.read()
            return yaml_io.read_text(raw, name="stdin", environment=os.environ, folder=Path())
        return yaml_io.read_file(file, environment=os.environ)

    def _show_all(self, prepared: Import) -> None:
        for one in prepared.endpoints:
            self._show(one)
        for endpoint in prepared.gone:
            self.stdout.write(f"- {endpoint.name}  {endpoint.shown_url}")
        for alias in prepared.aliases:
            self._show_alias(alias)
        for gone in prepared.gone_aliases:
            self.stdout.write(f"- alias {gone.name}")
        if prepared.left_out:
            self.stderr.write(f"Not about endpoints, left out: {', '.join(prepared.left_out)}.")

    def _show_alias(self, alias: ImportedAlias) -> None:
        self.stdout.write(f"{MARKS[alias.outcome]} alias {alias.name}  {alias.words}")
        if alias.outcome == Outcome.CHANGED and alias.before is not None:
            self.stdout.write(f"    before: {aliases.in_words(alias.before)}")

    def _show(self, one: Imported) -> None:
        self.stdout.write(f"{MARKS[one.outcome]} {one.endpoint.name}  {one.endpoint.shown_url}")
        if one.outcome == Outcome.CHANGED:
            for difference in one.differences:
                self.stdout.write(f"    {difference}")


def _summary(prepared: Import, *, prune: bool) -> str:
    """What became of the endpoints, and of the aliases where there are any."""
    counts = _counts(prepared.endpoints, len(prepared.gone) if prune else None)
    if not (prepared.aliases or prepared.gone_aliases):
        return f"{counts}."
    return f"{counts}; aliases: {_counts(prepared.aliases, len(prepared.gone_aliases) if prune else None)}."


def _counts(found: Sequence[Imported | ImportedAlias], deleted: int | None) -> str:
    """`1 added, 0 changed, 2 unchanged`, and how many are `deleted` where it is to prune."""
    outcomes = Counter(one.outcome for one in found)
    counts = [f"{outcomes[outcome]} {outcome}" for outcome in Outcome]
    return ", ".join(counts if deleted is None else [*counts, f"{deleted} deleted"])
