"""The pages of requests: a list that can be searched and followed, and one request with all that is known.

Whoever may view requests sees everyone's; everybody else their own. Prompts and answers are not kept, so no
page shows any.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from django.contrib.auth.decorators import login_required
from django.shortcuts import render
from django.utils.cache import patch_cache_control
from django.views.decorators.http import require_safe

from endpoints.models import Endpoint, EndpointModel
from ollaproject.wire import roles
from proxy.models import Came, RequestRecord
from proxy.request_search import SPANS, asked_for, page_of

if TYPE_CHECKING:
    from datetime import datetime

    from django.contrib.auth.models import AnonymousUser, User
    from django.http import HttpRequest, HttpResponse

NAMESAKES_SHOWN: Final = 20
SPAN_WORDS: Final = {"1h": "the last hour", "24h": "the last 24 h", "7d": "the last 7 days"}


@dataclass(frozen=True, slots=True)
class Step:
    """One attempt of a request. Times in milliseconds; None in rows from before these were kept."""

    endpoint: str
    reason: str
    waited_ms: float | None
    lasted_ms: float | None


def seen_by(user: User | AnonymousUser) -> int | None:
    """Whose requests this person may see: their own, None for everyone's."""
    return None if roles.sees_all_requests(user) else user.pk


@require_safe
@login_required
def listing(request: HttpRequest) -> HttpResponse:
    search = asked_for(request.GET, user_id=seen_by(request.user))
    before, after = request.GET.get("before", ""), request.GET.get("after", "")
    page = page_of(search, before=before, after=after)
    context: dict[str, Any] = {
        "page": page,
        "search": search,
        "everyone": search.user_id is None,
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
    own = seen_by(request.user)
    if own is not None:
        rows = rows.filter(user_id=own)
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
    }
    response = render(request, "proxy/request.html", context)
    patch_cache_control(response, private=True, no_store=True)
    return response


def steps(row: RequestRecord) -> list[Step]:
    found = []
    for endpoint, reason, *times in row.attempts:
        waited, lasted = times if len(times) == 2 else (None, None)  # noqa: PLR2004 - waited and lasted
        found.append(Step(endpoint, reason or "", waited, lasted))
    return found


def began_at(row: RequestRecord) -> datetime:
    return row.at - timedelta(milliseconds=row.duration_ms)


def sentence(row: RequestRecord) -> str:
    """What came of it, in words."""
    failed = [step.endpoint for step in steps(row) if step.reason]
    after = f" after {' and '.join(failed)} had failed" if failed and row.outcome == Came.OK else ""
    words = {
        Came.OK: f"{row.endpoint or 'The gateway itself'} answered{after}.",
        Came.LEFT: "The client left before the end.",
        Came.REFUSED: f"It was refused with {row.status}{f' by {row.endpoint}' if row.endpoint else ''}.",
        Came.FAILED: "The answer was cut." if row.status == HTTPStatus.OK else "No endpoint answered it.",
    }
    return words.get(Came(row.outcome), "") if row.outcome else ""
