"""`Server-Timing` (W3C) for clients that ask with `X-Olla-Timing`: where the time went until an answer began.

Milliseconds. `queue` waited for a place at an endpoint, `failed` went to endpoints that did not answer,
`upstream` to the one that did, `gateway` is the rest, reading the request's body included, `total` all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from proxy.records.record import Attempt
    from proxy.request.headers import Pair

ASKED_BY = b"x-olla-timing"


def header(attempts: Sequence[Attempt], elapsed: float) -> Pair:
    """`elapsed`: seconds since the request came in."""
    queue = sum(attempt.waited for attempt in attempts)
    failed = sum(attempt.lasted for attempt in attempts if attempt.reason is not None)
    upstream = sum(attempt.lasted for attempt in attempts if attempt.reason is None)
    gateway = max(elapsed - queue - failed - upstream, 0.0)
    parts = {"queue": queue, "failed": failed, "upstream": upstream, "gateway": gateway, "total": elapsed}
    shown = ", ".join(f"{name};dur={seconds * 1000:.1f}" for name, seconds in parts.items())
    return b"server-timing", shown.encode()
