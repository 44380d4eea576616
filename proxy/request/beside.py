"""Work on large bodies beside the event loop: what takes milliseconds would hold up every other request.

One thread does it, one piece of work after another. Several would be no faster, because Python runs one at a
time, and each would take its turn from the event loop.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

# To tell so much in another format takes 2 to 20 ms, by how many messages it is; the way there and back 0.2.
LARGE_BYTES = 256 * 1024

_thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="large-bodies")


async def done(size: int, function: Callable[..., T], *args: object) -> T:
    """`function(*args)`, which works on `size` bytes: at once when they are few, else in the thread."""
    return function(*args) if size < LARGE_BYTES else await done_beside(function, *args)


async def done_beside(function: Callable[..., T], *args: object) -> T:
    """`function(*args)`, in the thread. When this is cancelled, what has begun there goes on to its end."""
    return await asyncio.get_running_loop().run_in_executor(_thread, partial(function, *args))
