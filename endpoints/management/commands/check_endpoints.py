"""Checks endpoints now, from this machine, and says how they are."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any, TypedDict

from django.core.management.base import BaseCommand, CommandError

from endpoints.choices import ROUTABLE, Mode
from endpoints.health.checking import check
from endpoints.health.probe import Checker
from endpoints.models import Endpoint

if TYPE_CHECKING:
    from django.core.management.base import CommandParser

    from endpoints.health.findings import Finding

COLUMNS = ("name", "status", "latency", "models", "reason")
MAX_MODELS_SHOWN = 3


class CheckRow(TypedDict):
    name: str
    url: str
    mode: str
    status: str
    reason: str
    http_status: int | None
    latency_seconds: float | None
    models: list[str]


class Command(BaseCommand):
    help = (
        "Check endpoints now, from this machine, and print how they are. Nothing is stored. "
        "The exit code is 1 when one that is in service is not healthy. "
        "Example: manage.py check_endpoints vllm-mlx-server --json"
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("names", nargs="*", metavar="NAME", help="endpoints to check (all)")
        parser.add_argument("--json", action="store_true", help="print JSON")

    def handle(self, *_args: Any, names: list[str], **options: Any) -> None:
        endpoints = _chosen(names)
        rows = [_row(endpoint, finding) for endpoint, finding in asyncio.run(_check_all(endpoints))]
        self.stdout.write(json.dumps(rows, indent=2) if options["json"] else _table(rows))
        down = [row["name"] for row in rows if row["mode"] == Mode.ACTIVE and row["status"] not in ROUTABLE]
        if down:
            raise CommandError(f"Not healthy: {', '.join(down)}.")


def _chosen(names: list[str]) -> list[Endpoint]:
    endpoints = list(Endpoint.objects.filter(name__in=names) if names else Endpoint.objects.all())
    if missing := sorted(set(names) - {endpoint.name for endpoint in endpoints}):
        raise CommandError(f"There is no endpoint called {', '.join(missing)}.")
    return endpoints


async def _check_all(endpoints: list[Endpoint]) -> list[tuple[Endpoint, Finding]]:
    async with Checker() as checker:
        findings = await asyncio.gather(*(check(checker, one, with_models=True) for one in endpoints))
    return list(zip(endpoints, findings, strict=True))


def _row(endpoint: Endpoint, finding: Finding) -> CheckRow:
    result = finding.result
    return {
        "name": endpoint.name,
        "url": endpoint.url,
        "mode": endpoint.mode,
        "status": result.status.value,
        "reason": result.reason,
        "http_status": result.http_status,
        "latency_seconds": None if result.latency_seconds is None else round(result.latency_seconds, 4),
        "models": [model.name for model in finding.models or ()],
    }


def _table(rows: list[CheckRow]) -> str:
    if not rows:
        return "There are no endpoints. Add one in the admin, or with manage.py import_endpoints FILE."
    lines = [COLUMNS, *(_cells(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(COLUMNS))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def _cells(row: CheckRow) -> tuple[str, ...]:
    latency, models = row["latency_seconds"], row["models"]
    shown = ", ".join(models[:MAX_MODELS_SHOWN])
    more = f" and {len(models) - MAX_MODELS_SHOWN} more" if len(models) > MAX_MODELS_SHOWN else ""
    status = row["status"] if row["mode"] == Mode.ACTIVE else f"{row['status']} ({row['mode']})"
    took = "-" if latency is None else f"{latency * 1000:.0f}ms"
    return row["name"], status, took, f"{shown}{more}" or "-", row["reason"]
