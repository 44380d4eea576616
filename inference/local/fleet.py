"""What the supervisor asks of the gateway, as an interface: this room does not know the other one.

ollaproject.local_fleet is what it is given.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime


@dataclass(frozen=True, slots=True)
class Offer:
    """A model's server that can answer. `endpoint_id` is its endpoint's, if it had one before."""

    endpoint_id: int | None
    name: str
    is_first: bool
    """Whether it is the model that the settings name, whose endpoint is called `local`."""
    url: str
    models: tuple[str, ...]
    aliases: tuple[str, ...] = ()
    key: str = field(default="", repr=False)


class Fleet(Protocol):
    def expect(self, offer: Offer) -> None:
        """It is being started where an earlier one was: whoever finds it well first has to know its key."""

    def open(self, offer: Offer) -> int:
        """Put it into service, as an ordinary endpoint. Returns its id."""

    def close(self, endpoint_id: int, *, reason: str) -> None:
        """Take it out of service: no requests, no checks."""

    def sleep(self, offer: Offer, *, wakes_in_seconds: float | None, wakes_anyway: bool = False) -> int:
        """It has no server now, and is started when a request comes for it, or, with `wakes_anyway`, in any
        case: requests wait. Returns its endpoint's id."""

    def keep_asleep(self, endpoint_id: int, *, reason: str, until: datetime) -> None:
        """If it sleeps it cannot be started before: whoever waits for it is told."""

    def woken(self, endpoint_ids: Iterable[int]) -> set[int]:
        """Those of them that sleep and are asked for."""

    def remove(self, endpoint_id: int) -> None:
        """It is gone for good."""
