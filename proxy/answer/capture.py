"""What one request asks and is answered, as far as it is kept: for keys that keep it, and for no others.

A call without one pays for a comparison with None.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from django.conf import settings

if TYPE_CHECKING:
    import mmap


class Bodies(NamedTuple):
    """Each cut at OLLA_KEPT_BODIES_SIZE; the sizes, in bytes, are those of the whole."""

    asked: bytes
    answered: bytes
    asked_bytes: int
    answered_bytes: int


class Capture:
    """Of one call."""

    __slots__ = ("_answered", "_asked", "_asked_bytes", "_most")

    def __init__(self, asked: bytes | mmap.mmap) -> None:
        self._most: int = settings.OLLA_KEPT_BODIES_SIZE
        self._asked = asked[: self._most]
        self._asked_bytes = len(asked)
        self._answered = bytearray()

    def add(self, piece: bytes) -> None:
        """A piece of the answer."""
        room = self._most - len(self._answered)
        if room > 0:
            self._answered += piece[:room]

    def bodies(self, answered_bytes: int) -> Bodies:
        return Bodies(self._asked, bytes(self._answered), self._asked_bytes, answered_bytes)
