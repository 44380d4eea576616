"""The incidents of the whole fleet, the newest first."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from django.core.paginator import Paginator
from django.shortcuts import render
from django.utils.cache import patch_cache_control
from django.views.decorators.http import require_safe

from endpoints.models import Endpoint
from endpoints.past import archive, history
from ollaproject.wire.clock import now
from ollaproject.wire.roles import needs, sees_fleet

if TYPE_CHECKING:
    from datetime import datetime

    from django.http import HttpRequest, HttpResponse

    from endpoints.past.history import Incident

SHOWN: Final = timedelta(days=90)
PER_PAGE: Final = 50


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of the timeline."""

    endpoint_id: int
    name: str
    incident: Incident


@require_safe
@needs(sees_fleet)
def page(request: HttpRequest) -> HttpResponse:
    at = now()
    entries = Paginator(timeline(at), PER_PAGE).get_page(request.GET.get("page"))
    response = render(request, "endpoints/incidents.html", {"entries": entries, "days": SHOWN.days, "at": at})
    patch_cache_control(response, private=True, no_store=True)
    return response


def timeline(at: datetime) -> list[Entry]:
    """Every incident that lasted into the time shown. Three queries."""
    names = dict(Endpoint.objects.values_list("pk", "name"))
    entries = [
        Entry(endpoint_id, names[endpoint_id], incident)
        for endpoint_id, flips in archive.flips(names, since=at - SHOWN).items()
        for incident in history.incidents(flips)
        if incident.end is None or incident.end > at - SHOWN
    ]
    return sorted(entries, key=lambda entry: (entry.incident.start, entry.endpoint_id), reverse=True)
