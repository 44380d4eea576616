"""Looks at everything that the gateway needs, and says what to do about what is not well."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand, CommandError

from ollaproject import doctor
from ollaproject.doctor.findings import Level

if TYPE_CHECKING:
    from django.core.management.base import CommandParser

    from ollaproject.doctor.findings import Finding

SIGNS = {Level.OK: "ok", Level.WARNING: "look", Level.PROBLEM: "MEND"}


class Command(BaseCommand):
    help = (
        "Look at everything that the gateway needs: settings, disk, database, broker, clocks, web and worker "
        "processes, endpoints, local models. Nothing is changed. The exit code is 1 when something does not "
        "work. Example: manage.py doctor --json"
    )
    requires_system_checks: list[str] = []  # they are a part of what is looked at

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="print JSON")

    def handle(self, *_args: Any, **options: Any) -> None:
        found = []
        for finding in doctor.examine():
            found.append(finding)
            if not options["json"]:
                self._print(finding)
        if options["json"]:
            self.stdout.write(json.dumps([asdict(finding) for finding in found], indent=2))
        problems = [finding for finding in found if finding.level == Level.PROBLEM]
        if problems:
            raise CommandError(f"Does not work: {', '.join(dict.fromkeys(each.part for each in problems))}.")

    def _print(self, finding: Finding) -> None:
        styles = {
            Level.OK: self.style.SUCCESS,
            Level.WARNING: self.style.WARNING,
            Level.PROBLEM: self.style.ERROR,
        }
        self.stdout.write(
            f"{styles[finding.level](f'{SIGNS[finding.level]:<4}')}  {finding.part:<12}  {finding.text}"
        )
        if finding.hint:
            self.stdout.write(f"{'':<20}{finding.hint}")
