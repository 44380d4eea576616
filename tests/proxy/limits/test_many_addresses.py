"""Limits of addresses, of which there may be any number."""

from __future__ import annotations

import time
from itertools import count, islice

from proxy.access.auth import Caller
from proxy.limits.limiter import MANY_METERS, Limiter
from proxy.request.estimate import Estimate


async def test_very_many_addresses_make_a_request_no_dearer() -> None:
    """Whoever has a network of IPv6 has as many as they like."""
    limiter = Limiter(per_address=100)
    callers = (
        Caller(address := f"2001:db8:0:{number:x}::1", address, peer_trusted=False) for number in count()
    )

    async def seconds(number: int) -> float:
        began = time.process_time()
        for caller in islice(callers, number):
            (await limiter.enter(caller, Estimate())).close(0)
        return time.process_time() - began

    usual = await seconds(MANY_METERS) / MANY_METERS

    assert await seconds(500) / 500 < 10 * usual
