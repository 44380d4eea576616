"""The dashboard: the page, the part of it that changes, for whoever has no live channel, and the buttons."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, render, resolve_url
from django.utils.cache import get_conditional_response, patch_cache_control
from django.utils.translation import get_language
from django.views.decorators.http import require_POST, require_safe

from endpoints.models import Endpoint
from endpoints.pages import fleet_view
from endpoints.pages.buttons import BUTTONS, press
from endpoints.pages.filters import asked_for
from endpoints.pages.fleet_view import may_act
from ollaproject.wire.roles import needs, sees_fleet

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.http import HttpRequest

    from endpoints.pages.fleet_view import Reader


@require_safe
@needs(sees_fleet)
def page(request: HttpRequest) -> HttpResponse:
    response = render(request, "endpoints/dashboard.html", fleet(request))
    patch_cache_control(response, private=True, no_store=True)
    return response


def fleet_version(request: HttpRequest) -> str:
    return fleet_view.version(reader_of(request), fleet_view.state())


def current_fragment(request: HttpRequest) -> HttpResponse:
    """The fleet as the reader may see it."""
    reader, seen = reader_of(request), fleet_view.state()
    etag = fleet_view.version(reader, seen)
    if (unchanged := get_conditional_response(request, etag=etag)) is not None:
        return unchanged
    drawing = fleet_view.current(reader, asked_for(request.GET), seen)
    response = HttpResponse(drawing.html, headers={"ETag": drawing.etag})
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


def reader_of(request: HttpRequest) -> Reader:
    return fleet_view.reader_of(request.user, get_language() or settings.LANGUAGE_CODE)


def fleet(request: HttpRequest) -> dict[str, Any]:
    """What the page's template shows."""
    return fleet_view.content(reader_of(request), asked_for(request.GET), fleet_view.state())
