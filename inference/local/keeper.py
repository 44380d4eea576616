"""Keeps one model as it is wanted on this machine: looks at it, asks the rules, takes the step."""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING

from django.db import transaction
from django.utils.translation import gettext_noop

from inference.local import files, lifecycle, log_view, offers, record, room, setbacks, site, wishes
from inference.local.choices import State, Wanted
from inference.local.fetching import Fetching
from inference.local.lifecycle import Process, Step, View
from inference.local.record import NO_PROGRESS
from inference.local.renewal import AHEAD_SECONDS, DRAIN_SECONDS, Departure, Renewal, Server
from inference.local.running import Running
from ollaproject.sealed import seal
from ollaproject.wire import clock

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from inference.local.fleet import Fleet
    from inference.local.memory import Memory
    from inference.local.site import Site
    from inference.models import LocalModel, LocalModelStatus

FIGURES_SECONDS = 2.0
LOADING_SECONDS = 0.5
MILLISECONDS = 1000
KEY_BYTES = 32
STOPPED = "its model is stopped"  # why its endpoint is out of service
RENEWING = gettext_noop("A new server of it is being loaded; this one serves until then.")
ONE_BY_ONE = gettext_noop("Memory does not allow two of it. Requests wait until its next server is loaded.")


class Keeper:
    """One model's, for as long as this machine has it. `last_used_at` is when it was last asked."""

    def __init__(self, model_id: int, site: Site, fleet: Fleet, memory: Memory) -> None:
        self.model_id = model_id
        self._site = site
        self._fleet = fleet
        self._memory = memory
        self._fetching = Fetching(fleet)
        self._renewal = Renewal()
        self._gave_up: tuple[datetime | None, str] | None = None  # what could not be renewed
        self._figures_at = 0.0
        self._departure: Departure | None = None  # of the one that runs
        self.running: Running | None = None
        self.needed_bytes = 0
        self.last_used_at = clock.now()

    def tick(self, model: LocalModel, status: LocalModelStatus, wanted: Wanted) -> None:
        """`wanted` may differ from the model's own wish: one that was moved to another machine stops here."""
        serves = self.running is not None and status.state == State.READY
        self._fetching.take_outcome(model, status, wanted, beside=serves)
        self._take_endings(model, status, wanted)
        step = lifecycle.next_step(self.look(model, status, wanted))
        act: dict[Step, Callable[[LocalModel, LocalModelStatus], None]] = {
            Step.START: self._start,
            Step.OPEN: self._open,
            Step.RENEW: self._renew,
            Step.SWAP: self._swap,
        }
        if step in act:
            act[step](model, status)
        elif step == Step.FETCH:
            self._fetching.begin(model, status, beside=self.running is not None)
        elif step == Step.DELETE_FILES:
            self._fetching.delete(model, status, reason=STOPPED)
        elif step == Step.REST:
            self._rest(model, status, lifecycle.resting_state(wanted))
        elif step == Step.CANCEL_FETCH:
            self._fetching.cancel()
        elif step == Step.KILL and self.running is not None:
            self.running.kill()
        elif step == Step.STOP:
            self._drain(model, status, lifecycle.resting_state(wanted))
        self._keep_figures(model, status)

    def look(self, model: LocalModel, status: LocalModelStatus, wanted: Wanted) -> View:
        return View(
            wanted=wanted,
            state=State(status.state),
            has_files=files.are_here(model, status),
            fetching=self._fetching.is_under_way,
            process=Process.NONE if self.running is None else self.running.now,
            successor=self._renewal.now,
            restart_due=self._is_restart_due(model, status),
            update_due=model.update_asked_at is not None,
            files_unwanted=model.files_unwanted,
            may_try=wishes.may_be_tried(model, status),
        )

    def servers(self) -> list[Running]:
        """Every process of this model."""
        return [*([] if self.running is None else [self.running]), *self._renewal.running()]

    def stop(self) -> None:
        """Begin to stop whatever runs."""
        self._fetching.cancel()
        for running in self.servers():
            running.stop()

    def has_ended(self) -> bool:
        """Whether nothing runs any more."""
        return self._fetching.has_ended and all(each.ending() is not None for each in self.servers())

    def adopt(self, model: LocalModel, status: LocalModelStatus) -> bool:
        """Take over the process that an earlier supervisor has started, if there is one and it is ours."""
        if not status.port:
            return False
        run_file = self._site.run_file(model.pk, status.port)
        self.running = Running.adopt(run_file, self._site.here, status.port, offers.key_of(status))
        if self.running is None:
            return False
        record.note(status, pid=self.running.process.pid, pid_began=self.running.process.began)
        return True

    def _is_restart_due(self, model: LocalModel, status: LocalModelStatus) -> bool:
        """Whether a person wants another server of it, or it runs files that are not those of today."""
        running, asked = self.running, model.restart_asked_at
        if running is None or self._gave_up == (asked, status.commit):
            return False
        is_old = bool(status.running_commit) and status.running_commit != status.commit
        return is_old or bool(asked and status.started_at and status.started_at < asked)

    # --- The server

    def _start(self, model: LocalModel, status: LocalModelStatus) -> None:
        if not self._has_room(model, status):
            return
        port = model.port or site.port_for(self._site, status)
        if not site.is_free(self._site.bind, port):
            sentence = f"Port {port} is taken by another program. Choose another port, or leave it empty."
            setbacks.fail(status, self._fleet, sentence, None)
            return
        expected = int((status.load_seconds or 0) * MILLISECONDS)
        record.note(status, done=0, total=expected)
        record.move(status, State.LOADING, port=port)
        self._take_on(status, self._launched(model, status, port))
        self._fleet.expect(offers.offer(model, status, self._site))

    def _launched(self, model: LocalModel, status: LocalModelStatus, port: int) -> Server:
        key = secrets.token_urlsafe(KEY_BYTES)
        self._site.run_file(model.pk, port).unlink(missing_ok=True)
        began_at = clock.now()
        running = Running.start(self._site.launch(model, status, port=port, key=key), self._site.here, port)
        return Server(running, began_at=began_at, port=port, key=key, commit=status.commit)

    def _take_on(self, status: LocalModelStatus, server: Server) -> None:
        """From now on this one is the model's."""
        self.running = server.running
        record.note(
            status,
            started_at=server.began_at,
            port=server.port,
            encrypted_key=seal(server.key),
            running_commit=server.commit,
            pid=server.running.process.pid,
            pid_began=server.running.process.began,
        )

    def _has_room(self, model: LocalModel, status: LocalModelStatus) -> bool:
        free = self._memory.free()
        needed = room.needed_bytes(model, status.facts, free=free)
        self.needed_bytes = needed or 0
        if needed is None or needed <= free:
            return True
        leaving = self._memory.make_room(self, needed=needed, free=free)
        if leaving is None:
            setbacks.lacks_memory(status, self._fleet, needed=needed, free=free)
        else:
            record.move(
                status, State.LOADING, f"Waiting for the memory of {' and '.join(leaving)}.", **NO_PROGRESS
            )
        return False

    def _open(self, model: LocalModel, status: LocalModelStatus) -> None:
        began = status.started_at
        took = (clock.now() - began).total_seconds() if began and status.state == State.LOADING else None
        endpoint_id = self._fleet.open(offers.offer(model, status, self._site))
        self.last_used_at = clock.now()
        record.move(
            status,
            State.READY,
            endpoint_id=endpoint_id,
            last_used_at=self.last_used_at,
            load_seconds=status.load_seconds if took is None else took,
            retry_at=None,
            **NO_PROGRESS,
        )

    def _renew(self, model: LocalModel, status: LocalModelStatus) -> None:
        """Load another server beside the one that runs, when memory allows; else one after the other, and
        requests wait meanwhile."""
        free = self._memory.free()
        needed = room.needed_bytes(model, status.facts, free=free)
        if needed is not None and needed > free and self.running is not None:
            endpoint_id = self._to_sleep(model, status, wakes_anyway=True)
            self._departure = Departure(self.running, within=AHEAD_SECONDS)
            record.move(status, State.STOPPING, ONE_BY_ONE, endpoint_id=endpoint_id, **NO_PROGRESS)
            return
        self.needed_bytes = needed or 0
        given = model.port
        port = given if given and site.is_free(self._site.bind, given) else site.free_port(self._site.bind)
        self._renewal.successor = self._launched(model, status, port)
        record.move(status, State.READY, RENEWING, **NO_PROGRESS)

    def _swap(self, model: LocalModel, status: LocalModelStatus) -> None:
        successor, old = self._renewal.successor, self.running
        if successor is None or old is None:
            return
        with transaction.atomic():  # a supervisor that dies here leaves both done or neither
            self._take_on(status, successor)
            self._fleet.open(offers.offer(model, status, self._site))
            record.move(status, State.READY)
        self._renewal.successor = None
        self._renewal.let_go(old)

    def _take_endings(self, model: LocalModel, status: LocalModelStatus, wanted: Wanted) -> None:
        if wanted != Wanted.RUNNING:
            self._renewal.hurry()
        if self._renewal.tick():
            self._renewal.give_up()
            self._gave_up = (model.restart_asked_at, status.commit)
            if status.state == State.READY:
                said = setbacks.last_words(model.pk)
                record.move(status, State.READY, f"{setbacks.NOT_RENEWED}: {said}")
        ending = None if self.running is None else self.running.ending()
        if ending is None:
            return
        self.running = self._departure = None
        successor = self._renewal.successor
        record.note(status, pid=None, pid_began=None, memory_bytes=None)
        if successor is not None:  # it was to take over anyway
            self._renewal.successor = None
            self._take_on(status, successor)
            self._fleet.expect(offers.offer(model, status, self._site))
            record.move(status, State.LOADING, **NO_PROGRESS)
            return
        self.needed_bytes = 0
        if not ending.asked:
            setbacks.crashed(status, self._fleet, ending)

    # --- Rest and figures

    def _drain(self, model: LocalModel, status: LocalModelStatus, state: State) -> None:
        """Send it no new requests, let those that run finish, then stop it."""
        running = self.running
        if running is None:
            return
        if status.state != State.STOPPING:
            serves = status.state == State.READY
            endpoint_id = self._out_of_service(model, status, state)
            record.move(status, State.STOPPING, endpoint_id=endpoint_id, **NO_PROGRESS)
            self._departure = Departure(running, within=DRAIN_SECONDS if serves else 0)
        elif self._departure is None:  # an earlier supervisor sent it away
            self._departure = Departure(running, within=DRAIN_SECONDS)
        if model.wanted != Wanted.RUNNING:
            self._departure.hurry()
        self._departure.look()

    def _rest(self, model: LocalModel, status: LocalModelStatus, state: State) -> None:
        endpoint_id = self._out_of_service(model, status, state)
        record.move(status, state, endpoint_id=endpoint_id, failures=0, retry_at=None, **NO_PROGRESS)

    def _out_of_service(self, model: LocalModel, status: LocalModelStatus, state: State) -> int | None:
        if state == State.UNLOADED:
            return self._to_sleep(model, status)
        if status.endpoint_id is not None:
            self._fleet.close(status.endpoint_id, reason=STOPPED)
        return status.endpoint_id

    def _to_sleep(self, model: LocalModel, status: LocalModelStatus, *, wakes_anyway: bool = False) -> int:
        offer = offers.offer(model, status, self._site)
        return self._fleet.sleep(offer, wakes_in_seconds=status.load_seconds, wakes_anyway=wakes_anyway)

    def _keep_figures(self, model: LocalModel, status: LocalModelStatus) -> None:
        """Those of a model that loads or runs; and an idle one is let go."""
        running = self.running
        if running is None or time.monotonic() < self._figures_at:
            return
        log_view.keep(status, self._site)
        if status.state == State.LOADING and status.started_at:
            self._figures_at = time.monotonic() + LOADING_SECONDS
            record.note(status, done=int((clock.now() - status.started_at).total_seconds() * MILLISECONDS))
        elif status.state == State.READY:
            self._figures_at = time.monotonic() + FIGURES_SECONDS
            idle, known = running.idle_seconds, status.last_used_at
            self.last_used_at = lifecycle.last_use(now=clock.now(), idle_seconds=idle, known=known)
            record.note(status, last_used_at=self.last_used_at, memory_bytes=running.process.memory_bytes)
            unused = (clock.now() - self.last_used_at).total_seconds()
            limit = model.keep_alive_seconds
            if lifecycle.is_idle(idle_seconds=unused, keep_alive_seconds=limit, pinned=model.pinned):
                wishes.put_to_sleep(model.pk)
