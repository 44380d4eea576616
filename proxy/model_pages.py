"""The pages of models: the catalogue of the fleet, and one model with where a request for it would go now."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.shortcuts import render
from django.utils.cache import patch_cache_control
from django.views.decorators.http import require_safe

from endpoints.snapshot import install, snapshot
from endpoints.strategies import STRATEGIES
from ollaproject.wire.roles import needs, sees_fleet
from proxy import catalogue
from proxy.explain import explain
from proxy.paths import openai_surface
from proxy.routing import Router
from proxy.tables import current_table

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse

    from proxy.catalogue import Model

MAX_LENGTH = 300


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
        "aliases": catalogue.exact_aliases(table),
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
    explanation = explain(router(), openai_surface(), name)
    names = set(explanation["alias"]) | {name}
    holders = {target.name for target in table.targets if target.model_names & names}
    steps = explanation["endpoints"]
    concerned = [step for step in steps if step["candidate"] or step["name"] in holders]
    context: dict[str, Any] = {
        "name": name,
        "model": found,
        "explanation": explanation,
        "concerned": concerned,
        "others": [step for step in steps if step not in concerned],
        "strategy": settings.OLLA_LOAD_BALANCER,
        "endpoint_ids": {target.name: target.id for target in table.targets},
        "days": catalogue.DAYS,
    }
    known = found is not None or explanation["alias"]
    response = render(request, "proxy/model.html", context, status=200 if known else 404)
    patch_cache_control(response, private=True, no_store=True)
    return response


def router() -> Router:
    """The rules by which this gateway routes, without what only its own requests have taught it."""
    return Router(
        STRATEGIES[settings.OLLA_LOAD_BALANCER](),
        mode=settings.OLLA_ROUTING_STRATEGY,
        fallback=settings.OLLA_ROUTING_FALLBACK,
    )
