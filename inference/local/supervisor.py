"""The supervisor of one machine: four times a second it looks at every model it has, and each takes a step.

It remembers nothing that it could not find again: wishes and states are in the database, processes say
themselves who they are (inference.local.run). So it may be killed at any moment; the next one goes on.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import signal
import threading
import time
from typing import TYPE_CHECKING

from django.db import Error, connection

from inference.local import hosts, record, run, wishes
from inference.local.choices import State, Wanted
from inference.local.keeper import STOPPED, Keeper
from inference.local.memory import Memory
from inference.local.model_process import ModelProcess
from inference.models import LocalModel, LocalModelStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from inference.local.fleet import Fleet
    from inference.local.site import Site

logger = logging.getLogger(__name__)

TICK_SECONDS = 0.25
HEARTBEAT_SECONDS = 2.0
# Together with the time of a tick below what `serve` gives its programs to stop.
STOP_SECONDS = 8.0
LOCK_SECONDS = 2.0
SUPERVISOR_STOPPED = "its machine's supervisor was stopped"


class AlreadyRuns(Exception):
    """Another supervisor uses the same home."""


class Supervisor:
    """Of the machine `site`, for the gateway `fleet`."""

    def __init__(self, site: Site, fleet: Fleet) -> None:
        self._site = site
        self._fleet = fleet
        self._keepers: dict[int, Keeper] = {}
        self._endpoints: dict[int, int] = {}
        self._memory = Memory(self._keepers)
        self._stopping = threading.Event()
        self._heartbeat_at = 0.0
        self._failing = False

    def run(self) -> None:
        """Until a signal comes. Raises AlreadyRuns."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda *_: self._stopping.set())
        with self._lock():
            while not self._tick(self._begin) and not self._stopping.wait(TICK_SECONDS):
                pass  # the database may be coming up beside it
            while not self._stopping.wait(TICK_SECONDS):
                self._tick(self._look_at_all)
            self._end()

    @contextlib.contextmanager
    def _lock(self) -> Iterator[None]:
        """One supervisor per home. Its models look at this lock, too: they end when nobody holds it."""
        self._site.lock.parent.mkdir(parents=True, exist_ok=True)
        with self._site.lock.open("a") as lock:
            deadline = time.monotonic() + LOCK_SECONDS
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:  # for a moment, when a model looks whether anyone holds it
                    if time.monotonic() > deadline:
                        raise AlreadyRuns from None
                    time.sleep(0.1)
            yield

    def _tick(self, look: Callable[[], None]) -> bool:
        """Look, and say whether the database let it."""
        try:
            look()
            self._failing = False
        except Error as error:
            if not self._failing:
                logger.error("The database does not answer (%s). The models go on as they are.", error)
            self._failing = True
            connection.close()
        return not self._failing

    # --- Begin, look, end

    def _begin(self) -> None:
        hosts.begin(self._site.name, self._memory.machine())

    def _look_at_all(self) -> None:
        models = {model.pk: model for model in LocalModel.objects.select_related("status")}
        self._memory.models = models
        self._let_go_of_deleted(models)
        statuses = record.statuses(models.values())
        self._wake(models, statuses)
        for pk, model in models.items():
            status = statuses[pk]
            status.model = model
            if hosts.is_mine(model, status, self._site.name):
                self._keeper(model, status).tick(model, status, self._wanted(model))
                self._release(model, status)
        if time.monotonic() >= self._heartbeat_at:
            self._heartbeat_at = time.monotonic() + HEARTBEAT_SECONDS
            hosts.beat(self._site.name, self._memory.machine())
            self._end_strays()

    def _keeper(self, model: LocalModel, status: LocalModelStatus) -> Keeper:
        keeper = self._keepers.get(model.pk)
        if keeper is None:
            keeper = self._keepers[model.pk] = Keeper(model.pk, self._site, self._fleet, self._memory)
            if keeper.adopt(model, status):
                logger.info("%s still runs (process %s): it is kept.", model.name, status.pid)
            elif status.state not in (State.STOPPED, State.UNLOADED, State.FAILED):
                record.move(status, State.STOPPED, pid=None, pid_began=None)
                if status.endpoint_id is not None and model.wanted != Wanted.RUNNING:
                    self._fleet.close(status.endpoint_id, reason=STOPPED)
        if status.endpoint_id is not None:
            self._endpoints[model.pk] = status.endpoint_id
        return keeper

    def _wanted(self, model: LocalModel) -> Wanted:
        moved = model.host not in ("", self._site.name)
        return Wanted.STOPPED if moved else Wanted(model.wanted)

    def _release(self, model: LocalModel, status: LocalModelStatus) -> None:
        """A model that rests here, and is to run elsewhere or anywhere, may be taken by another machine."""
        moved = model.host not in ("", self._site.name)
        if status.state == State.STOPPED and status.host and (moved or not model.host):
            record.note(status, host="", **({"fetched_for": ""} if moved else {}))

    def _wake(self, models: dict[int, LocalModel], statuses: dict[int, LocalModelStatus]) -> None:
        asleep = {
            status.endpoint_id: pk
            for pk, status in statuses.items()
            if models[pk].wanted == Wanted.UNLOADED and status.endpoint_id is not None
        }
        if not asleep:
            return
        for endpoint_id in self._fleet.woken(asleep):
            pk = asleep[endpoint_id]
            if wishes.wake(pk):
                models[pk].wanted = Wanted.RUNNING
                logger.info("%s is asked for.", models[pk].name)

    def _let_go_of_deleted(self, models: dict[int, LocalModel]) -> None:
        for pk in [pk for pk in self._keepers if pk not in models]:
            self._keepers[pk].stop()
            if self._keepers[pk].has_ended():
                del self._keepers[pk]
        for pk in [pk for pk in self._endpoints if pk not in models]:
            self._fleet.remove(self._endpoints.pop(pk))

    def _end_strays(self) -> None:
        """Processes that no keeper knows: their supervisor died between their start and its note of it."""
        known = {running.process.pid for keeper in self._keepers.values() for running in keeper.servers()}
        for path in self._site.run_folder.glob("model-*.json"):
            found = run.read(path)
            if found is None or found.pid in known:
                continue
            stray = ModelProcess.adopt(found)
            if stray is None:
                path.unlink(missing_ok=True)
            else:
                logger.warning("Process %s serves a model that is nobody's: it is ended.", found.pid)
                stray.kill()

    def _end(self) -> None:
        self._tick(self._close_all)
        for keeper in self._keepers.values():
            keeper.stop()
        deadline = time.monotonic() + STOP_SECONDS
        while time.monotonic() < deadline:
            running = [keeper for keeper in self._keepers.values() if not keeper.has_ended()]
            if not running:
                break
            time.sleep(0.05)
        self._tick(self._say_goodbye)

    def _close_all(self) -> None:
        for endpoint_id in self._endpoints.values():
            self._fleet.close(endpoint_id, reason=SUPERVISOR_STOPPED)

    def _say_goodbye(self) -> None:
        mine = LocalModelStatus.objects.filter(host=self._site.name).exclude(state=State.FAILED)
        for status in mine.select_related("model"):
            record.move(status, State.STOPPED, **record.NOT_RUNNING)
        hosts.end(self._site.name)
