"""A circuit breaker, pure: what this process makes of how an endpoint answers its requests.

Closed, every request passes. Some faults in a row open it, and none passes for a while. Then it is half open:
one request passes, and what comes of it closes the breaker or opens it for twice as long. Only the backend's
faults count; a client that leaves is none.
"""

from __future__ import annotations

from dataclasses import dataclass

FAULTS_TO_OPEN = 5
FIRST_PAUSE_SECONDS = 5.0
LONGEST_PAUSE_SECONDS = 60.0


@dataclass(slots=True)
class Breaker:
    """All moments are seconds of one monotonic clock. `open_until` is None while it is closed."""

    faults: int = 0
    pause_seconds: float = FIRST_PAUSE_SECONDS
    open_until: float | None = None
    trying: bool = False

    def passes(self, now: float) -> bool:
        """Whether a request may go there."""
        return self.open_until is None or (now >= self.open_until and not self.trying)

    def began(self, now: float) -> None:
        """A request goes there. In a half-open breaker it is the one that decides."""
        if self.open_until is not None and now >= self.open_until:
            self.trying = True

    def succeeded(self) -> None:
        """A good answer closes it, unless it is open: then the request is from before."""
        if self.open_until is None or self.trying:
            self.faults, self.pause_seconds = 0, FIRST_PAUSE_SECONDS
            self.open_until, self.trying = None, False

    def failed(self, now: float) -> None:
        """A fault of the backend. While it is open, one more says nothing new."""
        self.faults += 1
        if self.trying:
            self.pause_seconds = min(2 * self.pause_seconds, LONGEST_PAUSE_SECONDS)
        elif self.open_until is not None or self.faults < FAULTS_TO_OPEN:
            return
        self.open_until, self.trying = now + self.pause_seconds, False

    def abandoned(self) -> None:
        """The client has left before anything was known: the next request decides."""
        self.trying = False
