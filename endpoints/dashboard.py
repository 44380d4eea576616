"""The dashboard: the page, the part of it that is fetched again at every change, and the buttons of staff."""

from __future__ import annotations

import hashlib
import json
import threading
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.core.cache import cache
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, render, resolve_url
from django.template.loader import render_to_string
from django.utils.cache import get_conditional_response, patch_cache_control
from django.utils.translation import get_language, gettext
from django.views.decorators.http import require_POST, require_safe

from endpoints import archive, first_steps, latency, parts
from endpoints.buttons import BUTTONS, press
from endpoints.choices import SET_ASIDE
from endpoints.drawings import DAY, drawings
from endpoints.errors import ProfileError
from endpoints.filters import asked_for, states
from endpoints.models import Endpoint, EndpointHealth, Revision
from endpoints.overview import by_attention, card_of, counted, summary
from endpoints.profiles import profile
from ollaproject.wire import roles
from ollaproject.wire.clock import now
from ollaproject.wire.roles import needs, sees_fleet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime

    from django.contrib.auth.models import AnonymousUser, User
    from django.http import HttpRequest

    from endpoints.overview import Card

# Beat ticks every second and each check has its time-out: one that is this late is not coming.
CHECKS_STOPPED_AFTER = timedelta(seconds=15)
KEPT_SECONDS = 10
_drawing = threading.Lock()


def may_act(user: User | AnonymousUser) -> bool:
    """Whether this person may press the buttons."""
    return user.has_perm(roles.CHANGE_ENDPOINTS)


def may_add(user: User | AnonymousUser) -> bool:
    return roles.enters_admin(user) and user.has_perm("endpoints.add_endpoint")


@require_safe
@needs(sees_fleet)
def page(request: HttpRequest) -> HttpResponse:
    response = render(request, "endpoints/dashboard.html", fleet(request))
    patch_cache_control(response, private=True, no_store=True)
    return response


def fleet_version(request: HttpRequest) -> str:
    """A weak ETag that changes exactly when the fragment would show something else."""
    revision = Revision.objects.filter(pk=Revision.SINGLETON).values_list("routing", "activity").first()
    seen = json.dumps(
        [
            revision,
            checks_stopped_at() is not None,
            may_act(request.user),
            may_add(request.user),
            parts.seen_by(request.user),
            get_language(),
        ]
    )
    return f'W/"{hashlib.sha256(seen.encode()).hexdigest()[:20]}"'


def current_fragment(request: HttpRequest) -> HttpResponse:
    """The fleet as the reader may see it. Of many pages that ask for the same at once, one has it drawn."""
    etag = fleet_version(request)
    if (unchanged := get_conditional_response(request, etag=etag)) is not None:
        return unchanged
    key = f"fleet:{etag}:{asked_for(request.GET).query}"
    with _drawing:
        html = cache.get(key)
        if html is None:
            html = render_to_string("endpoints/_fleet.html", fleet(request), request)
            cache.set(key, html, KEPT_SECONDS)
    response = HttpResponse(html, headers={"ETag": etag})
    patch_cache_control(response, private=True, no_cache=True)
    return response


@require_safe
def fragment(request: HttpRequest) -> HttpResponse:
    """The fleet alone. Someone who was signed out meanwhile is sent to the sign-in page."""
    return refusal(request) or current_fragment(request)


def refusal(request: HttpRequest) -> HttpResponse | None:
    """The answer to whoever may not see the fleet, None when they may. Raises PermissionDenied."""
    if not request.user.is_authenticated:
        return sign_in_first()
    if not sees_fleet(request.user):
        raise PermissionDenied
    return None


def sign_in_first() -> HttpResponse:
    """The answer to an open page whose session has ended: htmx goes where the header says."""
    target = f"{resolve_url('login')}?next={resolve_url('dashboard')}"
    return HttpResponse(status=401, headers={"HX-Redirect": target})


@require_POST
def act(request: HttpRequest, endpoint_id: int, action: str) -> HttpResponse:
    """Do what a button says, then show the fleet as it is now."""
    return pressed(
        request, endpoint_id, action, show=lambda: render(request, "endpoints/_fleet.html", fleet(request))
    )


def pressed(
    request: HttpRequest, endpoint_id: int, action: str, *, show: Callable[[], HttpResponse]
) -> HttpResponse:
    """Do what a button says and answer with what `show` draws; what was done goes beside it as an event."""
    if not request.user.is_authenticated:
        return sign_in_first()
    if not may_act(request.user):
        raise PermissionDenied
    if action not in BUTTONS:
        raise Http404
    said = press(action, [get_object_or_404(Endpoint, pk=endpoint_id)])
    response = show()
    response["HX-Trigger"] = json.dumps({"olla:said": {"text": said}})
    return response


def fleet(request: HttpRequest) -> dict[str, Any]:
    """What the fragment's template shows."""
    rows = Endpoint.objects.select_related("health").prefetch_related("models")
    cards = by_attention(cards_of(rows))
    chosen = asked_for(request.GET)
    return {
        "cards": [card for card in cards if chosen.lets_through(card)],
        "total": len(cards),
        "chosen": chosen,
        "states": states(cards, chosen.status),
        "tags": sorted({tag for card in cards for tag in card.tags} | ({chosen.tag} - {""})),
        "types": sorted({card.type for card in cards} | ({chosen.type} - {""})),
        "press_as": "endpoint-action",
        "press_query": chosen.query,
        "summary": summary(cards) if cards else [],
        # For screen readers: without the times, which would be read out anew every second.
        "spoken": counted(cards) if cards else gettext("No endpoint yet"),
        "down": sum(card.down for card in cards),
        "may_act": may_act(request.user),
        "may_add": may_add(request.user),
        "first_steps": first_steps.left() if may_add(request.user) else [],
        "checks_stopped_at": checks_stopped_at(),
        "parts": parts.shown(request.user),
    }


def cards_of(rows: Iterable[Endpoint]) -> list[Card]:
    """The cards of these rows, which were read with their `health` and `models`, with their last day."""
    found = list(rows)
    at = now()
    flips = archive.flips([row.pk for row in found], since=at - DAY)
    seconds = latency.series(at)
    return [
        card_of(
            row,
            **defaults_of_type(row.type),
            drawn=drawings(flips.get(row.pk, []), seconds.get(row.pk, []), at=at),
        )
        for row in found
    ]


def defaults_of_type(name: str) -> dict[str, int]:
    """What a card takes from its backend type; 0 for a row whose type is no longer known."""
    try:
        found = profile(name)
    except ProfileError:
        return {"default_priority": 0, "default_concurrent": 0}
    return {"default_priority": found.default_priority, "default_concurrent": found.max_concurrent}


def checks_stopped_at() -> datetime | None:
    """Since when a check is overdue for so long that the worker cannot be running, or None."""
    due = EndpointHealth.objects.exclude(endpoint__mode__in=SET_ASIDE).filter(
        next_check_at__lt=now() - CHECKS_STOPPED_AFTER
    )
    return due.order_by("next_check_at").values_list("next_check_at", flat=True).first()
