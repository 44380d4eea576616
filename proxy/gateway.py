"""What one process needs at the door, made once and handed to the consumers. For one event loop."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Self

from django.conf import settings

from proxy.auth import Guard
from proxy.failover import Failover
from proxy.record import Records
from proxy.routing import Router
from proxy.upstream import Upstream


@dataclass(slots=True)
class Gateway:
    """`max_body_size` is in bytes."""

    guard: Guard
    max_body_size: int
    router: Router = field(default_factory=Router)
    upstream: Upstream = field(default_factory=Upstream)
    records: Records = field(default_factory=Records)
    failover: Failover = field(init=False)

    def __post_init__(self) -> None:
        self.failover = Failover(self.upstream, self.records)

    @classmethod
    def from_settings(cls) -> Self:
        return cls(
            guard=Guard(
                api_auth=settings.OLLA_API_AUTH,
                allowed_hosts=settings.OLLA_ALLOWED_HOSTS,
                trusted_proxies=settings.OLLA_TRUSTED_PROXIES,
            ),
            max_body_size=settings.OLLA_MAX_BODY_SIZE,
        )
