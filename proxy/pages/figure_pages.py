"""The live figures of the dashboard as JSON, for a page that has no live channel."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.http import JsonResponse
from django.utils.cache import patch_cache_control
from django.views.decorators.http import require_safe

from ollaproject.wire.roles import needs, sees_fleet
from proxy.records import pulse

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse


@require_safe
@needs(sees_fleet)
def figures(request: HttpRequest) -> HttpResponse:  # noqa: ARG001
    response = JsonResponse(pulse.current())
    patch_cache_control(response, private=True, no_store=True)
    return response
