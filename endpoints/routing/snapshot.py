"""The routing table in memory: immutable values, built from the database, swapped whole.

The request path reads `snapshot()` and never a query. Who builds and swaps it is endpoints.routing.watch.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field
from fnmatch import translate
from typing import TYPE_CHECKING, Any, NamedTuple

from endpoints.choices import ROUTABLE, SET_ASIDE, TRAFFIC, WAKEABLE, WAKING, Mode, Retry, Status
from endpoints.known_models.abilities import UNKNOWN, Abilities

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from endpoints.known_models.model_details import ModelDetails


# What an endpoint gets of its share in the first moment after it came back.
FIRST_SHARE = 0.1


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A model that an endpoint serves. `created` is Unix time, `max_model_len` tokens (None when unknown).

    `details` is None only where a table is made by hand.
    """

    name: str
    created: int
    max_model_len: int | None
    details: ModelDetails | None = None
    abilities: Abilities = UNKNOWN


class Ramp(NamedTuple):
    """A slow start after a recovery, which has ended at `full_at` (seconds of the monotonic clock)."""

    full_at: float
    seconds: float

    def share(self, now: float) -> float:
        left = (self.full_at - now) / self.seconds
        return 1.0 if left <= 0 else max(FIRST_SHARE, 1.0 - left)


@dataclass(frozen=True, slots=True)
class Target:
    """An endpoint as the request path needs it, with the defaults of its profile filled in.

    `headers` are what this gateway adds to each request: the endpoint's own headers, then its credential.
    Their values are secret and stay out of every log, hence no repr.
    """

    id: int
    name: str
    type: str
    url: str
    priority: int
    status: Status
    reason: str
    mode: Mode
    models: tuple[ServedModel, ...]
    preserve_path: bool
    connect_timeout_seconds: float
    first_byte_timeout_seconds: float
    idle_timeout_seconds: float
    max_concurrent: int
    retry: Retry = Retry.SAFE
    weight: int = 1
    ramp: Ramp | None = None
    # Paths that stand elsewhere at this endpoint, longest first; one that ends in a slash: all below it.
    rewrites: tuple[tuple[bytes, bytes], ...] = ()
    was_rung: bool = False  # somebody has asked for it while it was asleep
    wakes_in_seconds: float | None = None
    # As planned when the table was built. One that does not serve is not known to serve again before.
    next_check_at: datetime | None = None
    headers: tuple[tuple[str, str], ...] = field(repr=False, default=())
    model_names: frozenset[str] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "model_names", frozenset(model.name for model in self.models))

    def served(self, name: str | None) -> ServedModel | None:
        """Its model of that name."""
        return next((model for model in self.models if model.name == name), None)

    @property
    def traffic(self) -> float:
        """How much of its share it gets now, by its status and while it starts slowly: 0 to 1."""
        share = TRAFFIC.get(self.status, 0.0)
        return share if self.ramp is None else share * self.ramp.share(time.monotonic())

    def next_check_in(self, now: datetime) -> float | None:
        """Seconds until its next check; None when none is planned, or the plan of this table is over."""
        if self.next_check_at is None or self.mode in SET_ASIDE:
            return None
        seconds = (self.next_check_at - now).total_seconds()
        return seconds if seconds > 0 else None

    @property
    def routable(self) -> bool:
        """Whether a new request may go there."""
        return self.mode == Mode.ACTIVE and self.status in ROUTABLE

    @property
    def wakeable(self) -> bool:
        """Whether a request may wait for it to wake: it will take a while, as `wakes_in_seconds` says. One
        that has a reason to sleep cannot be woken now."""
        sleeps = self.status in WAKEABLE and not self.reason
        waits = sleeps or (self.was_rung and self.status in WAKING)
        return self.mode == Mode.ACTIVE and waits


@dataclass(frozen=True, slots=True)
class Alias:
    """The models behind a name, the preferred first. `strategy` is empty for that of the deployment.

    `defaults` and `overrides` are parameters that its requests get (proxy.request.parameters).
    """

    models: tuple[str, ...]
    strategy: str = ""
    defaults: Mapping[str, Any] = field(default_factory=dict)
    overrides: Mapping[str, Any] = field(default_factory=dict)

    @property
    def has_parameters(self) -> bool:
        return bool(self.defaults or self.overrides)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Every endpoint at one revision, highest priority first, then by name; and the aliases by name.

    A name with `*` or `?` is a pattern: it stands for every name that it matches.
    """

    revision: int
    targets: tuple[Target, ...]
    aliases: Mapping[str, Alias] = field(default_factory=dict)
    has_sleepers: bool = field(init=False, compare=False)
    has_parameters: bool = field(init=False, compare=False)  # some alias of it has
    _patterns: tuple[tuple[re.Pattern[str], Alias], ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # The one that leaves least open comes first.
        names = sorted(filter(is_pattern, self.aliases), key=lambda name: (-len(_literal(name)), name))
        compiled = ((re.compile(translate(name.replace("[", "[[]").lower())), name) for name in names)
        object.__setattr__(self, "has_sleepers", any(target.wakeable for target in self.targets))
        object.__setattr__(
            self, "has_parameters", any(alias.has_parameters for alias in self.aliases.values())
        )
        object.__setattr__(self, "_patterns", tuple((regex, self.aliases[name]) for regex, name in compiled))

    def matching(self, name: str) -> Alias | None:
        """The alias whose pattern matches `name`, whatever its case."""
        lowered = name.lower()
        return next((alias for regex, alias in self._patterns if regex.match(lowered)), None)


def is_pattern(name: str) -> bool:
    return "*" in name or "?" in name


def _literal(pattern: str) -> str:
    return pattern.replace("*", "").replace("?", "")


_current = Snapshot(revision=-1, targets=())


def snapshot() -> Snapshot:
    """The newest routing table of this process. Revision -1: none was loaded yet, see `watch`."""
    return _current


def install(new: Snapshot) -> None:
    """Make `new` the routing table of this process. One reference is swapped, so readers need no lock."""
    global _current  # noqa: PLW0603
    _current = new
