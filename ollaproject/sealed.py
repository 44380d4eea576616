"""Secrets at rest: sealed with the first of OLLA_ENCRYPTION_KEYS, opened with any of them.

So a key is rotated by putting a new one first.
"""

from __future__ import annotations

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured


class SealBroken(Exception):
    """None of the keys opens it."""


def seal(plain: str) -> str:
    """`plain`, encrypted; an empty one stays empty."""
    return _keys().encrypt(plain.encode()).decode() if plain else ""


def unseal(sealed: str) -> str:
    """What `seal` was given. Raises SealBroken."""
    if not sealed:
        return ""
    try:
        return _keys().decrypt(sealed.encode()).decode()
    except InvalidToken:
        raise SealBroken from None


def _keys() -> MultiFernet:
    try:
        return MultiFernet([Fernet(key) for key in settings.OLLA_ENCRYPTION_KEYS])
    except ValueError:
        raise ImproperlyConfigured(
            "OLLA_ENCRYPTION_KEYS must hold Fernet keys (32 bytes in URL-safe base64), separated by commas. "
            "`manage.py check` says which one is wrong and how to make one."
        ) from None
