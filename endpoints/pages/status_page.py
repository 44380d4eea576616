"""The status page for everyone who has its link: whether models are served, and how it was; and its badges.

It names no endpoint, no address and no reason. What it shows is worked out once in a few seconds, however
many look.
"""

from __future__ import annotations

import secrets
import threading
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from django.core.cache import cache
from django.http import Http404, HttpResponse, JsonResponse
from django.shortcuts import render
from django.utils.cache import patch_cache_control
from django.utils.translation import get_language, gettext
from django.views.decorators.http import require_safe

from endpoints.choices import ROUTABLE, SET_ASIDE, Status
from endpoints.models import Endpoint, EndpointModel
from endpoints.pages import drawings
from endpoints.past import archive, history
from endpoints.past.history import Flip, Kind
from endpoints.status_page_row import StatusPage
from ollaproject.wire.clock import now

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from django.http import HttpRequest

    from endpoints.past.history import Incident

FRESH_SECONDS: Final = 5
PAST: Final = timedelta(days=90)
SPANS: Final = (("24 h", timedelta(days=1)), ("7 d", timedelta(days=7)), ("90 d", PAST))
OUTAGES_SHOWN: Final = 10
# What a badge is painted in: names that shields.io knows, and what they look like.
COLOURS: Final = {
    "up": ("brightgreen", "#1a7f37"),
    "partly": ("yellow", "#9a6700"),
    "down": ("red", "#cf222e"),
}
LETTER_WIDTH: Final = 7  # pixels of the badge's font, about
SIDE: Final = 10


@dataclass(frozen=True, slots=True)
class Shown:
    """What the page says. `state` is up, partly (some serve) or down."""

    state: str
    uptimes: tuple[tuple[str, str], ...]
    bar: drawings.Bar
    outages: tuple[Incident, ...]
    models: tuple[tuple[str, bool], ...]
    at: datetime

    @property
    def words(self) -> str:
        return {
            "up": gettext("All is well"),
            "partly": gettext("Serving, with less capacity"),
            "down": gettext("Not serving"),
        }[self.state]


def together(flips: Iterable[tuple[int, Flip]]) -> list[Flip]:
    """The flips of many endpoints as those of one service: up while any is, down while some are."""
    kinds: dict[int, Kind] = {}
    found: list[Flip] = []
    before = Status.UNKNOWN
    for endpoint_id, flip in sorted(flips, key=lambda each: each[1].at):
        kinds[endpoint_id] = flip.kind
        values = kinds.values()
        after = (
            Status.HEALTHY if Kind.UP in values else Status.OFFLINE if Kind.DOWN in values else Status.UNKNOWN
        )
        if after != before:
            found.append(Flip(flip.at, before, after))
            before = after
    return found


_reading = threading.Lock()


def current(page: StatusPage) -> Shown:
    """What there is to show, at most FRESH_SECONDS old. Of many who want it at once, one reads it."""
    key = f"status-page:{page.shows_models}"
    with _reading:
        shown: Shown | None = cache.get(key)
        if shown is None:
            shown = read(page, now())
            cache.set(key, shown, FRESH_SECONDS)
        return shown


def read(page: StatusPage, at: datetime) -> Shown:
    """Four queries, five with models."""
    active = Endpoint.objects.exclude(mode__in=SET_ASIDE)
    states = list(active.values_list("health__status", flat=True))
    serving = sum(status in ROUTABLE for status in states)
    ids = list(Endpoint.objects.values_list("pk", flat=True))
    of_each = archive.flips(ids, since=at - PAST)
    flips = together((pk, flip) for pk, each in of_each.items() for flip in each)
    past = history.stretches(flips, start=at - PAST, end=at)
    return Shown(
        state="down" if not serving else "up" if serving == len(states) else "partly",
        uptimes=tuple((name, history.uptime(past, start=at - span, end=at).words) for name, span in SPANS),
        bar=drawings.bar(flips, at=at),
        outages=tuple(history.incidents(flips)[:OUTAGES_SHOWN]),
        models=models_of() if page.shows_models else (),
        at=at,
    )


def models_of() -> tuple[tuple[str, bool], ...]:
    """Each model, and whether any endpoint serves it now."""
    rows = EndpointModel.objects.values_list("name", "endpoint__mode", "endpoint__health__status")
    served: dict[str, bool] = {}
    for name, mode, status in rows:
        served[name] = served.get(name, False) or (mode == "active" and status in ROUTABLE)
    return tuple(sorted(served.items(), key=lambda each: each[0].casefold()))


def found(token: str) -> StatusPage:
    """The page of this link. Raises Http404 when it is switched off, or the link is another."""
    page = StatusPage.objects.filter(pk=StatusPage.SINGLETON, enabled=True).first()
    if page is None or not secrets.compare_digest(page.token.encode(), token.encode()):
        raise Http404
    return page


def public(response: HttpResponse) -> HttpResponse:
    """Nobody learns the link from where its reader goes next, or from a search."""
    response["Referrer-Policy"] = "no-referrer"
    response["X-Robots-Tag"] = "noindex, nofollow"
    patch_cache_control(response, public=True, max_age=FRESH_SECONDS)
    return response


@require_safe
def show(request: HttpRequest, token: str) -> HttpResponse:
    page = found(token)
    return public(render(request, "endpoints/status_page.html", {"page": page, "shown": current(page)}))


@require_safe
def badge_json(request: HttpRequest, token: str) -> HttpResponse:  # noqa: ARG001
    """In the form that shields.io reads from an endpoint, with more beside it."""
    page = found(token)
    shown = current(page)
    return public(
        JsonResponse(
            {
                "schemaVersion": 1,
                "label": page.title,
                "message": shown.words,
                "color": COLOURS[shown.state][0],
                "state": shown.state,
                "uptime": dict(shown.uptimes),
                "at": shown.at.isoformat(timespec="seconds"),
                "language": get_language(),
            }
        )
    )


@require_safe
def badge_svg(request: HttpRequest, token: str) -> HttpResponse:
    page = found(token)
    shown = current(page)
    left, right = (len(words) * LETTER_WIDTH + 2 * SIDE for words in (page.title, shown.words))
    context = {
        "label": page.title,
        "message": shown.words,
        "colour": COLOURS[shown.state][1],
        "left": left,
        "right": right,
        "width": left + right,
        "left_middle": left / 2,
        "right_middle": left + right / 2,
    }
    return public(render(request, "endpoints/badge.svg", context, content_type="image/svg+xml"))
