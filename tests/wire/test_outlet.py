"""Writes of one turn of the event loop: together at its end, in order, and before anything is closed."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import TYPE_CHECKING

from ollaproject.wire.outlet import MAX_JOINED_BYTES, MAX_WAITING, Outlet, Turn

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@contextlib.asynccontextmanager
async def outlets(count: int) -> AsyncIterator[tuple[Turn, list[tuple[Outlet, socket.socket]]]]:
    """Outlets of real sockets, each with its other end, which does not block."""
    loop = asyncio.get_running_loop()
    turn = Turn(loop)
    async with contextlib.AsyncExitStack() as stack:
        made = []
        for _ in range(count):
            near, far = socket.socketpair()
            far.settimeout(0)
            stack.callback(far.close)
            transport, _ = await loop.create_connection(asyncio.Protocol, sock=near)
            stack.callback(transport.abort)
            made.append((Outlet(turn, transport), far))
        yield turn, made
        await asyncio.sleep(0)


def arrived(far: socket.socket) -> bytes:
    try:
        return far.recv(1024 * 1024)
    except BlockingIOError:
        return b""


async def test_a_lonely_write_goes_out_at_once() -> None:
    async with outlets(1) as (turn, [(outlet, far)]):
        turn.woke()
        outlet.write(b"answer")
        assert arrived(far) == b"answer"


async def test_writes_wait_until_the_last_of_those_who_were_woken_has_had_its_step() -> None:
    async with outlets(2) as (turn, [(one, far_one), (other, far_other)]):
        loop = asyncio.get_running_loop()
        seen = []

        def last_step() -> None:
            seen.append(arrived(far_one))
            other.write(b"2")

        loop.call_soon(one.write, b"1")
        turn.woke()
        loop.call_soon(last_step)
        turn.woke()
        await asyncio.sleep(0)
        assert seen == [b""]
        assert (arrived(far_one), arrived(far_other)) == (b"1", b"2")


async def test_pieces_keep_their_order() -> None:
    async with outlets(1) as (turn, [(outlet, far)]):
        turn.woke()
        turn.woke()
        outlet.write(b"a")
        outlet.write(b"b")
        outlet.flush()
        outlet.write(b"c")
        await asyncio.sleep(0)
        outlet.write(b"d")
        assert arrived(far) == b"abcd"


async def test_neither_many_sockets_nor_many_bytes_are_kept_waiting() -> None:
    async with outlets(MAX_WAITING) as (turn, made):
        turn.woke()
        turn.woke()
        made[0][0].write(b"x" * (MAX_JOINED_BYTES + 1))
        assert arrived(made[0][1])
        for outlet, _ in made:
            outlet.write(b"y")
        assert all(arrived(far).endswith(b"y") for _, far in made)
