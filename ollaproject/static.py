"""Static files under ASGI, by WhiteNoise.

Its own response is an iterator of blocking reads, which Django under ASGI collects into memory before it
sends the first byte, and warns about at every file. Ours are small: they are read at once and sent whole.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.http import HttpResponse
from whitenoise.middleware import WhiteNoiseMiddleware

if TYPE_CHECKING:
    from django.http import HttpRequest
    from whitenoise.responders import StaticFile


class StaticFilesMiddleware(WhiteNoiseMiddleware):  # type: ignore[misc]
    """Answers the URLs of static files, and hands every other request on."""

    @staticmethod
    def serve(static_file: StaticFile, request: HttpRequest) -> HttpResponse:
        found = static_file.get_response(request.method, request.META)
        content = b""
        if found.file is not None:
            with found.file:
                content = found.file.read()
        response = HttpResponse(content, status=int(found.status))
        del response["Content-Type"]  # WhiteNoise has its own, and none for 304
        for name, value in found.headers:
            response[name] = value
        return response
