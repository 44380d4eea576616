"""The page of one endpoint: how long it was up, its incidents, its last checks, and what it is set to."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from django.http import HttpResponse
from django.shortcuts import get_object_or_404, render, resolve_url
from django.utils.cache import patch_cache_control
from django.utils.translation import gettext
from django.views.decorators.http import condition, require_POST, require_safe

from endpoints.models import Endpoint, HealthCheck
from endpoints.pages import dashboard, fleet_view
from endpoints.pages.charts import SPANS as SPANS_OF_CHARTS
from endpoints.pages.drawings import drawings
from endpoints.pages.live_hub import count_down
from endpoints.pages.overview import card_of, counted
from endpoints.past import archive, history, latency
from ollaproject.wire import roles
from ollaproject.wire.clock import now
from ollaproject.wire.roles import needs, sees_fleet
from ollaproject.wire.socket_urls import shown
from ollaproject.wire.time_words import exact_span

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from django.http import HttpRequest

    from endpoints.past.history import Flip

SPANS: Final = (
    ("24 h", timedelta(days=1)),
    ("7 d", timedelta(days=7)),
    ("30 d", timedelta(days=30)),
    ("90 d", timedelta(days=90)),
)
LONGEST_SPAN: Final = SPANS[-1][1]
INCIDENTS_SHOWN: Final = 20
CHECKS_SHOWN: Final = 20


@require_safe
@needs(sees_fleet)
def page(request: HttpRequest, endpoint_id: int) -> HttpResponse:
    shown = content(request, found(endpoint_id))
    response = render(request, "endpoints/endpoint.html", shown)
    patch_cache_control(response, private=True, no_store=True)
    return response


def version(request: HttpRequest, endpoint_id: int) -> str:
    seen = f"{dashboard.fleet_version(request)} {endpoint_id} {may_see_settings(request)}"
    return f'W/"{hashlib.sha256(seen.encode()).hexdigest()[:20]}"'


@condition(etag_func=version)
def current_fragment(request: HttpRequest, endpoint_id: int) -> HttpResponse:
    if not Endpoint.objects.filter(pk=endpoint_id).exists():
        # It was deleted while the page was open.
        return HttpResponse(status=404, headers={"HX-Redirect": resolve_url("dashboard")})
    response = show(request, endpoint_id)
    patch_cache_control(response, private=True, no_cache=True)
    return response


@require_safe
def fragment(request: HttpRequest, endpoint_id: int) -> HttpResponse:
    """What the page shows, alone. Someone who was signed out meanwhile is sent to the sign-in page."""
    return dashboard.refusal(request) or current_fragment(request, endpoint_id)


@require_POST
def act(request: HttpRequest, endpoint_id: int, action: str) -> HttpResponse:
    """Do what a button says, then show the endpoint as it is now."""
    return dashboard.pressed(request, endpoint_id, action, show=lambda: show(request, endpoint_id))


def show(request: HttpRequest, endpoint_id: int) -> HttpResponse:
    return render(request, "endpoints/_endpoint.html", content(request, found(endpoint_id)))


def found(endpoint_id: int) -> Endpoint:
    rows = Endpoint.objects.select_related("health").prefetch_related("models")
    return get_object_or_404(rows, pk=endpoint_id)


def may_see_settings(request: HttpRequest) -> bool:
    return roles.enters_admin(request.user) and request.user.has_perm(roles.SEE_ENDPOINTS)


def content(request: HttpRequest, endpoint: Endpoint) -> dict[str, Any]:
    """What the fragment's template shows."""
    at = now()
    flips = archive.flips([endpoint.pk], since=at - LONGEST_SPAN).get(endpoint.pk, [])
    seconds = latency.series(at).get(endpoint.pk, [])
    card = card_of(
        endpoint,
        **fleet_view.defaults_of_type(endpoint.type),
        drawn=drawings(flips, seconds, at=at),
    )
    return {
        "card": card,
        "spans": uptimes(flips, at=at),
        "incidents": history.incidents(flips)[:INCIDENTS_SHOWN],
        "checks": HealthCheck.objects.filter(endpoint=endpoint)[:CHECKS_SHOWN],
        "settings": settings_of(endpoint, priority=card.priority) if may_see_settings(request) else [],
        "down": count_down(),
        "spoken": counted([card]),
        "may_act": fleet_view.may_act(request.user),
        "checks_stopped_at": fleet_view.checks_stopped_at(),
        **charts_of(endpoint),
        "may_try": roles.calls_models(request.user),
        "press_as": "endpoint-page-action",
        "press_query": "",
    }


def charts_of(endpoint: Endpoint) -> dict[str, Any]:
    """The charts' addresses and words. TTFT is the gateway's to tell, hence by URL."""
    return {
        "chart_spans": SPANS_OF_CHARTS,
        "latency_words": {
            "heading": gettext("Latency of health checks"),
            "url": resolve_url("endpoint-latency", endpoint.pk),
            "first": gettext("Mean"),
            "second": gettext("Longest"),
            "none": gettext("No check has been answered in this time."),
        },
        "first_byte_words": {
            "heading": gettext("Time to first token"),
            "url": resolve_url("endpoint-first-byte", endpoint.pk),
            "first": "p50",
            "second": "p95",
            "none": gettext("No request went through it in this time."),
        },
    }


def uptimes(flips: Sequence[Flip], *, at: datetime) -> list[tuple[str, str]]:
    past = history.stretches(flips, start=at - LONGEST_SPAN, end=at)
    return [(name, history.uptime(past, start=at - span, end=at).words) for name, span in SPANS]


def settings_of(endpoint: Endpoint, *, priority: int) -> list[tuple[str, str]]:
    """What was configured, without secrets: headers by their names alone. Empty fields are left out."""
    interval = exact_span(endpoint.check_interval_seconds)
    timeout = exact_span(endpoint.check_timeout_seconds)
    deep = endpoint.deep_check_interval_seconds
    pairs = [
        ("URL", endpoint.shown_url),
        (gettext("Backend type"), endpoint.type),
        (gettext("Priority"), str(priority)),
        (gettext("Weight"), str(endpoint.weight)),
        (
            gettext("Checked every"),
            gettext("{interval}, for at most {timeout}").format(interval=interval, timeout=timeout),
        ),
        (gettext("Deep check every"), exact_span(deep) if deep else ""),
        (gettext("Health check"), shown(endpoint.health_check_url.partition("?")[0])),
        (gettext("List of models"), shown(endpoint.model_url.partition("?")[0])),
        (gettext("Only models"), ", ".join(endpoint.model_include)),
        (gettext("Not models"), ", ".join(endpoint.model_exclude)),
        (gettext("Requests at once"), str(endpoint.max_concurrent or "")),
        (gettext("Authentication"), endpoint.get_auth_kind_display()),
        (gettext("Headers"), ", ".join(endpoint.headers)),
    ]
    return [(name, value) for name, value in pairs if value]
