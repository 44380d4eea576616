"""Explains where a request would go now, and why."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from endpoints.models import Revision
from endpoints.routing import routing_table
from endpoints.routing.snapshot import install
from proxy.request.paths import surface_for
from proxy.routing.explain import Request, explain, router_from_settings
from proxy.routing.explain_words import sentences
from proxy.routing.session_lookup import shared_session

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.core.management.base import CommandParser

    from proxy.request.paths import Surface
    from proxy.routing.explain import Explanation


class Command(BaseCommand):
    help = (
        "Explain step by step where a request would go now, and why. How busy each endpoint is and where "
        "prompts are warm is known to the web process only: the order is that of an idle gateway. Where a "
        "session is, it is told by Redis. The exit code is 1 when the request would be refused. "
        "Example: manage.py route --model mlx-community/Llama-3.2-3B-Instruct-4bit --tools --tokens 20000"
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--model", help="the model or alias that is asked for (none)")
        parser.add_argument(
            "--surface", default="openai", help="the way in, /olla/SURFACE/ (openai, which is also /v1/)"
        )
        parser.add_argument("--session", help="the request's X-Olla-Session-ID")
        parser.add_argument("--tools", action="store_true", help="it brings tools")
        parser.add_argument("--images", action="store_true", help="it brings images")
        parser.add_argument("--tokens", type=int, default=0, help="about how long its prompt is")
        parser.add_argument("--json", action="store_true", help="print JSON")

    def handle(self, *_args: Any, model: str | None, surface: str, **options: Any) -> None:
        asked = Request(
            _surface(surface), model, options["tools"], options["images"], max(0, options["tokens"])
        )
        latest = Revision.objects.first()
        install(routing_table.build(latest.routing if latest else 0))
        said = options["session"] or ""
        session = shared_session(said, model) if said else None
        found = explain(router_from_settings(), asked, session=session, said=said)
        if options["json"]:
            self.stdout.write(json.dumps({**found, "steps": sentences(found)}, indent=2))
        else:
            self.stdout.write("\n".join(_lines(found, asked_for=said, known=session is not None)))
        if found["refusal"]:
            raise CommandError(f"Refused with {found['refusal']['status']} {found['refusal']['code']}.")


def _surface(prefix: str) -> Surface:
    found = surface_for(prefix)
    if found is None:
        raise CommandError(f"There is no way in at /olla/{prefix}/. Try openai, proxy, or a backend type.")
    return found


def _lines(found: Explanation, *, asked_for: str, known: bool) -> Iterator[str]:
    for number, sentence in enumerate(sentences(found), 1):
        yield f"{number}. {sentence}"
    if asked_for and not known:
        yield f"   {_unknown_session()}"
    yield "Endpoints:"
    for endpoint in found["endpoints"]:
        mark = "+" if endpoint["candidate"] else "-"
        yield f"  {mark} {endpoint['name']} (priority {endpoint['priority']}): {endpoint['reason']}"


def _unknown_session() -> str:
    if not settings.OLLA_STICKY_SESSIONS:
        return "Sessions do not matter: OLLA_STICKY_SESSIONS is off."
    return "Where the session is, is known to the web process only: its page of the model tells."
