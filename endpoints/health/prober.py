"""Runs the checks of a worker process: one thread with one event loop asks, one thread writes down what was
found.

The loop waits for no database and the writer for no network, so a slow endpoint delays no other and a slow
disk no check. Both threads start with the first check and end with the worker.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from django.db import Error, connection

from endpoints.choices import ROUTABLE
from endpoints.health import deep_checks, discovery, health, rules
from endpoints.health.checking import check
from endpoints.health.probe import Checker
from endpoints.health.schedule import LOOKAHEAD_SECONDS, Claim
from ollaproject.wire import clock

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from endpoints.health.deep_checks import DeepCheck
    from endpoints.health.findings import Finding

logger = logging.getLogger(__name__)

MAX_CONCURRENT_CHECKS = 200
# Names are looked up in threads. A resolver that does not answer must not keep the other endpoints waiting.
LOOKUP_THREADS = 64
STOP_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Checked:
    """A check that was made, on its way to the writer."""

    claim: Claim
    finding: Finding
    at: datetime


@dataclass(frozen=True, slots=True)
class Tried:
    """A deep check that was made. `reason` says why nothing was generated."""

    check: DeepCheck
    reason: str


class Prober:
    """The two threads. Submitting is safe from any thread."""

    def __init__(self) -> None:
        self._results: queue.SimpleQueue[Checked | Tried | None] = queue.SimpleQueue()
        self._loop = asyncio.new_event_loop()
        self._loop.set_default_executor(ThreadPoolExecutor(LOOKUP_THREADS, thread_name_prefix="fleet-lookup"))
        self._stopping = asyncio.Event()
        self._slots = asyncio.Semaphore(MAX_CONCURRENT_CHECKS)
        self._running: set[int] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._asker = threading.Thread(target=self._ask, name="fleet-prober", daemon=True)
        self._writer = threading.Thread(target=self._write, name="fleet-health-writer", daemon=True)
        self._asker.start()
        self._writer.start()

    @property
    def alive(self) -> bool:
        return self._asker.is_alive() and self._writer.is_alive()

    def submit(self, claims: Iterable[Claim]) -> None:
        """Check each claim at its due time."""
        self._loop.call_soon_threadsafe(self._start, list(claims))

    def stop(self) -> None:
        """Drop the checks that are under way, write down what was found, and end both threads."""
        if self._asker.is_alive():
            self._loop.call_soon_threadsafe(self._stopping.set)
            self._asker.join(STOP_SECONDS)
        self._results.put(None)
        self._writer.join(STOP_SECONDS)

    def _ask(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._serve())
        except Exception:
            logger.exception("The checks of this process have stopped. The next one starts them again.")
        finally:
            self._loop.close()

    async def _serve(self) -> None:
        async with Checker() as self._checker:
            await self._stopping.wait()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def _start(self, claims: list[Claim]) -> None:
        for claim in claims:
            self._keep(self._loop.create_task(self._check(claim)))

    async def _check(self, claim: Claim) -> None:
        ahead = (claim.due - clock.now()).total_seconds()
        await asyncio.sleep(min(ahead, LOOKAHEAD_SECONDS))  # it is no more, if the clock is right
        if claim.endpoint.pk in self._running:
            return  # a list of models that takes long has outlasted the interval
        self._running.add(claim.endpoint.pk)
        try:
            async with self._slots:
                at = clock.now()
                wanted = discovery.is_wanted(claim.endpoint.health, at=at)
                finding = await check(self._checker, claim.endpoint, with_models=wanted)
            self._results.put(Checked(claim=claim, finding=finding, at=at))
        except Exception:
            logger.exception("The check of endpoint %s failed in an unexpected way.", claim.endpoint.name)
        finally:
            self._running.discard(claim.endpoint.pk)

    async def _try(self, check: DeepCheck) -> None:
        """It may take long, and holds up nobody."""
        reason = await self._checker.generate(check.target, check.trial)
        self._results.put(Tried(check, reason))

    def _write(self) -> None:
        failing = False
        while (checked := self._results.get()) is not None:
            try:
                self._record(checked) if isinstance(checked, Checked) else self._record_trial(checked)
                failing = False
            except Error as error:
                if not failing:
                    logger.error(
                        "The database does not answer (%s). What the checks find is lost until it does.",
                        error,
                    )
                failing = True
                connection.close()
            except Exception:
                logger.exception("The result of a check was not stored: %s", type(checked).__name__)
        connection.close()

    def _record(self, checked: Checked) -> None:
        endpoint = checked.claim.endpoint
        state = health.record(endpoint=endpoint, finding=checked.finding, at=checked.at)
        if state is not None and state.doubted:
            soon = clock.now() + timedelta(seconds=rules.CONFIRM_SECONDS)
            with suppress(RuntimeError):  # the loop has ended: the worker is stopping
                self.submit([Claim(endpoint=endpoint, due=soon)])
        elif state is not None and checked.finding.result.status in ROUTABLE:
            due = deep_checks.claim(endpoint, at=checked.at)
            if due is not None:
                with suppress(RuntimeError):
                    self._loop.call_soon_threadsafe(self._begin, due)

    def _begin(self, check: DeepCheck) -> None:
        self._keep(self._loop.create_task(self._try(check)))

    def _keep(self, task: asyncio.Task[None]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    @staticmethod
    def _record_trial(tried: Tried) -> None:
        if tried.reason:
            name = tried.check.target.name
            logger.warning("Endpoint %s was asked to generate a token: %s", name, tried.reason)
        deep_checks.record(tried.check.endpoint_id, tried.reason)


_lock = threading.Lock()
_prober: Prober | None = None


def submit(claims: list[Claim]) -> None:
    """Have this process make the checks of `claims`, each at its due time. Returns at once."""
    global _prober  # noqa: PLW0603
    if not claims:
        return
    with _lock:
        if _prober is None or not _prober.alive:
            _prober = Prober()
        _prober.submit(claims)


def stop() -> None:
    """End the checks of this process. Called when the worker shuts down."""
    global _prober
    with _lock:
        stopping, _prober = _prober, None
    if stopping is not None:
        stopping.stop()
