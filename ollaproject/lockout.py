"""What an address sees that has failed to sign in too often (django-axes counts)."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from axes.attempts import get_cool_off_threshold
from axes.models import AccessAttempt
from django.conf import settings
from django.shortcuts import render

from ollaproject.forwarded import address_of
from ollaproject.wire import clock

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse


def page(request: HttpRequest, _original: HttpResponse | None, _credentials: Any) -> HttpResponse:
    """429 with a Retry-After that is true. The right password opens nothing before that, either."""
    seconds = _seconds_left(request)
    response = render(
        request,
        "registration/locked_out.html",
        {"minutes": -(-seconds // 60)},
        status=HTTPStatus.TOO_MANY_REQUESTS,
    )
    response["Retry-After"] = str(seconds)
    return response


def _seconds_left(request: HttpRequest) -> int:
    """Until the attempts of this address are forgotten. Attempts meanwhile do not prolong it."""
    recent = AccessAttempt.objects.filter(
        ip_address=address_of(request), attempt_time__gt=get_cool_off_threshold(request)
    )
    newest = recent.order_by("-attempt_time").values_list("attempt_time", flat=True).first()
    whole = settings.AXES_COOLOFF_TIME.total_seconds()
    passed = (clock.now() - newest).total_seconds() if newest else 0.0
    return max(1, int(whole - passed))
