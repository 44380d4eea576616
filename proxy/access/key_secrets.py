"""What a key looks like, `sk-olla-<id>-<secret>`, and how its secret is kept: as an HMAC under a pepper.

The first of OLLA_KEY_PEPPERS signs and any of them verifies, so that a pepper is rotated by putting a new one
first. A database alone is of no use to whoever steals it: without the pepper, no secret can be tried.
"""

from __future__ import annotations

import hmac
import re
import secrets
import string
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256

from django.conf import settings

PREFIX = b"sk-olla-"
ID_LENGTH = 12  # of hexadecimal digits
SECRET_LENGTH = 40  # of letters and digits: 238 bits
ALPHABET = string.ascii_letters + string.digits
SHAPE = re.compile(rb"sk-olla-([0-9a-f]{12})-([A-Za-z0-9]{40})")
FINGERPRINT_LENGTH = 8


@dataclass(frozen=True, slots=True)
class Signed:
    """What is stored of a secret. `pepper` is the fingerprint of the one that signed."""

    digest: str
    pepper: str


def new_id() -> str:
    return secrets.token_hex(ID_LENGTH // 2)


def new_secret() -> str:
    return "".join(secrets.choice(ALPHABET) for _ in range(SECRET_LENGTH))


def written_out(key_id: str, secret: str) -> str:
    """The key as its holder sends it."""
    return f"{PREFIX.decode()}{key_id}-{secret}"


def sign(key_id: str, secret: str) -> Signed:
    pepper = settings.OLLA_KEY_PEPPERS[0]
    return Signed(digest(pepper.encode(), key_id.encode(), secret.encode()).hex(), fingerprint(pepper))


def digest(pepper: bytes, key_id: bytes, secret: bytes) -> bytes:
    """32 bytes. The id is signed too, so that a row's digest is of no use in another row."""
    return hmac.digest(pepper, key_id + b"-" + secret, "sha256")


@lru_cache(maxsize=32)
def fingerprint(pepper: str) -> str:
    """A word for a pepper that tells nothing of it but whether it is the same."""
    return sha256(b"key-pepper:" + pepper.encode()).hexdigest()[:FINGERPRINT_LENGTH]


def peppers() -> dict[str, bytes]:
    """Every pepper by its fingerprint."""
    return {fingerprint(each): each.encode() for each in settings.OLLA_KEY_PEPPERS}
