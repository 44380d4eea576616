"""What requests say of an endpoint, laid over the routing table: who reads `snapshot()` sees the result.

A broken connection puts an endpoint under suspicion until a check that began later finds it well. Faults that
go on although the checks are good open a breaker (`breaker`). An endpoint in doubt keeps the models
that no sound sibling serves: to try it then is better than to refuse.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from endpoints.choices import Status
from endpoints.health.breaker import Breaker
from endpoints.routing.snapshot import Snapshot, install, snapshot
from ollaproject.wire import clock

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from endpoints.routing.snapshot import Target

# Without a worker that checks, suspicion ends by itself, and the next request finds out.
SUSPICION_SECONDS = 10.0
# However many requests fail, a check of an endpoint is asked for no more often than this.
ASK_EVERY_SECONDS = 1.0


@dataclass(slots=True)
class Doubt:
    """What speaks against an endpoint. `suspected_at` is None when only its breaker does."""

    reason: str = ""
    suspected_at: datetime | None = None
    suspected_until: float = 0.0
    ask_after: float = 0.0
    breaker: Breaker = field(default_factory=Breaker)

    def keeps_out(self, now: float) -> bool:
        return self.suspected_at is not None or not self.breaker.passes(now)

    @property
    def is_void(self) -> bool:
        return self.suspected_at is None and not self.breaker.faults


class Doubts:
    """The doubts of one process; `ask` is called to have an endpoint checked, and must return at once.

    While nothing is in doubt, a request costs a look into an empty dict and no lock.
    """

    def __init__(self, ask: Callable[[int], None] | None = None) -> None:
        self._ask = ask
        self._lock = threading.Lock()
        self._by_id: dict[int, Doubt] = {}
        self._out: dict[int, str] = {}
        self._base = self._installed = snapshot()

    def __bool__(self) -> bool:
        return bool(self._by_id)

    # --- What requests say ---

    def began(self, endpoint_id: int) -> None:
        """A request goes to an endpoint."""
        if endpoint_id in self._by_id:
            self._tell(endpoint_id, lambda breaker: breaker.began(time.monotonic()))

    def succeeded(self, endpoint_id: int) -> None:
        """It was answered as it should be."""
        if endpoint_id in self._by_id:
            self._tell(endpoint_id, Breaker.succeeded)

    def abandoned(self, endpoint_id: int) -> None:
        """The client has left: that says nothing of the endpoint."""
        if endpoint_id in self._by_id:
            self._tell(endpoint_id, Breaker.abandoned)

    def failed(self, endpoint_id: int, reason: str, *, broken: bool) -> None:
        """The backend's fault. `broken`: no whole answer came; otherwise it was a 5xx."""
        now = time.monotonic()
        with self._lock:
            doubt = self._by_id.setdefault(endpoint_id, Doubt())
            doubt.reason = reason
            doubt.breaker.failed(now)
            if broken:
                doubt.suspected_at = clock.now()
                doubt.suspected_until = now + SUSPICION_SECONDS
            self._overlay()
            asks = doubt.keeps_out(now) and now >= doubt.ask_after
            if asks:
                doubt.ask_after = now + ASK_EVERY_SECONDS
        if asks and self._ask is not None:
            self._ask(endpoint_id)

    def _tell(self, endpoint_id: int, tell: Callable[[Breaker], None]) -> None:
        with self._lock:
            doubt = self._by_id.get(endpoint_id)
            if doubt is not None:
                tell(doubt.breaker)
                self._overlay()

    # --- What the checks say ---

    def publish(self, new: Snapshot) -> None:
        """Make `new` the routing table of this process, without what is in doubt."""
        with self._lock:
            # What the checks or an operator have taken out needs no doubt, and comes back without one.
            routable = {target.id for target in new.targets if target.routable}
            self._by_id = {key: doubt for key, doubt in self._by_id.items() if key in routable}
            self._base = new
            self._out = self._kept_out()
            self._install()

    def suspected(self) -> dict[int, datetime]:
        """The endpoints under suspicion, and since when."""
        with self._lock:
            since = {key: doubt.suspected_at for key, doubt in self._by_id.items()}
        return {key: at for key, at in since.items() if at is not None}

    def review(self, well: Mapping[int, datetime]) -> None:
        """End the suspicions that are too old, and those of endpoints that a check found `well`.

        It comes with when that check began: what was seen later stands.
        """
        now = time.monotonic()
        with self._lock:
            for key, doubt in self._by_id.items():
                if doubt.suspected_at is None:
                    continue
                answered = key in well and well[key] > doubt.suspected_at
                if answered or now >= doubt.suspected_until:
                    doubt.suspected_at = None
            self._by_id = {key: doubt for key, doubt in self._by_id.items() if not doubt.is_void}
            self._overlay()

    def _overlay(self) -> None:
        """Install the routing table anew if what is kept out has changed. Called with the lock."""
        out = self._kept_out()
        if snapshot() is not self._installed:
            self._base = snapshot()  # somebody has installed another
        elif out == self._out:
            return
        self._out = out
        self._install()

    def _kept_out(self) -> dict[int, str]:
        now = time.monotonic()
        return {key: doubt.reason for key, doubt in self._by_id.items() if doubt.keeps_out(now)}

    def _install(self) -> None:
        self._installed = without(self._base, self._out)
        install(self._installed)


def without(base: Snapshot, doubted: Mapping[int, str]) -> Snapshot:
    """`base` without the endpoints in doubt (and why they are), as far as sound siblings stand in for them.

    A sibling is of the same type, for there are routes that go by it.
    """
    if not doubted:
        return base
    served: dict[str, set[str]] = {}
    for target in base.targets:
        if target.routable and target.id not in doubted:
            served.setdefault(target.type, set()).update(target.model_names)
    targets = tuple(
        _relieved(target, served[target.type], doubted[target.id])
        if target.id in doubted and target.routable and target.type in served
        else target
        for target in base.targets
    )
    return replace(base, targets=targets)


def _relieved(target: Target, elsewhere: set[str], reason: str) -> Target:
    """`target` with the models that it alone serves, or out of service when there are none."""
    own = tuple(model for model in target.models if model.name not in elsewhere)
    if own:
        return replace(target, models=own)
    return replace(target, status=Status.UNHEALTHY, reason=reason)
