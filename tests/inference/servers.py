"""A model server in a thread of this process, listening on a free port."""

from __future__ import annotations

import asyncio
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import uvloop

from inference.server import ModelServer, listen

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator

    from inference.options import ServerOptions

DEADLINE_SECONDS = 60


class Running:
    """A server that has begun. `run` does something on its event loop."""

    def __init__(self, options: ServerOptions) -> None:
        self._options = options
        self._listener = listen("127.0.0.1", 0)
        self._begun = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="model-server")
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.port: int = self._listener.getsockname()[1]
        self.failure: BaseException | None = None

    def start(self) -> None:
        self._thread.start()
        assert self._begun.wait(DEADLINE_SECONDS)

    def stop(self) -> None:
        self.server.should_exit = True
        self._thread.join(DEADLINE_SECONDS)
        assert self.server.engine.join(timeout_seconds=DEADLINE_SECONDS)

    def wait_until_loaded(self) -> None:
        self.run(self.server.engine.loaded.wait())

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(DEADLINE_SECONDS)

    def _serve(self) -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(self._run())

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.server = ModelServer(self._options)
        self._begun.set()
        try:
            await self.server.run_on(self._listener)
        except Exception as error:  # noqa: BLE001 -- whatever it is, the test decides
            self.failure = error


@contextmanager
def running(options: ServerOptions) -> Iterator[Running]:
    """A loaded server, stopped in the end."""
    server = Running(options)
    server.start()
    try:
        server.wait_until_loaded()
        yield server
    finally:
        server.stop()
