"""What one process needs at the door, made once and handed to the consumers. For one event loop."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from channels.db import database_sync_to_async
from django.conf import settings
from django.utils.crypto import salted_hmac

from endpoints.health import feedback
from endpoints.health.doubts import Doubts
from endpoints.routing.strategies import STRATEGIES
from proxy.access.auth import Guard
from proxy.access.revocations import Revocations
from proxy.formats.translators import Translators
from proxy.limits.limiter import Limiter
from proxy.limits.shared_limits import SharedLimits
from proxy.records.ledger import Ledger
from proxy.records.record import Records
from proxy.records.shared_counts import Present, SharedCounts, Traffic
from proxy.request.bodies import Spool
from proxy.routing.admission import Admission
from proxy.routing.failover import Failover
from proxy.routing.rediscovery import Rediscovery
from proxy.routing.routing import COMPATIBLE, DISCOVERY, STRICT, Router
from proxy.routing.sharing import Sharing
from proxy.routing.sticky import Sticky, StickyRules
from proxy.routing.waking import Waking
from proxy.upstream.upstream import Upstream

if TYPE_CHECKING:
    from proxy.records.counts import Counts
    from proxy.records.tracing import Tracing


@dataclass(slots=True)
class Gateway:
    """`max_body_size` is in bytes, `queue_timeout` in seconds."""

    guard: Guard
    max_body_size: int
    spool: Spool
    balancer: str = "cache-aware"
    model_routing: str = STRICT
    model_fallback: str = COMPATIBLE
    sticky: Sticky | None = None
    rediscovery: Rediscovery | None = None
    queue_size: int = 100
    queue_timeout: float = 30.0
    wake_timeout: float = 120.0  # seconds
    ask_for_usage: bool = True
    embedding_batch_size: int = 0  # inputs per request to an endpoint; 0 never splits
    doubts: Doubts = field(default_factory=Doubts)
    ledger: Ledger | None = None
    limiter: Limiter = field(default_factory=Limiter)
    revocations: Revocations | None = None
    share_counts: bool = False
    tracing: Tracing | None = None
    upstream: Upstream = field(default_factory=Upstream)
    records: Records = field(init=False)
    router: Router = field(init=False)
    admission: Admission = field(init=False)
    waking: Waking = field(init=False)
    failover: Failover = field(init=False)
    translators: Translators = field(default_factory=Translators)
    counted: SharedCounts = field(init=False)

    def __post_init__(self) -> None:
        self.records = Records(self.doubts, self.ledger)
        self.router = Router(
            STRATEGIES[self.balancer](), mode=self.model_routing, fallback=self.model_fallback
        )
        self.admission = Admission(max_waiting=self.queue_size, max_wait=self.queue_timeout)
        self.waking = Waking(self.router, max_wait=self.wake_timeout, max_waiting=self.queue_size)
        self.failover = Failover(self.upstream, self.records, self.admission)
        self.counted = SharedCounts(self._take, self._present, in_database=self.share_counts)
        self.records.changed = self.counted.touch

    def _take(self) -> Counts:
        taken = self.records.take()
        taken.named.update(self.translators.take())
        if self.sticky is not None and (newly := self.sticky.take()):
            taken.named["sticky"] = newly
        return taken

    def _present(self) -> Present:
        return Present(
            self.records.in_flight(),
            self.admission.waiting,
            self.limiter.blocked_addresses,
            self.records.guests(),
            0 if self.sticky is None else self.sticky.own_sessions(),
        )

    async def traffic(self) -> Traffic:
        """What was counted and what is under way, of all processes. Reads the database."""
        self.counted.gather()
        found: Traffic = await database_sync_to_async(self.counted.read)()
        return found

    @classmethod
    def from_settings(cls) -> Self:
        rows = settings.OLLA_REQUEST_HISTORY_DAYS > 0
        written = rows or settings.OLLA_USAGE_TOTALS
        return cls(
            guard=Guard(
                api_auth=settings.OLLA_API_AUTH,
                allowed_hosts=settings.OLLA_ALLOWED_HOSTS,
                trusted_proxies=settings.OLLA_TRUSTED_PROXIES,
                cors_origins=settings.OLLA_CORS_ORIGINS,
            ),
            max_body_size=settings.OLLA_MAX_BODY_SIZE,
            spool=Spool(
                settings.OLLA_HOME / "bodies",
                memory=settings.OLLA_BODY_MEMORY,
                disk=settings.OLLA_BODY_DISK,
            ),
            balancer=settings.OLLA_LOAD_BALANCER,
            model_routing=settings.OLLA_ROUTING_STRATEGY,
            model_fallback=settings.OLLA_ROUTING_FALLBACK,
            sticky=sticky_from_settings() if settings.OLLA_STICKY_SESSIONS else None,
            rediscovery=Rediscovery(seconds=settings.OLLA_DISCOVERY_TIMEOUT)
            if settings.OLLA_ROUTING_STRATEGY == DISCOVERY
            else None,
            queue_size=settings.OLLA_QUEUE_SIZE,
            queue_timeout=settings.OLLA_QUEUE_TIMEOUT,
            wake_timeout=settings.OLLA_WAKE_TIMEOUT,
            doubts=feedback.doubts,
            ledger=Ledger(addresses=settings.OLLA_REQUEST_ADDRESSES, rows=rows) if written else None,
            share_counts=settings.OLLA_SHARED_COUNTS,
            tracing=tracing_from_settings(),
            ask_for_usage=settings.OLLA_STREAM_USAGE,
            embedding_batch_size=settings.OLLA_EMBEDDING_BATCH_SIZE,
            revocations=Revocations() if settings.OLLA_REVOKED_STREAMS == "cut" else None,
            limiter=Limiter(
                per_address=settings.OLLA_RATE_LIMIT_PER_IP,
                for_all=settings.OLLA_RATE_LIMIT_GLOBAL,
                shared=SharedLimits(settings.REDIS_URL) if settings.REDIS_URL else None,
            ),
        )


def tracing_from_settings() -> Tracing | None:
    """None, without a cost, when no traces are wanted."""
    if not settings.OLLA_TRACES:
        return None
    from proxy.records.tracing import Tracing  # noqa: PLC0415 -- OpenTelemetry is half a second that others spare

    return Tracing()


def sticky_from_settings() -> Sticky:
    """The keys are hashed with a secret that all processes of a deployment have."""
    return Sticky(
        StickyRules(
            sources=tuple(settings.OLLA_STICKY_KEY_SOURCES),
            idle_ttl=settings.OLLA_STICKY_IDLE_TTL,
            max_sessions=settings.OLLA_STICKY_MAX_SESSIONS,
            prefix_bytes=settings.OLLA_STICKY_PREFIX_BYTES,
        ),
        secret=salted_hmac("proxy.sticky", "", algorithm="sha256").digest(),
        sharing=Sharing(settings.REDIS_URL) if settings.REDIS_URL else None,
    )
