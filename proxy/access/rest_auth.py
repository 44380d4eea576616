"""Signing in to the REST API with a key: as its owner, if it may act for them, else as the key alone."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.contrib.auth.models import AnonymousUser, User
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed

from proxy.access import key_table
from proxy.access.auth import Guard
from proxy.models import ApiKey
from proxy.request.headers import sent_keys

if TYPE_CHECKING:
    from drf_spectacular.openapi import AutoSchema
    from rest_framework.request import Request

    from proxy.access.key_table import Holder

UNKNOWN = "This API key is not known here. Send one of this gateway's keys, or sign in."


@dataclass(frozen=True, slots=True)
class KeyAuth:
    """What `request.auth` is after signing in with a key."""

    holder: Holder
    acts_for_owner: bool


class KeyAuthentication(BaseAuthentication):
    """`Authorization: Bearer sk-olla-…` or `x-api-key: sk-olla-…`, judged by the rules of the door."""

    def authenticate(self, request: Request) -> tuple[User | AnonymousUser, KeyAuth] | None:
        headers = [
            (name.lower().encode("latin-1"), value.encode("latin-1", "replace"))
            for name, value in request.headers.items()
        ]
        sent = list(sent_keys(headers))
        if not sent:
            return None
        holder = next((found for key in sent if (found := key_table.keys().find(key, time.time()))), None)
        if holder is None:
            raise AuthenticationFailed(UNKNOWN)
        if reason := holder.refused(time.time()):
            raise AuthenticationFailed(f"The key {holder.name} {reason}.")
        caller = _guard().identify({"client": (request.META["REMOTE_ADDR"], 0), "headers": headers}, holder)
        if not holder.networks.admit(caller.address):
            raise AuthenticationFailed(f"The key {holder.name} may not be used from {caller.address}.")
        key = ApiKey.objects.select_related("owner").filter(pk=holder.id).first()
        if key is None:  # deleted, and this process has not heard of it yet
            raise AuthenticationFailed(UNKNOWN)
        return key.owner or AnonymousUser(), KeyAuth(holder, key.rest_api and key.owner is not None)

    def authenticate_header(self, request: Request) -> str:  # noqa: ARG002
        return "Bearer"


class KeyInSchema(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """How OpenAPI says it (drf-spectacular finds this by itself)."""

    target_class = KeyAuthentication
    name = "key"

    def get_security_definition(self, auto_schema: AutoSchema) -> dict[str, Any]:  # noqa: ARG002
        return {"type": "http", "scheme": "bearer", "description": "A key of this gateway, `sk-olla-…`."}


@lru_cache(maxsize=1)
def _guard() -> Guard:
    return Guard(api_auth="always", allowed_hosts=(), trusted_proxies=settings.OLLA_TRUSTED_PROXIES)
