"""The pages of models: the catalogue of the fleet, and one model with where a request for it would go now."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.shortcuts import render
from django.utils.cache import patch_cache_control
from django.views.decorators.http import require_safe

from endpoints.routing.snapshot import install, snapshot
from ollaproject.wire.roles import needs, sees_fleet
from proxy.request.paths import openai_surface
from proxy.routing.explain import Request, explain, router_from_settings
from proxy.routing.explain_words import sentences
from proxy.routing.session_lookup import session_in
from proxy.routing.tables import current_table
from proxy.status import catalogue

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse

    from proxy.routing.explain import Explanation
    from proxy.status.catalogue import Model

MAX_LENGTH = 300
MAX_TOKENS_DIGITS = 7


@require_safe
@needs(sees_fleet)
def listing(request: HttpRequest) -> HttpResponse:
    table = current_table()
    every = catalogue.models(table, catalogue.used())
    wanted = request.GET.get("q", "").strip()[:MAX_LENGTH]
    capability = request.GET.get("can", "").strip()
    shown = [model for model in every if fits(model, wanted, capability)]
    context: dict[str, Any] = {
        "families": catalogue.families(shown),
        "total": len(every),
        "shown": len(shown),
        "served": sum(model.served_now for model in every),
        "aliases": catalogue.aliases(table),
        "wanted": wanted,
        "capability": capability,
        "capabilities": sorted({word for model in every for word in model.capabilities}),
        "days": catalogue.DAYS,
    }
    response = render(request, "proxy/models.html", context)
    patch_cache_control(response, private=True, no_store=True)
    return response


def fits(model: Model, wanted: str, capability: str) -> bool:
    names = (model.name, *model.aliases)
    return any(wanted.casefold() in name.casefold() for name in names) and (
        not capability or capability in model.capabilities
    )


@require_safe
@needs(sees_fleet)
def detail(request: HttpRequest, name: str) -> HttpResponse:
    """A model or an alias. One that nobody has gets a page too: it says why a request would be refused."""
    table = current_table()
    if snapshot().revision < 0:
        install(table)  # routing explains itself by this process's table
    found = next((each for each in catalogue.models(table, catalogue.used()) if each.name == name), None)
    explanation = _explained(request, name)
    names = set(explanation["alias"]) | {name}
    holders = {target.name for target in table.targets if target.model_names & names}
    steps = explanation["endpoints"]
    concerned = [step for step in steps if step["candidate"] or step["name"] in holders]
    context: dict[str, Any] = {
        "name": name,
        "model": found,
        "explanation": explanation,
        "steps": sentences(explanation),
        "asked": request.GET,
        "sticky": settings.OLLA_STICKY_SESSIONS,
        "concerned": concerned,
        "others": [step for step in steps if step not in concerned],
        "endpoint_ids": {target.name: target.id for target in table.targets},
        "days": catalogue.DAYS,
    }
    known = found is not None or explanation["alias"]
    response = render(request, "proxy/model.html", context, status=200 if known else 404)
    patch_cache_control(response, private=True, no_store=True)
    return response


def _explained(request: HttpRequest, name: str) -> Explanation:
    """By what the page's form says of the request."""
    given = request.GET
    tokens = given.get("tokens", "")
    asked = Request(
        openai_surface(),
        name,
        tools="tools" in given,
        images="images" in given,
        tokens=int(tokens) if tokens.isdecimal() and len(tokens) <= MAX_TOKENS_DIGITS else 0,
    )
    said = given.get("session", "").strip()[:MAX_LENGTH]
    session = None
    if said and settings.OLLA_STICKY_SESSIONS:
        from proxy.routes import gateway  # noqa: PLC0415 - that of this web process

        if gateway.sticky is not None:
            session = session_in(gateway.sticky, said, name)
    return explain(router_from_settings(), asked, session=session, said=said)
