"""Bodies of requests. A large one lies in a file without a name, not in memory, and goes out from there.

The file is mapped, so what reads a body finds bytes either way. What is changed in it on its way, such as the
model's name, is noted beside it and put in while it is sent: no copy of it is ever made.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import mmap
import sys
import tempfile
import threading
import weakref
from io import BytesIO
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from ollaproject.wire.asgi import BodyTooLarge, ClientDisconnected
from proxy.request.beside import done_beside

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from io import FileIO
    from pathlib import Path

    from ollaproject.wire.asgi import Message, Receive

logger = logging.getLogger(__name__)

T = TypeVar("T")

# So much is handed to the disk at once, by a thread: disks may make one wait.
WRITE_BYTES = 1024 * 1024
PIECE_BYTES = 256 * 1024
# After so much that was sent, the memory that it was read through is given back.
KEPT_BYTES = 4 * 1024 * 1024


class NoRoomError(Exception):
    """The disk, or what may be used of it, is full."""


class Edit(NamedTuple):
    """`by` stands in the place of the bytes from `start` to `end`."""

    start: int
    end: int
    by: bytes


class Spooled:
    """A body in a file. `data` is what came, without the edits; for the length with them there is `len`."""

    __slots__ = ("__weakref__", "_edits", "_length", "data")

    def __init__(self, data: mmap.mmap, edits: tuple[Edit, ...] = ()) -> None:
        self.data = data
        self._edits = edits
        self._length = len(data) + sum(len(edit.by) - (edit.end - edit.start) for edit in edits)

    def __len__(self) -> int:
        return self._length

    @property
    def is_edited(self) -> bool:
        return bool(self._edits)

    def edited(self, edits: list[Edit]) -> Spooled:
        """Edits of one place are put there in the order in which they were made."""
        return Spooled(self.data, tuple(sorted((*self._edits, *edits), key=lambda edit: edit[:2])))

    def pieces(self) -> Iterator[memoryview | bytes]:
        """All of it, in pieces to be sent one after another."""
        view, at = memoryview(self.data), 0
        for start, end, by in (*self._edits, Edit(len(view), len(view), b"")):
            for begin in range(at, start, PIECE_BYTES):
                if (begin - at) % KEPT_BYTES == 0:
                    self.rest()
                yield view[begin : min(begin + PIECE_BYTES, start)]
            if by:
                yield by
            at = end

    def rest(self) -> None:
        """Give back the memory that it was read through. It comes from the file again when it is needed."""
        self.data.madvise(mmap.MADV_DONTNEED)


Body = bytes | Spooled


def data_of(body: Body) -> bytes | mmap.mmap:
    """To look at, not to change: places in it are those that `edited` means."""
    return body if isinstance(body, bytes) else body.data


def whole(body: Body) -> bytes | mmap.mmap:
    """All of it as it goes out: a copy only of what lies in a file and is edited."""
    if isinstance(body, Spooled) and body.is_edited:
        return b"".join(body.pieces())
    return data_of(body)


def edited(body: Body, *edits: Edit) -> Body:
    """The same body with other bytes in some places, given from the first to the last."""
    if isinstance(body, Spooled):
        return body.edited(list(edits))
    pieces: list[bytes] = []
    at = 0
    for start, end, by in edits:
        pieces += [body[at:start], by]
        at = end
    return b"".join([*pieces, body[at:]])


def pieces_of(body: Body) -> Iterator[memoryview | bytes]:
    if isinstance(body, Spooled):
        yield from body.pieces()
        return
    view = memoryview(body)
    for start in range(0, len(view), PIECE_BYTES):
        yield view[start : start + PIECE_BYTES]


class _Filling:
    """A file that is being filled. `body` is there when it is full."""

    body: Spooled

    def __init__(self, file: FileIO, take: Callable[[int], None]) -> None:
        self.size = 0
        self._file = file
        self._take = take

    async def write(self, piece: bytes) -> None:
        self._take(len(piece))
        self.size += len(piece)
        await _in_thread(_write, self._file, piece)


class Spool:
    """Where the large bodies of one process lie: those above `memory` bytes, together at most `disk` bytes.

    A file loses its name before anything is written to it, so that nothing stays behind, whatever ends.
    """

    def __init__(self, folder: Path, *, memory: int, disk: int) -> None:
        self._folder = folder
        self._memory = memory
        self._disk = disk
        self._lock = threading.Lock()
        self._making = asyncio.Lock()
        self.used = 0  # bytes

    async def read(self, receive: Receive, *, limit: int) -> Body:
        """A whole request body, as it comes in.

        Raises ClientDisconnected when the client leaves meanwhile, BodyTooLarge as soon as more than `limit`
        bytes came, NoRoomError.
        """
        message = _part(await receive())
        if not message.get("more_body", False):
            body: bytes = message.get("body", b"")
            if len(body) > limit:
                raise BodyTooLarge(limit)
            return body
        # To join pieces would take twice the body's memory. This hands over what it holds.
        gathered = BytesIO()
        while True:
            gathered.write(message.get("body", b""))
            if gathered.tell() > limit:
                raise BodyTooLarge(limit)
            if not message.get("more_body", False):
                return gathered.getvalue()
            if gathered.tell() > self._memory:
                return await self._read_on(receive, gathered, limit)
            message = _part(await receive())

    async def keep(self, make: Callable[[], bytes]) -> Body:
        """What `make` gives, kept as a body that came is. Raises NoRoomError, and what `make` does.

        It is made beside the event loop, one after another: until it is written, a large one takes several
        times its size of memory.
        """
        async with self._making:
            body = await done_beside(make)
            if len(body) <= self._memory:
                return body
            async with self._filling() as file:
                await file.write(body)
            return file.body

    async def _read_on(self, receive: Receive, gathered: BytesIO, limit: int) -> Spooled:
        """Into a file: what has been gathered, and what is still to come."""
        async with self._filling() as file:
            more = True
            while more:
                if gathered.tell() < WRITE_BYTES:
                    message = _part(await receive())
                    more = message.get("more_body", False)
                    gathered.write(message.get("body", b""))
                if file.size + gathered.tell() > limit:
                    raise BodyTooLarge(limit)
                if gathered.tell() >= WRITE_BYTES or not more:
                    piece, gathered = gathered.getvalue(), BytesIO()
                    await file.write(piece)
        return file.body

    @contextlib.asynccontextmanager
    async def _filling(self) -> AsyncIterator[_Filling]:
        """A file for one body, which is there afterwards. Raises NoRoomError."""
        filling: _Filling | None = None
        try:
            with await _in_thread(self._open) as file:
                filling = _Filling(file, self._take)
                yield filling
                data = await _in_thread(_mapped, file)
        except BaseException as error:
            if filling is not None:
                self._give_back(filling.size)
            if isinstance(error, OSError):
                logger.error("A large body cannot be kept in %s: %s", self._folder, error)
                raise NoRoomError(error.strerror) from None
            raise
        weakref.finalize(data, self._give_back, filling.size).atexit = False
        filling.body = Spooled(data)

    def _open(self) -> FileIO:
        self._folder.mkdir(mode=0o700, exist_ok=True)
        return tempfile.TemporaryFile(dir=self._folder, buffering=0)

    def _take(self, size: int) -> None:
        with self._lock:
            if self.used + size > self._disk:
                raise NoRoomError(f"{self._disk} bytes of bodies are under way")
            self.used += size

    def _give_back(self, size: int) -> None:
        with self._lock:
            self.used -= size


def _write(file: FileIO, piece: bytes) -> None:
    view = memoryview(piece)
    while view:
        view = view[file.write(view) :]


def _mapped(file: FileIO) -> mmap.mmap:
    """On macOS Python has the disk take all of a file before it is mapped, and lets no other thread run
    meanwhile. There is nothing left to be taken when that was asked for before, while others run.
    """
    if sys.platform == "darwin":
        with contextlib.suppress(OSError):  # of no use where the file system does not know it
            fcntl.fcntl(file, fcntl.F_FULLFSYNC)
    return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


async def _in_thread(function: Callable[..., T], *args: object) -> T:
    """Waits for it also when it is cancelled: the file is not to be closed under a thread that writes."""
    task = asyncio.ensure_future(asyncio.to_thread(function, *args))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise


def _part(message: Message) -> Message:
    if message["type"] != "http.request":
        raise ClientDisconnected
    return message
