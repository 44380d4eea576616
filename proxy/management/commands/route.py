"""Explains where a request would go now, and why."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from endpoints import routing_table
from endpoints.models import Revision
from endpoints.snapshot import install
from endpoints.strategies import STRATEGIES
from proxy.explain import explain
from proxy.paths import surface_for
from proxy.routing import Router

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.core.management.base import CommandParser

    from proxy.explain import Explanation
    from proxy.paths import Surface


class Command(BaseCommand):
    help = (
        "Explain step by step where a request would go now, and why. How busy each endpoint is and where "
        "prompts are warm is known to the web process only: the order is that of an idle gateway. "
        "The exit code is 1 when the request would be refused. "
        "Example: manage.py route --model mlx-community/Llama-3.2-3B-Instruct-4bit --json"
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--model", help="the model or alias that is asked for (none)")
        parser.add_argument(
            "--surface", default="openai", help="the way in, /olla/SURFACE/ (openai, which is also /v1/)"
        )
        parser.add_argument("--json", action="store_true", help="print JSON")

    def handle(self, *_args: Any, model: str | None, surface: str, **options: Any) -> None:
        way_in = _surface(surface)
        latest = Revision.objects.first()
        install(routing_table.build(latest.routing if latest else 0))
        balancer = settings.OLLA_LOAD_BALANCER
        found = explain(Router(STRATEGIES[balancer]()), way_in, model)
        if options["json"]:
            self.stdout.write(json.dumps({**found, "strategy": balancer}, indent=2))
        else:
            self.stdout.write("\n".join(_lines(found, balancer)))
        if found["refusal"]:
            raise CommandError(f"Refused with {found['refusal']['status']} {found['refusal']['code']}.")


def _surface(prefix: str) -> Surface:
    found = surface_for(prefix)
    if found is None:
        raise CommandError(f"There is no way in at /olla/{prefix}/. Try openai, proxy, or a backend type.")
    return found


def _lines(found: Explanation, balancer: str) -> Iterator[str]:
    yield f"A request for {found['model'] or 'no model'} by the way in for {found['surface']} endpoints."
    if found["alias"]:
        yield f"It is an alias: {', else '.join(found['alias'])}."
    yield "Endpoints:"
    for endpoint in found["endpoints"]:
        mark = "+" if endpoint["candidate"] else "-"
        yield f"  {mark} {endpoint['name']} (priority {endpoint['priority']}): {endpoint['reason']}"
    if found["refusal"]:
        yield f"Refused: {found['refusal']['message']}"
        return
    yield f"Tried in this order, by {balancer} within a priority, each while it has room:"
    for number, attempt in enumerate(found["order"], 1):
        asked = f", as {attempt['model']}" if found["alias"] else ""
        yield f"  {number}. {attempt['endpoint']} (priority {attempt['priority']}{asked})"
    yield (
        f"When all of them are full it waits for up to {settings.OLLA_QUEUE_TIMEOUT} s, "
        f"with at most {settings.OLLA_QUEUE_SIZE} others."
    )
