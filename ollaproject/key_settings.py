"""The settings of keys: peppers, what they may use, how many a person may have, and what is kept of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ollaproject.env import env_choice, env_int, env_limits, env_size, kept_secret
from proxy.limits.limits import WORDS as LIMIT_WORDS

if TYPE_CHECKING:
    from pathlib import Path

# What a key, and what the keys of a person or a team together, may use when it is not said for these.
OLLA_KEY_LIMITS = env_limits("OLLA_KEY_LIMITS", LIMIT_WORDS)
OLLA_PERSON_LIMITS = env_limits("OLLA_PERSON_LIMITS", LIMIT_WORDS)
OLLA_TEAM_LIMITS = env_limits("OLLA_TEAM_LIMITS", LIMIT_WORDS)
# Every key has limits of its own: without an end to their number, limits of keys would limit nobody.
OLLA_KEYS_PER_PERSON = env_int("OLLA_KEYS_PER_PERSON", 10)
OLLA_REVOKED_STREAMS = env_choice("OLLA_REVOKED_STREAMS", ["finish", "cut"], "finish")
OLLA_KEPT_BODIES_HOURS = env_int("OLLA_KEPT_BODIES_HOURS", 24, minimum=1)
OLLA_KEPT_BODIES_SIZE = env_size("OLLA_KEPT_BODIES_SIZE", 64 * 1024)


def peppers(home: Path) -> list[str]:
    """Keys are kept as an HMAC under the first pepper and verified with any of them."""
    kept = kept_secret("OLLA_KEY_PEPPERS", home / "secrets" / "key-peppers")
    return [pepper.strip() for pepper in kept.split(",")]
