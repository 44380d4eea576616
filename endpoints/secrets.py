"""Credentials of endpoints: encrypted at rest, opened only to be sent, and shown to nobody.

The first of OLLA_ENCRYPTION_KEYS encrypts and any of them opens, so that a key is rotated by putting a new
one first.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from endpoints.choices import AuthKind
from endpoints.errors import CredentialError
from ollaproject.sealed import SealBroken, seal, unseal

if TYPE_CHECKING:
    from endpoints.models import Endpoint

DEFAULT_API_KEY_HEADER = "X-Api-Key"


def encrypt(plain: str) -> str:
    return seal(plain)


def decrypt(token: str, *, owner: str) -> str:
    """What `encrypt` was given. Raises CredentialError, naming `owner`, when no key opens it."""
    try:
        return unseal(token)
    except SealBroken:
        raise CredentialError(
            f"The credential of the endpoint {owner} cannot be decrypted with OLLA_ENCRYPTION_KEYS. "
            "Put the key that it was stored with back into the list, or enter the credential again."
        ) from None


def request_headers(endpoint: Endpoint) -> tuple[tuple[str, str], ...]:
    """What this gateway adds to every request to `endpoint`: its own headers, then its credential, which
    wins.

    Raises CredentialError when there is a credential that no key opens.
    """
    auth = _auth_header(endpoint)
    own = [
        (name, value)
        for name, value in endpoint.headers.items()
        if not auth or name.lower() != auth[0].lower()
    ]
    return (*own, auth) if auth else tuple(own)


def _auth_header(endpoint: Endpoint) -> tuple[str, str] | None:
    if endpoint.auth_kind == AuthKind.NONE or not endpoint.has_credential:
        return None
    secret = endpoint.credential()
    match AuthKind(endpoint.auth_kind):
        case AuthKind.BEARER:
            return "Authorization", f"Bearer {secret}"
        case AuthKind.BASIC:
            pair = f"{endpoint.auth_username}:{secret}".encode()
            return "Authorization", f"Basic {base64.b64encode(pair).decode()}"
        case _:
            return endpoint.auth_header or DEFAULT_API_KEY_HEADER, secret
