"""A fake vllm-mlx server on a loopback port or Unix socket, in its own thread, that breaks the wire at will.

with FakeUpstream(models=("m1",)) as upstream:
    upstream.answer("/health", answers.health(status="unhealthy"))
    ...
    assert upstream.requests[0].header("host") == f"127.0.0.1:{upstream.port}"
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from typing import TYPE_CHECKING, Self
from urllib.parse import quote

from tests.fakes import answers
from tests.fakes.connection import Connection

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Coroutine, Sequence
    from pathlib import Path
    from types import TracebackType

    from tests.fakes.answers import Act, Answer, SeenRequest
    from tests.fakes.servers import FakeServer

WAIT_SECONDS = 30.0


class FakeUpstream:
    """See the top of the file. Every public method may be called from any thread."""

    def __init__(
        self,
        *,
        models: Sequence[str] = ("m1",),
        tls: ssl.SSLContext | None = None,
        socket_path: Path | None = None,
    ) -> None:
        self.models = tuple(models)
        self.port = 0
        self.socket_path = socket_path
        self._tls = tls
        self._changed = threading.Condition()
        self._requests: list[SeenRequest] = []
        self._departures: list[float] = []
        self._connections: set[Connection] = set()
        self._accepted = 0
        self._on_accept: Act | None = None
        self._otherwise: Answer | None = None
        self._answers: dict[str, Answer] = {
            "/health": answers.health(model_name=self.models[0] if self.models else None),
            "/v1/models": answers.respond(answers.models_list(self.models)),
            "/v1/chat/completions": answers.chat,
            "/v1/completions": answers.completion,
            "/v1/embeddings": answers.embeddings,
        }
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fake-upstream", daemon=True)
        self._server: asyncio.Server | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    # --- What a test sets ---

    @property
    def url(self) -> str:
        if self.socket_path is not None:
            return "http+unix://" + quote(str(self.socket_path), safe="")
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    def answer(self, path: str, answer: Answer) -> None:
        """From now on, requests for `path` (without its query) get `answer`."""
        with self._changed:
            self._answers[path] = answer

    def become(self, server: FakeServer) -> None:
        """Answer as a server of another type does, and nothing else."""
        with self._changed:
            self._answers = dict(server.answers)
            self._otherwise = server.otherwise
            self.models = tuple(model.name for model in server.models)

    def on_accept(self, act: Act | None) -> None:
        """What a new connection meets before a byte is read: Act.RESET, Act.CLOSE, or None to be served."""
        with self._changed:
            self._on_accept = act

    def start(self) -> None:
        """Listen: at the same place as before when it was stopped."""
        self._run(self._listen())

    def stop(self) -> None:
        """Play dead: refuse new connections and reset the open ones. A socket's file goes."""
        self._run(self._shut())

    def write_to_idle(self, data: bytes) -> None:
        """Send bytes that nobody asked for on every open connection."""
        self._loop.call_soon_threadsafe(self._for_each_writer, lambda writer: writer.write(data))

    def close_idle(self) -> None:
        """Close every open connection in order, as a server does whose keep-alive time is over."""
        self._loop.call_soon_threadsafe(self._for_each_writer, asyncio.StreamWriter.close)

    # --- What it saw ---

    @property
    def requests(self) -> list[SeenRequest]:
        with self._changed:
            return list(self._requests)

    def requests_for(self, path: str) -> list[SeenRequest]:
        return [request for request in self.requests if request.path.partition("?")[0] == path]

    @property
    def open_connections(self) -> int:
        with self._changed:
            return len(self._connections)

    @property
    def accepted_connections(self) -> int:
        with self._changed:
            return self._accepted

    @property
    def departures(self) -> list[float]:
        """When (time.monotonic) clients closed a connection whose answer was not finished."""
        with self._changed:
            return list(self._departures)

    def wait_for(self, condition: Callable[[FakeUpstream], bool], *, seconds: float = WAIT_SECONDS) -> None:
        """Block until `condition(self)` holds, looked at whenever something happens; fail after `seconds`."""
        with self._changed:
            if not self._changed.wait_for(lambda: condition(self), timeout=seconds):
                raise AssertionError(f"It did not happen within {seconds} s; requests seen: {self._requests}")

    def wait_for_requests(self, count: int, *, seconds: float = WAIT_SECONDS) -> list[SeenRequest]:
        self.wait_for(lambda upstream: len(upstream._requests) >= count, seconds=seconds)
        return self.requests

    def wait_for_departure(self, *, seconds: float = WAIT_SECONDS) -> float:
        """When the first client left in the middle of its answer."""
        self.wait_for(lambda upstream: bool(upstream._departures), seconds=seconds)
        return self.departures[0]

    # --- Inside its loop ---

    def _run(self, work: Coroutine[None, None, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout=WAIT_SECONDS)

    def _for_each_writer(self, action: Callable[[asyncio.StreamWriter], None]) -> None:
        for connection in self._connections:
            if connection.task:
                action(connection.writer)

    async def _listen(self) -> None:
        def connection() -> Connection:
            with self._changed:
                self._accepted += 1
                made = Connection(
                    self._accepted, self._serve, departed=self._note_departure, lost=self._forget
                )
                self._connections.add(made)
                return made

        if self.socket_path is not None:
            self._server = await self._loop.create_unix_server(connection, self.socket_path)
            return
        self._server = await self._loop.create_server(
            connection, "127.0.0.1", self.port, ssl=self._tls, reuse_address=True
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def _shut(self) -> None:
        if self._server is None:
            return
        self._server.close()
        self._server = None
        if self.socket_path is not None:
            self.socket_path.unlink(missing_ok=True)  # before Python 3.13, asyncio leaves it
        tasks = [connection.task for connection in self._connections if connection.task]
        for connection in list(self._connections):
            if connection.task:
                connection.reset()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)  # connection_lost of the reset connections

    def _forget(self, connection: Connection) -> None:
        with self._changed:
            self._connections.discard(connection)
            self._changed.notify_all()

    def _note_departure(self) -> None:
        with self._changed:
            self._departures.append(time.monotonic())
            self._changed.notify_all()

    async def _serve(self, connection: Connection) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            if self._on_accept is not None:
                await connection.perform(self._on_accept)
            while not connection.writer.is_closing():
                request = await connection.read_request()
                connection.answering = True
                for step in self._answer_to(request)(request):
                    await connection.perform(step)
                connection.answering = False
        connection.writer.close()

    def _answer_to(self, request: SeenRequest) -> Answer:
        with self._changed:
            self._requests.append(request)
            self._changed.notify_all()
            unknown = self._otherwise or answers.error(404, f"no route {request.path}")
            return self._answers.get(request.path.partition("?")[0], unknown)
