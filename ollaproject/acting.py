"""Middleware: a signed-in person is who acts while their request is answered."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ollaproject.wire.acting import Actor, acting

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.http import HttpRequest, HttpResponse

PLACES = (("/admin/", "admin"), ("/api/", "REST API"))


class ActingMiddleware:
    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        place = next((word for prefix, word in PLACES if request.path.startswith(prefix)), "page")

        def whoever() -> Actor:
            # REST framework signs in by key, and then says so on this request too.
            return Actor(request.user.get_username() or "anonymous", place)

        with acting(whoever):
            return self._get_response(request)
