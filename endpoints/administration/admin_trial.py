"""“Test connection” in the admin's form: what is typed is asked as it would be, and nothing is stored."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from django.core.exceptions import PermissionDenied
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, render
from django.utils.cache import patch_cache_control

from endpoints.administration.forms import EndpointForm
from endpoints.choices import Status
from endpoints.health.checking import check
from endpoints.health.probe import Checker
from endpoints.models import Endpoint
from endpoints.pages.overview import latency_ms
from endpoints.profiles import profile

if TYPE_CHECKING:
    from django.contrib.admin import ModelAdmin
    from django.http import HttpRequest

    from endpoints.health.findings import Finding

MODELS_SHOWN: Final = 20
# A connection can be tested before the endpoint has been given its name.
NOT_NEEDED: Final = frozenset({"name"})


def trial(request: HttpRequest, model_admin: ModelAdmin[Endpoint]) -> HttpResponse:
    """What the endpoint of the form answers, or what is wrong with the form, as a piece of the page."""
    if request.method != "POST":
        return HttpResponse(status=405, headers={"Allow": "POST"})
    number = request.POST.get("endpoint", "")
    stored = get_object_or_404(Endpoint, pk=int(number)) if number.isdigit() else None
    allowed = (
        model_admin.has_change_permission(request, stored)
        if stored
        else model_admin.has_add_permission(request)
    )
    if not allowed:
        raise PermissionDenied
    response = render(request, "admin/endpoints/endpoint/_trial.html", outcome(request, stored))
    patch_cache_control(response, private=True, no_store=True)
    return response


def outcome(request: HttpRequest, stored: Endpoint | None) -> dict[str, Any]:
    """What the template shows. Asking takes no longer than the check's own time-out."""
    form = EndpointForm(request.POST, instance=stored)
    mistakes = [
        (form.fields[name].label or name if name in form.fields else "", message)
        for name, messages in form.errors.items()
        if name not in NOT_NEEDED
        for message in messages
    ]
    if mistakes:
        return {"mistakes": mistakes}
    endpoint = form.instance
    finding = asyncio.run(ask(endpoint))
    result = finding.result
    names = [model.name for model in finding.models or ()]
    return {
        "status": result.status,
        "well": result.status == Status.HEALTHY,
        "reason": result.reason,
        "latency_ms": latency_ms(result.latency_seconds) if result.latency_seconds is not None else None,
        "type": profile(endpoint.type).display_name,
        "detected": request.POST.get("type") != endpoint.type,
        "models": names[:MODELS_SHOWN],
        "more": max(0, len(names) - MODELS_SHOWN),
        "reply": result.reply if result.status != Status.HEALTHY else "",
    }


async def ask(endpoint: Endpoint) -> Finding:
    async with Checker() as checker:
        return await check(checker, endpoint, with_models=True)
