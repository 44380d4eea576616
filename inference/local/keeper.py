"""Keeps one model as it is wanted on this machine: looks at it, asks the rules, takes the step."""

from __future__ import annotations

import secrets
import time
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from inference.local import files, lifecycle, logs, offers, record, room, site, wishes
from inference.local.choices import State, Wanted
from inference.local.fetch_words import CHAT, DRAFT, EMBEDDING
from inference.local.lifecycle import Process, Step, View
from inference.local.running import Running
from ollaproject.sealed import SealBroken, seal
from ollaproject.wire import clock

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from inference.local.fetch_job import FetchJob
    from inference.local.fleet import Fleet
    from inference.local.memory import Memory
    from inference.local.running import Ending
    from inference.local.site import Site
    from inference.models import LocalModel, LocalModelStatus

FIGURES_SECONDS = 2.0
LOADING_SECONDS = 0.5
ROOM_RETRY_SECONDS = 15.0
DRAIN_SECONDS = 20.0
# Longer than the gateway takes to learn that it sends no more requests here.
QUIET_SECONDS = 1.0
MILLISECONDS = 1000
KEY_BYTES = 32
STOPPED, FAILED = "its model is stopped", "its model has failed"  # why its endpoint is out of service


class Keeper:
    """One model's, for as long as this machine has it. `last_used_at` is when it was last asked."""

    def __init__(self, model_id: int, site: Site, fleet: Fleet, memory: Memory) -> None:
        self.model_id = model_id
        self._site = site
        self._fleet = fleet
        self._memory = memory
        self._job: FetchJob | None = None
        self._figures_at = self._drain_until = 0.0
        self.running: Running | None = None
        self.needed_bytes = 0
        self.last_used_at = clock.now()

    def tick(self, model: LocalModel, status: LocalModelStatus, wanted: Wanted) -> None:
        """`wanted` may differ from the model's own wish: one that was moved to another machine stops here."""
        self._take_outcome(model, status, wanted)
        self._take_ending(status)
        step = lifecycle.next_step(self.look(model, status, wanted))
        act: dict[Step, Callable[[LocalModel, LocalModelStatus], None]] = {
            Step.FETCH: self._fetch,
            Step.START: self._start,
            Step.OPEN: self._open,
            Step.DELETE_FILES: self._delete_files,
        }
        if step in act:
            act[step](model, status)
        elif step == Step.REST:
            self._rest(model, status, lifecycle.resting_state(wanted))
        elif step == Step.CANCEL_FETCH and self._job is not None:
            self._job.cancel()
        elif step == Step.KILL and self.running is not None:
            self.running.kill()
        elif step == Step.STOP:
            self._drain(model, status, lifecycle.resting_state(wanted))
        self._keep_figures(model, status)

    def look(self, model: LocalModel, status: LocalModelStatus, wanted: Wanted) -> View:
        running = self.running
        asked = model.restart_asked_at
        return View(
            wanted=wanted,
            state=State(status.state),
            has_files=files.are_here(model, status),
            fetching=self._job is not None,
            process=Process.NONE if running is None else running.now,
            restart_due=bool(asked and running and running.process.began < asked.timestamp()),
            files_unwanted=model.files_unwanted,
            may_try=wishes.may_be_tried(model, status),
        )

    def stop(self) -> None:
        """Begin to stop whatever runs."""
        if self._job is not None:
            self._job.cancel()
        if self.running is not None:
            self.running.stop()

    def has_ended(self) -> bool:
        """Whether nothing runs any more."""
        if self.running is not None and self.running.ending() is not None:
            self.running = None
        return self.running is None and (self._job is None or self._job.outcome is not None)

    def adopt(self, model: LocalModel, status: LocalModelStatus) -> bool:
        """Take over the process that an earlier supervisor has started, if there is one and it is ours."""
        key = offers.key_of(status)
        self.running = Running.adopt(self._site.run_file(model.pk), self._site.here, status.port, key)
        if self.running is None:
            return False
        record.note(status, pid=self.running.process.pid, pid_began=self.running.process.began)
        return True

    # --- Files

    def _fetch(self, model: LocalModel, status: LocalModelStatus) -> None:
        try:
            self._job = files.fetch(model)
        except SealBroken:
            sentence = "Its Hugging Face token cannot be opened with OLLA_ENCRYPTION_KEYS. Enter it again."
            self._fail(status, sentence, None)
        else:
            record.move(status, State.DOWNLOADING, **NO_PROGRESS)

    def _take_outcome(self, model: LocalModel, status: LocalModelStatus, wanted: Wanted) -> None:
        job = self._job
        if job is None:
            return
        outcome, point = job.outcome, job.point
        if outcome is None:
            figures = asdict(point)
            record.move(status, State(figures.pop("state")), **figures)
            return
        self._job = None
        if "failed" in outcome:
            if wanted in (Wanted.RUNNING, Wanted.DOWNLOADED):
                self._fail(status, outcome["failed"], outcome["again"], log=site.fetch_log_of(model.pk))
            return
        record.note(
            status,
            folder=outcome["folders"].get(CHAT, ""),
            embedding_folder=outcome["folders"].get(EMBEDDING, ""),
            draft_folder=outcome["folders"].get(DRAFT, ""),
            fetched_at=clock.now(),
            commit=outcome["commit"],
            facts=outcome["facts"],
            fetched_for=files.fingerprint(model),
            failures=0,
            **NO_PROGRESS,
        )

    def _delete_files(self, model: LocalModel, status: LocalModelStatus) -> None:
        said = files.delete(model)
        if status.endpoint_id is not None:
            self._fleet.close(status.endpoint_id, reason=STOPPED)
        record.move(status, State.STOPPED, said, **NO_FILES, **NO_PROGRESS)

    # --- The server

    def _start(self, model: LocalModel, status: LocalModelStatus) -> None:
        if not self._has_room(model, status):
            return
        port = model.port or site.port_for(self._site, status)
        if not site.is_free(self._site.bind, port):
            sentence = f"Port {port} is taken by another program. Choose another port, or leave it empty."
            self._fail(status, sentence, None)
            return
        key = secrets.token_urlsafe(KEY_BYTES)
        expected = int((status.load_seconds or 0) * MILLISECONDS)
        record.note(status, started_at=clock.now(), done=0, total=expected)
        record.move(status, State.LOADING, port=port, encrypted_key=seal(key))
        self._site.run_file(model.pk).unlink(missing_ok=True)
        launch = self._site.launch(model, status, port=port, key=key)
        self.running = Running.start(launch, self._site.here, port)
        record.note(status, pid=self.running.process.pid, pid_began=self.running.process.began)

    def _has_room(self, model: LocalModel, status: LocalModelStatus) -> bool:
        free = self._memory.free()
        needed = room.needed_bytes(model, status.facts, free=free)
        self.needed_bytes = needed or 0
        if needed is None or needed <= free:
            return True
        leaving = self._memory.make_room(self, needed=needed, free=free)
        if leaving is None:
            sentence = (
                f"It needs {room.in_gigabytes(needed)} of memory, and {room.in_gigabytes(free)} are free. "
                "Unload another model, or give it a budget of its own."
            )
            self._fail(status, sentence, ROOM_RETRY_SECONDS)
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

    def _take_ending(self, status: LocalModelStatus) -> None:
        if self.running is None:
            return
        ending = self.running.ending()
        if ending is None:
            return
        self.running, self.needed_bytes = None, 0
        record.note(status, pid=None, pid_began=None, memory_bytes=None)
        if not ending.asked:
            self._crashed(status, ending)

    def _crashed(self, status: LocalModelStatus, ending: Ending) -> None:
        if ending.code > 0 and status.state == State.LOADING:  # it has said why
            tail = logs.tail(site.log_of(status.pk), lines=logs.KEPT_LINES)
            self._fail(status, logs.last_words(tail), None)
            return
        ran = (clock.now() - status.started_at).total_seconds() if status.started_at else 0.0
        if lifecycle.is_steady(ran):
            record.note(status, failures=0)
        pause = lifecycle.pause_before_retry(status.failures + 1)
        times = "" if pause is not None else f", {status.failures + 1} times in a row"
        self._fail(status, f"{ending.words}{times}.", pause)

    # --- Rest, failure, figures

    def _drain(self, model: LocalModel, status: LocalModelStatus, state: State) -> None:
        """Send it no new requests, let those that run finish, then stop it."""
        running = self.running
        if running is None:
            return
        if status.state != State.STOPPING:
            self._drain_until = time.monotonic() + DRAIN_SECONDS
            endpoint_id = self._out_of_service(model, status, state)
            record.move(status, State.STOPPING, endpoint_id=endpoint_id, **NO_PROGRESS)
        in_use = running.now == Process.HEALTHY and running.idle_seconds < QUIET_SECONDS
        if not in_use or time.monotonic() > self._drain_until:
            running.stop()

    def _rest(self, model: LocalModel, status: LocalModelStatus, state: State) -> None:
        endpoint_id = self._out_of_service(model, status, state)
        record.move(status, state, endpoint_id=endpoint_id, failures=0, retry_at=None, **NO_PROGRESS)

    def _out_of_service(self, model: LocalModel, status: LocalModelStatus, state: State) -> int | None:
        if state == State.UNLOADED:
            offer = offers.offer(model, status, self._site)
            return self._fleet.sleep(offer, wakes_in_seconds=status.load_seconds)
        if status.endpoint_id is not None:
            self._fleet.close(status.endpoint_id, reason=STOPPED)
        return status.endpoint_id

    def _fail(
        self, status: LocalModelStatus, sentence: str, again: float | None, *, log: Path | None = None
    ) -> None:
        """`again`: after how many seconds it is tried by itself, None when a person has to do something."""
        failures, now = status.failures + 1, clock.now()
        if again is not None:
            again = max(again, lifecycle.pause_before_retry(min(failures, lifecycle.MAX_CRASHES)) or 0)
            sentence = f"{sentence} It is tried again in {again:.3g} s."
        elif status.endpoint_id is not None:
            self._fleet.close(status.endpoint_id, reason=FAILED)
        record.move(
            status,
            State.FAILED,
            sentence,
            since=now,
            failures=failures,
            retry_at=None if again is None else now + timedelta(seconds=again),
            log_tail=logs.tail(log or site.log_of(status.pk), lines=logs.KEPT_LINES),
            **NO_PROGRESS,
        )

    def _keep_figures(self, model: LocalModel, status: LocalModelStatus) -> None:
        """Those of a model that loads or runs; and an idle one is let go."""
        running = self.running
        if running is None or time.monotonic() < self._figures_at:
            return
        if status.state == State.LOADING and status.started_at:
            self._figures_at = time.monotonic() + LOADING_SECONDS
            record.note(status, done=int((clock.now() - status.started_at).total_seconds() * MILLISECONDS))
        elif status.state == State.READY:
            self._figures_at = time.monotonic() + FIGURES_SECONDS
            used_at = datetime.fromtimestamp(time.time() - running.idle_seconds, UTC).replace(microsecond=0)
            self.last_used_at = max(used_at, status.last_used_at or used_at)
            record.note(status, last_used_at=self.last_used_at, memory_bytes=running.process.memory_bytes)
            unused = (clock.now() - self.last_used_at).total_seconds()
            limit = model.keep_alive_seconds
            if lifecycle.is_idle(idle_seconds=unused, keep_alive_seconds=limit, pinned=model.pinned):
                wishes.put_to_sleep(model.pk)


NO_FILES: dict[str, Any] = {"fetched_for": "", "folder": "", "embedding_folder": "", "draft_folder": ""}
NO_PROGRESS: dict[str, Any] = {"done": 0, "total": 0, "bytes_per_second": 0.0}
