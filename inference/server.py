"""The model process: uvicorn on the main thread, the engine on another, and how the two start and end
together.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

import uvicorn

from inference.engine import Engine
from inference.hardware.blas import accelerate
from inference.http.asgi import make_application
from inference.http.boundary import Serving
from inference.http.client_connection import ClientConnection
from ollaproject.garbage import spare_what_is_loaded

if TYPE_CHECKING:
    from collections.abc import Generator
    from types import FrameType

    from inference.backend import Backend
    from inference.options import ModelOptions, ServerOptions
    from ollaproject.wire.asgi import Application

logger = logging.getLogger(__name__)

GRACE_SECONDS = 1.0
"""What running answers get to finish when the server is told to stop."""
CLOSE_SECONDS = 2
"""What connections get after that to take in their last bytes."""
THREAD_END_SECONDS = 5.0
LEADER_SECONDS = 4.0
"""What the first machine gets to finish when all are told to stop: it needs the others for that."""
KEEP_ALIVE_SECONDS = 75
LISTEN_BACKLOG = 2048
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""The last one comes when a terminal is closed."""


class ModelServer(uvicorn.Server):
    """To be made on its event loop. It listens at once, and answers 503 until the model is loaded."""

    def __init__(self, options: ServerOptions) -> None:
        self.engine = Engine(
            partial(_build, options.models),
            _leave_thread,
            model_name=options.models.served_name or options.models.name,
            max_waiting=options.max_waiting,
            stuck_after_seconds=options.stuck_after_seconds,
        )
        self._tokenizing = ThreadPoolExecutor(max_workers=1, thread_name_prefix="tokenizing")
        serving = Serving(self.engine, self._tokenizing, options.api_key, options.max_body_bytes)
        self._loop = asyncio.get_running_loop()
        application = make_application(serving, options.allowed_origins)
        super().__init__(_uvicorn_config(application))

    async def run_on(self, listener: socket.socket) -> None:
        """Serve until told to stop. Raises the ModelError of a model that cannot be loaded."""
        self.engine.start()
        guard = asyncio.create_task(self._stop_when_nothing_was_loaded())
        try:
            await self.serve(sockets=[listener])
        finally:
            guard.cancel()
            self._tokenizing.shutdown(wait=False, cancel_futures=True)
        if self.engine.failure is not None and not self.engine.is_loaded:
            raise self.engine.failure

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002
        """The first signal stops the server with grace, the second one at once."""
        if self.should_exit:
            self._loop.call_soon_threadsafe(self.engine.hurry)
            self.force_exit = True
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        logger.info("Stopping: running answers have %.0f s to finish.", GRACE_SECONDS)
        await self.engine.close(grace_seconds=GRACE_SECONDS)
        await super().shutdown(sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Unlike uvicorn's own this does not raise the signal again in the end: a stop that was asked for
        is no failure, and the process exits with 0. Who asks again while it waits for the engine gets that
        at once."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        numbers = _stop_signals()
        for number in numbers:
            signal.signal(number, self.handle_exit)
        try:
            yield
        finally:
            for number in numbers:
                signal.signal(number, _leave_at_once)

    async def _stop_when_nothing_was_loaded(self) -> None:
        await self.engine.ended.wait()
        if not self.engine.is_loaded:
            self.should_exit = True


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; OSError when the address cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=LISTEN_BACKLOG)


def serve(options: ServerOptions, listener: socket.socket) -> None:
    """Run a model server until it is told to stop. Raises ModelError when its model cannot be loaded."""
    with asyncio.Runner(loop_factory=_new_event_loop) as runner:
        engine = runner.run(_serve(options, listener))
    if not engine.join(timeout_seconds=THREAD_END_SECONDS):
        # Python cannot end with MLX at work on another thread: it would abort. Nothing is left to be saved.
        logger.warning("The engine is still busy with a step or with loading. It is left behind.")
        _leave_at_once()


def _leave_at_once(*_: object) -> None:
    logging.shutdown()
    os._exit(0)


def _stop_signals() -> list[signal.Signals]:
    """Not the one of a closed terminal for who is started by nohup."""
    outlives_terminal = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    return [each for each in STOP_SIGNALS if each != signal.SIGHUP or not outlives_terminal]


async def _serve(options: ServerOptions, listener: socket.socket) -> Engine:
    server = ModelServer(options)
    logger.info("Loading %s. /health says when it is ready.", options.models.name)
    await server.run_on(listener)
    return server.engine


def _new_event_loop() -> asyncio.AbstractEventLoop:
    import uvloop  # noqa: PLC0415 -- not in processes that only import this module

    return uvloop.new_event_loop()


def _build(models: ModelOptions) -> Backend:
    """Runs on the engine thread. `accelerate` has to come before anything imports MLX."""
    logger.info("%s", accelerate(cache_dir=models.cache_dir).summary)
    from inference.backend import build  # noqa: PLC0415

    if models.embeddings_only:
        from inference.embeddings.encoder_backend import build_encoder  # noqa: PLC0415

        backend: Backend = build_encoder(models)
    elif models.together:
        from inference import together  # noqa: PLC0415

        backend = together.build(models)
    else:
        backend = build(models)
    spare_what_is_loaded()
    for name, _, tokens in backend.served:
        logger.info("%s is ready: it reads %d tokens.", name, tokens)
    return backend


def serve_along(models: ModelOptions) -> None:
    """On another machine than the first of those that run a model together. Raises ModelError."""
    logger.info("%s", accelerate(cache_dir=models.cache_dir).summary)
    from inference import together  # noqa: PLC0415 -- as in `_build`

    signal.signal(signal.SIGTERM, lambda *_: threading.Timer(LEADER_SECONDS, os._exit, [0]).start())
    together.serve_along(models)


def _leave_thread() -> None:
    from inference.backend import leave_thread  # noqa: PLC0415 -- as above

    leave_thread()


def _uvicorn_config(application: Application) -> uvicorn.Config:
    logging.getLogger("uvicorn.error").addFilter(_is_no_cut_stream)
    return uvicorn.Config(
        application,
        http=ClientConnection,
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=CLOSE_SECONDS,
    )


def _is_no_cut_stream(record: logging.LogRecord) -> bool:
    """Cutting a connection is how a stream that failed ends (see inference/http/boundary.py): no news for the
    log.
    """
    return record.getMessage() != "ASGI callable returned without completing response."
