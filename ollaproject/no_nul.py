"""Middleware: refuses URLs with a NUL. Nothing is called so, and PostgreSQL fails at the question."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from django.core.exceptions import BadRequest
from django.http import HttpResponse, JsonResponse

from ollaproject.wire.openai_errors import ApiError

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.http import HttpRequest

NUL, ENCODED = "\0", "%00"
MESSAGE = "The URL holds a NUL, which stands in no name."


class NoNulMiddleware:
    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if NUL not in request.path and ENCODED not in request.META.get("QUERY_STRING", ""):
            return self._get_response(request)
        if not request.path.startswith("/api/"):
            raise BadRequest(MESSAGE)
        error = ApiError(HTTPStatus.BAD_REQUEST, "invalid_url", MESSAGE)
        return JsonResponse(error.body(), status=error.status)
