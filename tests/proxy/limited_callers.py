"""A process of its own with callers that share a key, for tests of limits across processes.

`python -m tests.proxy.limited_callers REDIS_URL LIMIT=N CALLERS` says `ready`, waits for a line, lets all of
them ask at once, says how many were let in, and ends when its input does.
"""

from __future__ import annotations

import asyncio
import os
import sys

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "ollaproject.settings")
django.setup()

# ruff: noqa: E402
from ollaproject.wire.openai_errors import ApiError
from proxy.access.auth import Caller
from proxy.access.key_table import Holder
from proxy.limits.limiter import Limiter
from proxy.limits.limits import Limits
from proxy.limits.shared_limits import SharedLimits
from proxy.request.estimate import Estimate


async def ask(url: str, limits: Limits, callers: int) -> None:
    shared = SharedLimits(url)
    limiter = Limiter(shared=shared)
    caller = Caller("", "", peer_trusted=False, holder=Holder(1, "shared", b"", (), limits=limits))

    async def enter() -> bool:
        try:
            await limiter.enter(caller, Estimate(prompt=10))
        except ApiError:
            return False
        return True

    print("ready", flush=True)  # noqa: T201
    await asyncio.to_thread(sys.stdin.readline)
    let_in = await asyncio.gather(*(enter() for _ in range(callers)))
    print(sum(let_in), flush=True)  # noqa: T201
    await asyncio.to_thread(sys.stdin.readline)
    await shared.aclose()


if __name__ == "__main__":
    word, _, number = sys.argv[2].partition("=")
    asyncio.run(ask(sys.argv[1], Limits(**{word: int(number)}), int(sys.argv[3])))
