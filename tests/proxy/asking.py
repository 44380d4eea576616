"""Requests straight over the transport, without a gateway."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import httpx

from proxy.upstream.connection import Timeouts
from proxy.upstream.transport import Transport, WholeBody

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.fakes.upstream import FakeUpstream

SHORT = Timeouts(connect=2.0, write=2.0, first_byte=0.2, idle=0.2)
PATIENT = Timeouts(connect=2.0, write=5.0, first_byte=5.0, idle=5.0)


@asynccontextmanager
async def transport(**how: object) -> AsyncIterator[Transport]:
    made = Transport(**how)  # type: ignore[arg-type]
    try:
        yield made
    finally:
        await made.aclose()
        await asyncio.sleep(0)


async def ask(
    over: Transport, upstream: FakeUpstream, *, method: str = "GET", path: str = "/x", **how: object
) -> httpx.Response:
    """One request, its body read to the end."""
    body = how.pop("body", b"")
    assert isinstance(body, bytes)
    request = httpx.Request(
        method,
        upstream.url + path,
        headers=[("host", "h"), ("content-length", str(len(body)))],
        stream=WholeBody(body),
        extensions={"timeouts": how.pop("timeouts", PATIENT)},
    )
    response = await over.handle_async_request(request)
    try:
        await response.aread()
    finally:
        await response.aclose()
    return response


async def closed(over: Transport) -> None:
    """Wait until the transport has no connection left."""
    async with asyncio.timeout(5):
        while over.open_connections:  # noqa: ASYNC110 - what it waits for has no event
            await asyncio.sleep(0.005)
