"""Sticky sessions: a client's next request goes where the one before it went (contract, section 4).

A session is known by the first of the configured sources that yields something, and belongs to one model.
What is kept is a keyed hash of it, bounded in number and in idle time. In memory, for one event loop; with
Redis the processes tell each other of their pins (proxy.routing.sharing), and no request waits for that.
"""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final, Literal, TypedDict

from proxy.request import headers as header_rules

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from proxy.request.headers import Pair
    from proxy.request.prefix import Prompt
    from proxy.routing.sharing import Sharing

SESSION_HEADER = b"x-olla-session-id"
SOURCES: Final = ("session_header", "prefix_hash", "auth_header", "ip")
KEY_BYTES = 8
# A pin that is used on and on is told to the other processes so often within its idle time.
TOLD_PER_IDLE_TIME = 4


@dataclass(frozen=True, slots=True)
class StickyRules:
    """`sources` in the order in which they are tried. Times are in seconds."""

    sources: tuple[str, ...] = SOURCES[:3]
    idle_ttl: float = 600.0
    max_sessions: int = 10_000
    prefix_bytes: int = 512


@dataclass(frozen=True, slots=True)
class Asker:
    """What a request shows of who sent it."""

    headers: Sequence[Pair]
    address: str
    model: str
    prompt: Prompt | None


@dataclass(slots=True)
class Pin:
    """Where a session is. `told_at` is when the other processes last heard of it."""

    endpoint_id: int
    used_at: float
    told_at: float


class StickyFigures(TypedDict):
    """As /internal/stats/sticky shows it while sticky sessions are on."""

    enabled: bool
    active_sessions: int
    insertions: int
    hits: int
    misses: int
    repins: int
    evictions: int
    max_sessions: int
    idle_ttl_seconds: float


COUNTED: tuple[Literal["insertions", "hits", "misses", "repins", "evictions"], ...] = (
    "insertions",
    "hits",
    "misses",
    "repins",
    "evictions",
)


class Session:
    """The session of one request. `outcome` is `hit`, `miss` or `repin`, `disabled` when it has no key, and
    empty until an endpoint was chosen. `pinned` is the endpoint's id that it had before.
    """

    __slots__ = ("_key", "_said_id", "_sticky", "outcome", "pinned", "source")

    def __init__(
        self, sticky: Sticky, key: int | None, source: str, said_id: bytes | None, pinned: int | None
    ) -> None:
        self._sticky = sticky
        self._key = key
        self._said_id = said_id
        self.source = source
        self.pinned = pinned
        self.outcome = "" if key is not None else "disabled"

    def placed(self, endpoint_id: int) -> None:
        """The request goes to this endpoint, which from now on is the session's. Again after a failover."""
        if self._key is None:
            return
        if self.pinned is None:
            self.outcome = "miss"
        else:
            self.outcome = "hit" if endpoint_id == self.pinned else "repin"
        self._sticky.pin(self._key, endpoint_id)

    def headers(self) -> list[Pair]:
        pairs = [(b"x-olla-sticky-session", self.outcome.encode())] if self.outcome else []
        if self.source:
            pairs.append((b"x-olla-sticky-key-source", self.source.encode()))
        if self._said_id is not None:
            pairs.append((SESSION_HEADER, self._said_id))
        return pairs

    def ended(self) -> None:
        """The request is over: what became of it is counted."""
        self._sticky.count(self.outcome)


