"""Middleware: who asks, as the trusted proxies before us say it. What others say of that is taken away.

After it, REMOTE_ADDR is the client's address, and X-Forwarded-Proto and -Host can be believed.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from django.conf import settings

from ollaproject.wire.peers import TrustedProxies, network_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from django.http import HttpRequest, HttpResponse

FORWARDED = (
    "HTTP_X_FORWARDED_FOR",
    "HTTP_X_FORWARDED_PROTO",
    "HTTP_X_FORWARDED_HOST",
    "HTTP_X_FORWARDED_PORT",
)


class ForwardedMiddleware:
    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        settle(request.META)
        return self._get_response(request)


def settle(meta: dict[str, Any]) -> None:
    """Make the environment of a request say where it comes from, and no more than can be believed."""
    peer = str(meta.get("REMOTE_ADDR", ""))
    proxies = _proxies(tuple(settings.OLLA_TRUSTED_PROXIES))
    if proxies.trust(peer):
        meta["REMOTE_ADDR"] = proxies.client_of(peer, meta.get("HTTP_X_FORWARDED_FOR", ""))
        return
    for name in FORWARDED:
        meta.pop(name, None)


def address_of(request: HttpRequest) -> str:
    """Whose failed attempts are counted together: an address, of IPv6 one /64."""
    return network_of(str(request.META.get("REMOTE_ADDR", ""))).partition("/")[0]


@lru_cache(1)
def _proxies(networks: tuple[str, ...]) -> TrustedProxies:
    return TrustedProxies(networks)
