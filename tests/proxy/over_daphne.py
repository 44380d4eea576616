"""Daphne in a thread, with our hooks. Its reactor runs once in a process: one server for all tests."""

from __future__ import annotations

import asyncio
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

import daphne.server  # noqa: F401 - installs the reactor
from channels.routing import URLRouter
from twisted.internet import reactor

from ollaproject.daphne_server import Server
from proxy.routes import routes

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterator

    from ollaproject.wire.asgi import Receive, Scope, Send
    from proxy.gateway import Gateway

    Application = Callable[[Scope, Receive, Send], Awaitable[None]]

Value = TypeVar("Value")

WAIT_SECONDS = 30.0


class DaphneServer:
    """Serves whichever gateway it is given last."""

    def __init__(self) -> None:
        self.server = Server(
            self.application, endpoints=["tcp:port=0:interface=127.0.0.1"], signal_handlers=False
        )
        self._serves: Application | None = None

    async def application(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert self._serves is not None
        await self._serves(scope, receive, send)

    @property
    def port(self) -> int:
        port: int = self.server.listening_addresses[0][1]
        return port

    @contextmanager
    def serving(self, gateway: Gateway) -> Iterator[int]:
        with self.serving_application(URLRouter(routes(gateway))) as port:
            yield port
        self.run(gateway.upstream.aclose())

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        loop: asyncio.AbstractEventLoop = reactor._asyncioEventloop
        return loop

    def run(self, work: Coroutine[None, None, Value]) -> Value:
        """What `work` gives in the server's own thread."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(WAIT_SECONDS)

    @contextmanager
    def serving_application(self, application: Application) -> Iterator[int]:
        """The port at which `application` is served."""
        self._serves = application
        yield self.port


@contextmanager
def listening_over_daphne() -> Iterator[DaphneServer]:
    made = DaphneServer()
    started = threading.Event()
    reactor.callWhenRunning(started.set)
    thread = threading.Thread(target=made.server.run, name="daphne")
    thread.start()
    try:
        assert started.wait(WAIT_SECONDS)
        yield made
    finally:
        reactor.callFromThread(made.server.stop)
        thread.join(WAIT_SECONDS)
        assert not thread.is_alive()
