"""The pages of requests: a list that can be searched and followed, and one request with all that is known.

Whoever may view requests sees everyone's, a lead their teams', everybody else their own. Prompts and answers
are shown only where a key keeps them, and only to its owner or by permission.
"""

from __future__ import annotations

from datetime import timedelta
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Any, Final

from django.contrib.auth.decorators import login_required
from django.shortcuts import render
from django.utils.cache import patch_cache_control
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_safe

from endpoints.models import Endpoint, EndpointModel
from proxy.models import ApiKey, Came, RequestRecord
from proxy.pages.request_search import SPANS, asked_for, page_of, whose
from proxy.pages.request_words import decision, sentence, steps, what_limited
from proxy.records import kept_bodies

if TYPE_CHECKING:
    from datetime import datetime

    from django.http import HttpRequest, HttpResponse

NAMESAKES_SHOWN: Final = 20
SPAN_WORDS: Final = {"1h": _("the last hour"), "24h": _("the last 24 h"), "7d": _("the last 7 days")}


@require_safe
@login_required
def listing(request: HttpRequest) -> HttpResponse:
    search = asked_for(request.GET, whose=whose(request.user))
    before, after = request.GET.get("before", ""), request.GET.get("after", "")
    page = page_of(search, before=before, after=after)
    context: dict[str, Any] = {
        "page": page,
        "search": search,
        "everyone": search.whose is None,
        "others": search.whose is None or len(search.whose) > 1,
        "newest": not (before or after),
    }
    if request.GET.get("part") == "rows":
        response = render(request, "proxy/_request_rows.html", context)
    else:
        response = render(request, "proxy/requests.html", context | choices())
    patch_cache_control(response, private=True, no_store=True)
    return response


def choices() -> dict[str, Any]:
    """What the filters offer. Two queries."""
    return {
        "models": EndpointModel.objects.order_by("name").values_list("name", flat=True).distinct(),
        "endpoints": Endpoint.objects.order_by("name").values_list("name", flat=True),
        "outcomes": Came.choices,
        "spans": [(span, SPAN_WORDS[span]) for span in SPANS],
    }


@require_safe
@login_required
def detail(request: HttpRequest, request_id: str) -> HttpResponse:
    """The newest request of this id: a client may have chosen it, and chosen it again."""
    rows = RequestRecord.objects.filter(request_id=request_id).order_by("-at", "-id")
    seen = whose(request.user)
    if seen is not None:
        rows = rows.filter(reduce(or_, seen))
    found = list(rows[:NAMESAKES_SHOWN])
    if not found:
        return render(request, "proxy/request_missing.html", {"request_id": request_id}, status=404)
    chosen = next((row for row in found if str(row.pk) == request.GET.get("row")), found[0])
    context = {
        "row": chosen,
        "namesakes": [row for row in found if row != chosen],
        "steps": steps(chosen),
        "endpoint_ids": dict(Endpoint.objects.values_list("name", "pk")),
        "began_at": began_at(chosen),
        "sentence": sentence(chosen),
        "decision": decision(chosen),
        "limit": what_limited(chosen),
        "kept": kept_bodies.of(chosen, request.user),
        "keeping": chosen.key_id and ApiKey.objects.filter(pk=chosen.key_id, keep_bodies=True).exists(),
    }
    response = render(request, "proxy/request.html", context)
    patch_cache_control(response, private=True, no_store=True)
    return response


def began_at(row: RequestRecord) -> datetime:
    return row.at - timedelta(milliseconds=row.duration_ms)
