"""What the page of an endpoint shows of the requests through it: who is on it now, the last ones, and TTFT.

Whoever may see everyone's requests sees who is on it; everybody else how many, and the rows that are theirs.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from django.conf import settings
from django.shortcuts import get_object_or_404, render
from django.utils.cache import patch_cache_control
from django.views.decorators.http import require_safe

from endpoints.models import Endpoint
from endpoints.pages.charts import SPANS, Chart, chart_view
from ollaproject.wire.clock import now
from ollaproject.wire.roles import needs, sees_fleet
from proxy.models import RequestRecord
from proxy.pages.request_search import Search, page_of, whose
from proxy.records import shared_counts

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse

    from proxy.records.shared_counts import Guest

ROWS_SHOWN: Final = 10
GUESTS_SHOWN: Final = 20
# Percentiles of a busy endpoint are of its newest answers.
TIMES_READ: Final = 20_000
STEPS: Final = {"24h": 1800, "7d": 6 * 3600, "30d": 24 * 3600, "90d": 3 * 24 * 3600}  # seconds


@require_safe
@needs(sees_fleet)
def traffic(request: HttpRequest, endpoint_id: int) -> HttpResponse:
    endpoint = get_object_or_404(Endpoint, pk=endpoint_id)
    seen = whose(request.user)
    there = guests(endpoint.pk)
    context = {
        "name": endpoint.name,
        "rows": page_of(Search(endpoint=endpoint.name, whose=seen)).rows[:ROWS_SHOWN],
        "everyone": seen is None,
        "number": len(there) if settings.OLLA_SHARED_COUNTS else None,
        "guests": [(guest, datetime.fromtimestamp(guest["since"], UTC)) for guest in there[:GUESTS_SHOWN]]
        if seen is None
        else [],
    }
    response = render(request, "proxy/_endpoint_traffic.html", context)
    patch_cache_control(response, private=True, no_store=True)
    return response


def guests(endpoint_id: int) -> list[Guest]:
    """Who is on an endpoint now, in any process, who came first first."""
    there = shared_counts.present(now()).guests
    return sorted((each for each in there if each["endpoint"] == endpoint_id), key=lambda each: each["since"])


def half_and_most(endpoint: Endpoint, span: str) -> Chart:
    """The median time to a stream's first token in each step, and what 95 of 100 were faster than. One query.

    An answer in one piece begins when it is finished: that is no time to a first token.
    """
    step = STEPS[span]
    length: timedelta = SPANS[span][0]
    begin = int((now() - length).timestamp()) // step
    rows = RequestRecord.objects.filter(
        endpoint=endpoint.name, at__gte=now() - length, stream=True, ttft_ms__isnull=False
    )
    times: dict[int, list[float]] = {}
    for at, ttft in rows.order_by("-at").values_list("at", "ttft_ms")[:TIMES_READ]:
        if ttft is not None:
            times.setdefault(int(at.timestamp()) // step, []).append(ttft)
    places = range(begin, int(now().timestamp()) // step + 1)
    found = [sorted(times.get(place, ())) for place in places]
    return {
        "at": [place * step for place in places],
        "lines": [[at_share(each, share) for each in found] for share in (0.5, 0.95)],
    }


first_byte = chart_view(half_and_most)


def at_share(times: list[float], share: float) -> float | None:
    return round(times[min(len(times) - 1, int(len(times) * share))], 1) if times else None
