"""The engine: one thread that owns the model, fed by a queue, and the event loop's handle on it.

Everything that touches MLX, embeddings included, happens on that thread. Whatever a step produced for all
rows crosses to the event loop in one call. The loop never waits for the thread, and the thread never waits
for the loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import queue
import threading
import time
from typing import TYPE_CHECKING, Any

from inference.errors import (
    EngineError,
    EngineNotReady,
    EngineOverloaded,
    EngineStopping,
    GenerationFailed,
    InferenceError,
    ModelError,
    TooManyAnswers,
)
from inference.health import BROKEN, HEALTHY, LOADING, STOPPING, TRY_AGAIN_SECONDS, Health, is_broken, stuck
from inference.work import Row

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from inference.backend import Backend
    from inference.work import Message, Work

logger = logging.getLogger(__name__)

BEGUN_ANEW = "The engine failed while it was working on this request, and has begun anew. Try again."
GATHER_SECONDS = 0.01
"""How long the engine, when it has been idle, waits for the next one of requests that are being tokenised.
Rows that begin together share every step."""
MOST_GATHER_SECONDS = 0.25
"""How long it waits for all of them."""
LOOK_SECONDS = 0.001
MOST_FAILURES = 3
"""So many steps that fail one after the other, and the engine gives up: /health says so, and why."""


class Engine:
    """To be made on the event loop. `start` begins the thread, which loads the model and then generates.

    `build` and `leave` run on the thread, first and last. `model_name` is the model's until it is loaded.
    """

    def __init__(
        self,
        build: Callable[[], Backend],
        leave: Callable[[], None],
        *,
        model_name: str,
        max_waiting: int,
        stuck_after_seconds: float,
        gather_seconds: float = GATHER_SECONDS,
    ) -> None:
        self._build = build
        self._leave = leave
        self.model_name = model_name
        self._max_waiting = max_waiting
        self._stuck_after_seconds = stuck_after_seconds
        self._gather_seconds = gather_seconds
        self._inbox: queue.SimpleQueue[Work | None] = queue.SimpleQueue()
        self._open: dict[Work, None] = {}  # in order; touched by the loop only
        self._coming = 0  # written by the loop only
        self._health = LOADING
        self._backend: Backend | None = None
        self._step_began: float | None = None
        self._failures = 0  # steps in a row
        self._is_broken = False  # written by the thread only
        self._stop_at: float | None = None
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self.loaded = asyncio.Event()
        self.ended = asyncio.Event()
        self.failure: InferenceError | None = None  # why the thread ended by itself

    # --- On the event loop ---

    def start(self) -> None:
        self._thread.start()

    def health(self) -> Health:
        """Whether the engine can generate, as of this moment."""
        began = self._step_began
        if began is not None and (seconds := time.monotonic() - began) > self._stuck_after_seconds:
            return stuck(seconds)
        return BROKEN if self._is_broken and self._health.status == "healthy" else self._health

    @property
    def is_loaded(self) -> bool:
        return self._backend is not None

    @property
    def backend(self) -> Backend:
        """The loaded models. Raises EngineNotReady or EngineStopping while nothing can be generated."""
        health = self.health()
        if self._stop_at is not None:
            raise EngineStopping(STOPPING.reason)
        if self._backend is None or health.status != "healthy":
            raise EngineNotReady(health.reason)
        return self._backend

    @property
    def waiting(self) -> int:
        """Pieces of work that have not begun."""
        return self._inbox.qsize() + (self._backend.waiting if self._backend is not None else 0)

    @property
    def running(self) -> int:
        """Answers that are being generated."""
        return self._backend.running if self._backend is not None else 0

    @property
    def memory(self) -> dict[str, int]:
        """Bytes that MLX holds, by name; nothing before the model is loaded."""
        return self._backend.memory if self._backend is not None else {}

    @contextlib.contextmanager
    def expecting(self) -> Generator[None]:
        """Within it a request is being made ready, and will soon be submitted."""
        self._coming += 1
        try:
            yield
        finally:
            self._coming -= 1

    def submit(self, work: Sequence[Work]) -> None:
        """Queue `work`, all or none. Raises EngineNotReady, EngineStopping or EngineOverloaded, and
        TooManyAnswers for what could not be taken by an idle engine either.
        """
        rows, may_wait = self.backend.max_rows, self._max_waiting
        if len(work) > rows + may_wait:
            raise TooManyAnswers(
                f"This request asks for {len(work)} answers, and this server takes {rows + may_wait} at the "
                f"most: {rows} are generated at once, and {may_wait} may wait. Ask for fewer at a time."
            )
        would_wait = self._would_wait(work)
        if would_wait > may_wait:
            raise EngineOverloaded(
                f"With this request {would_wait} answers would wait, and at most {may_wait} may. Try again."
            )
        for item in work:
            self._open[item] = None
            self._inbox.put(item)

    def _would_wait(self, work: Sequence[Work]) -> int:
        """How many pieces of work wait once `work` has come, and all rows for which there are places run."""
        wanted = (*self._open, *work)
        # What nobody wants any more lies in the inbox until the next step: that, too, has a bound.
        unread = self._inbox.qsize() - self.backend.max_rows - self._max_waiting
        if len(wanted) <= self._max_waiting:
            return unread  # so few may wait, whether they do or not
        rows = [len(item.prompt) + len(item.said) for item in wanted if isinstance(item, Row)]
        return max(len(wanted) - self.backend.places_for(rows), unread)

    def cancel(self, work: Sequence[Work]) -> None:
        """Nobody waits for `work` any more: the engine drops it at its next step."""
        for item in work:
            item.cancelled = True
            self._open.pop(item, None)

    async def close(self, *, grace_seconds: float) -> None:
        """Take no more work, give what runs `grace_seconds` to finish, fail the rest."""
        self._stop_at = time.monotonic() + grace_seconds
        self._health = STOPPING
        self._inbox.put(None)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace_seconds):
                await self.ended.wait()
        self._fail_open(EngineStopping(STOPPING.reason))

    def hurry(self) -> None:
        """End the grace that `close` gives now."""
        self._stop_at = time.monotonic()
        self._inbox.put(None)
        self._fail_open(EngineStopping(STOPPING.reason))

    def join(self, *, timeout_seconds: float) -> bool:
        """Wait for the thread. Whether it has ended."""
        self._thread.join(timeout_seconds)
        return not self._thread.is_alive()

    def _deliver(self, messages: list[Message]) -> None:
        for work, message in messages:
            if work.cancelled or work not in self._open:
                continue
            if message.is_last:
                del self._open[work]
            work.deliver(message)

    def _fail_open(self, error: EngineError) -> None:
        failed, self._open = self._open, {}
        for work in failed:
            work.cancelled = True
            work.fail(error)

    # --- On the engine thread ---

    def _run(self) -> None:
        try:
            backend = self._backend = self._build()
            self.model_name = backend.name
            if self._stop_at is None:
                self._health = HEALTHY
            self._call_loop(self.loaded.set)
            self._generate(backend)
        except InferenceError as error:
            self._die(error)
        except Exception as error:
            logger.exception("The engine has failed.")
            self._die(self._why(error))
        finally:
            try:
                if self._backend is not None:
                    self._backend.close()
                self._leave()
            except Exception:  # such as MLX that cannot be imported: the thread has ended all the same
                logger.exception("The engine has not ended as it should.")
            self._call_loop(self.ended.set)

    def _generate(self, backend: Backend) -> None:
        while not self._is_over(backend):
            self._take_work(backend)
            self._step(backend)

    def _step(self, backend: Backend) -> None:
        """One step. When it fails in spite of everything, the engine begins anew, unless it keeps failing."""
        self._step_began = time.monotonic()
        try:
            for half in (backend.step, backend.follow_up):
                if messages := half():
                    self._call_loop(self._deliver, messages)
            self._failures = 0
            if backend.in_doubt:
                self._is_broken = is_broken(backend, was_broken=self._is_broken)
        except Exception:
            self._failures += 1
            if self._failures >= MOST_FAILURES:
                raise
            logger.exception("The engine has failed, and begins anew.")
            backend.restart()
            self._call_loop(self._fail_open, GenerationFailed(BEGUN_ANEW))
        finally:
            self._step_began = None

    def _is_over(self, backend: Backend) -> bool:
        if self._stop_at is None:
            return False
        nothing_left = self._inbox.empty() and not backend.has_work
        return nothing_left or time.monotonic() >= self._stop_at

    def _take_work(self, backend: Backend) -> None:
        """Everything that has come in. Waits for something to come when there is nothing to do."""
        was_idle = not backend.has_work
        longest = TRY_AGAIN_SECONDS if self._is_broken else None
        try:
            while work := self._inbox.get(block=not backend.has_work, timeout=longest):
                backend.add(work)
        except queue.Empty:
            if was_idle:
                self._gather(backend)

    def _gather(self, backend: Backend) -> None:
        """What is about to come in, too."""
        began = time.monotonic()
        until = began + self._gather_seconds
        is_coming = True
        while is_coming or not self._inbox.empty():
            left = until - time.monotonic()
            is_coming = self._coming > 0 and left > 0  # asked first: what came until then is there now
            with contextlib.suppress(queue.Empty):
                work = self._inbox.get(block=is_coming, timeout=min(left, LOOK_SECONDS))
                if work is None:
                    return
                backend.add(work)
                until = max(until, min(time.monotonic() + self._gather_seconds, began + MOST_GATHER_SECONDS))

    def _why(self, error: Exception) -> InferenceError:
        if self._backend is None:
            return ModelError(f"{self.model_name} could not be loaded: {type(error).__name__}: {error}.")
        return GenerationFailed(f"The engine has failed: {error}. Restart the server.")

    def _die(self, error: InferenceError) -> None:
        self.failure = error
        self._health = Health("unhealthy", str(error))
        self._call_loop(self._fail_open, GenerationFailed(str(error)))

    def _call_loop(self, function: Callable[..., Any], *arguments: Any) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is left to be told
            self._loop.call_soon_threadsafe(function, *arguments)