class Sticky:
    """The pins of one process."""

    def __init__(
        self,
        rules: StickyRules,
        *,
        secret: bytes = b"",
        sharing: Sharing | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.rules = rules
        self._secret = secret
        self.sharing = sharing
        self._clock = clock
        # Least recently used first.
        self._pins: OrderedDict[int, Pin] = OrderedDict()
        # What other processes told: key, endpoint, seconds since. Filled by the thread that shares.
        self.heard: deque[tuple[int, int, float]] = deque(maxlen=rules.max_sessions)
        self._insertions = self._evictions = 0
        self._counts = {"hit": 0, "miss": 0, "repin": 0}
        self._taken: dict[str, float] = {}

    def session_of(self, asker: Asker) -> Session:
        if self.sharing is not None:
            self.sharing.start(self)
        key, source, said_id = self._key_of(asker)
        return Session(self, key, source, said_id, self.place_of(key) if key is not None else None)

    def look_for(self, asker: Asker) -> Session:
        """The same, from any thread: nothing is taken over from others, and nothing expires by it."""
        key, source, said_id = self._key_of(asker)
        pin = self._pins.get(key) if key is not None else None
        fresh = pin is not None and self._clock() - pin.used_at <= self.rules.idle_ttl
        return Session(self, key, source, said_id, pin.endpoint_id if pin is not None and fresh else None)

    def _key_of(self, asker: Asker) -> tuple[int | None, str, bytes | None]:
        for source in self.rules.sources:
            value = READERS[source](asker, self.rules)
            if value:
                parts = (asker.model.encode(), source.encode(), value)
                key = blake2b(b"\0".join(parts), digest_size=KEY_BYTES, key=self._secret).digest()
                said_id = value if source == "session_header" else None
                return int.from_bytes(key), source, said_id
        return None, "", None

    def place_of(self, key: int) -> int | None:
        """The endpoint of a session, None when it has none or has rested for too long."""
        self._take_over()
        pin = self._pins.get(key)
        return pin.endpoint_id if pin is not None else None

    def pin(self, key: int, endpoint_id: int) -> None:
        now = self._clock()
        known = self._pins.get(key)
        if known is not None and known.endpoint_id == endpoint_id:
            known.used_at = now
            self._pins.move_to_end(key)
            if now - known.told_at < self.rules.idle_ttl / TOLD_PER_IDLE_TIME:
                return
            known.told_at = now
        else:
            self._insertions += 1
            self._keep(key, endpoint_id, now)
        if self.sharing is not None:
            self.sharing.tell(key, endpoint_id)

    def count(self, outcome: str) -> None:
        if outcome in self._counts:
            self._counts[outcome] += 1

    def figures(self) -> StickyFigures:
        self._take_over()
        return {
            "enabled": True,
            "active_sessions": len(self._pins),
            "insertions": self._insertions,
            "hits": self._counts["hit"],
            "misses": self._counts["miss"],
            "repins": self._counts["repin"],
            "evictions": self._evictions,
            "max_sessions": self.rules.max_sessions,
            "idle_ttl_seconds": self.rules.idle_ttl,
        }

    def take(self) -> dict[str, float]:
        """What was counted since the last time, empty when nothing was."""
        figures = self.figures()
        now: dict[str, float] = {name: figures[name] for name in COUNTED}
        newly = {name: number - self._taken.get(name, 0.0) for name, number in now.items()}
        self._taken = now
        return newly if any(newly.values()) else {}

    def own_sessions(self) -> int:
        """How many it alone knows: none where processes tell each other."""
        return 0 if self.sharing is not None else self.figures()["active_sessions"]

    def figures_of_all(self, counted: Mapping[str, float], sessions: int) -> StickyFigures:
        """The figures of all processes: what they counted, and the `sessions` that each alone knows."""
        found: dict[str, Any] = {**self.figures(), **{name: int(counted.get(name, 0)) for name in COUNTED}}
        if self.sharing is None:
            found["active_sessions"] = sessions
        return found  # type: ignore[return-value]

    def _keep(self, key: int, endpoint_id: int, used_at: float) -> None:
        self._pins[key] = Pin(endpoint_id, used_at, used_at)
        self._pins.move_to_end(key)
        if len(self._pins) > self.rules.max_sessions:
            self._pins.popitem(last=False)
            self._evictions += 1

    def _take_over(self) -> None:
        """Take in what the others told, and let go of what has rested for too long."""
        now = self._clock()
        while self.heard:
            key, endpoint_id, ago = self.heard.popleft()
            self._keep(key, endpoint_id, now - ago)
        while self._pins:
            key, pin = next(iter(self._pins.items()))
            if now - pin.used_at <= self.rules.idle_ttl:
                return
            del self._pins[key]


def _session_header(asker: Asker, _rules: StickyRules) -> bytes:
    return header_rules.value(asker.headers, SESSION_HEADER)


def _prefix(asker: Asker, rules: StickyRules) -> bytes:
    """The first bytes of the messages or the prompt, as they stand in the body."""
    prompt = asker.prompt
    if prompt is None:
        return b""
    fields = (prompt.messages, prompt.prompt, prompt.input)
    return next((bytes(memoryview(field)[: rules.prefix_bytes]) for field in fields if len(field)), b"")


def _credential(asker: Asker, _rules: StickyRules) -> bytes:
    found = header_rules.value(asker.headers, b"authorization")
    return found or header_rules.value(asker.headers, b"x-api-key")


def _address(asker: Asker, _rules: StickyRules) -> bytes:
    return asker.address.encode()


READERS: Final[dict[str, Callable[[Asker, StickyRules], bytes]]] = dict(
    zip(SOURCES, (_session_header, _prefix, _credential, _address), strict=True)
)
