"""Where an OpenID provider has its endpoints, as it says itself (OpenID Connect Discovery, section 4)."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import requests
from django.conf import settings

PATH = "/.well-known/openid-configuration"
REMEMBERED_SECONDS = 3600.0


class ProviderError(Exception):
    """The provider does not answer, or not as one does. The text says how."""


@dataclass(frozen=True, slots=True)
class Provider:
    """`userinfo` is empty for a provider that has none: its tokens then have to say all."""

    issuer: str
    authorization: str
    token: str
    userinfo: str
    keys: str


_known: dict[str, tuple[float, Provider]] = {}


def provider() -> Provider:
    """The provider of OLLA_OIDC_ISSUER, asked once an hour. Raises ProviderError."""
    issuer = settings.OLLA_OIDC_ISSUER
    asked_at, found = _known.get(issuer, (0.0, None))
    now = time.monotonic()
    if found is None or now - asked_at > REMEMBERED_SECONDS:
        found = _ask(issuer)
        _known[issuer] = now, found
    return found


def _ask(issuer: str) -> Provider:
    url = issuer.rstrip("/") + PATH
    try:
        answer = requests.get(url, timeout=settings.OIDC_TIMEOUT)
        answer.raise_for_status()
        said: dict[str, Any] = answer.json()
        made = Provider(
            issuer=said["issuer"],
            authorization=said["authorization_endpoint"],
            token=said["token_endpoint"],
            userinfo=said.get("userinfo_endpoint", ""),
            keys=said["jwks_uri"],
        )
    except requests.RequestException as error:
        raise ProviderError(f"{url} cannot be read: {error}") from error
    except (KeyError, TypeError) as error:
        raise ProviderError(f"{url} lacks {error}") from error
    if made.issuer.rstrip("/") != issuer.rstrip("/"):
        raise ProviderError(f"{url} is of the issuer {made.issuer!r}, not {issuer!r}")
    return made
