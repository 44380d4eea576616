"""One model's files as its keeper sees them: a job that gets them, what came of it, and their deletion."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from django.utils.translation import gettext_noop

from inference.local import files, record, setbacks, site, wishes
from inference.local.choices import State, Wanted
from inference.local.fetch_words import CHAT, DRAFT, EMBEDDING
from inference.local.record import NO_PROGRESS
from ollaproject.sealed import SealBroken
from ollaproject.wire import clock

if TYPE_CHECKING:
    from inference.local.fetch_job import FetchJob
    from inference.local.fetch_words import Fetched
    from inference.local.fleet import Fleet
    from inference.models import LocalModel, LocalModelStatus

BROKEN_TOKEN = gettext_noop(
    "Its Hugging Face token cannot be opened with OLLA_ENCRYPTION_KEYS. Enter it again."
)
LOOKING = gettext_noop("Looking for what is new of it.")
NO_FILES: dict[str, Any] = {"fetched_for": "", "folder": "", "embedding_folder": "", "draft_folder": ""}


class Fetching:
    """Of one model. With `beside`, its server runs meanwhile and stays ready, whatever comes of it."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._job: FetchJob | None = None

    @property
    def is_under_way(self) -> bool:
        return self._job is not None

    @property
    def has_ended(self) -> bool:
        return self._job is None or self._job.outcome is not None

    def begin(self, model: LocalModel, status: LocalModelStatus, *, beside: bool) -> None:
        try:
            self._job = files.fetch(model)
        except SealBroken:
            self._fail(model, status, BROKEN_TOKEN, None, beside=beside)
            return
        if beside:
            record.move(status, State.READY, LOOKING, **NO_PROGRESS)
        else:
            record.move(status, State.DOWNLOADING, **NO_PROGRESS)

    def cancel(self) -> None:
        if self._job is not None:
            self._job.cancel()

    def take_outcome(
        self, model: LocalModel, status: LocalModelStatus, wanted: Wanted, *, beside: bool
    ) -> None:
        """Note how far it is, or what came of it."""
        job = self._job
        if job is None:
            return
        outcome = job.outcome
        if outcome is None:
            figures = asdict(job.point)
            state = State(figures.pop("state"))
            if beside:
                record.note(status, **figures)
            else:
                record.move(status, state, **figures)
            return
        self._job = None
        if "failed" in outcome:
            if wanted in (Wanted.RUNNING, Wanted.DOWNLOADED):
                self._fail(model, status, outcome["failed"], outcome["again"], beside=beside)
            return
        wishes.updated(model)
        _note_files(model, status, outcome)
        if beside:
            record.move(status, State.READY)

    def delete(self, model: LocalModel, status: LocalModelStatus, *, reason: str) -> None:
        said = files.delete(model)
        if status.endpoint_id is not None:
            self._fleet.close(status.endpoint_id, reason=reason)
        record.move(status, State.STOPPED, said, **NO_FILES, **NO_PROGRESS)

    def _fail(
        self,
        model: LocalModel,
        status: LocalModelStatus,
        sentence: str,
        again: float | None,
        *,
        beside: bool,
    ) -> None:
        wishes.updated(model)
        if beside:
            record.move(status, State.READY, f"It was not updated: {sentence}", **NO_PROGRESS)
        else:
            setbacks.fail(status, self._fleet, sentence, again, log=site.fetch_log_of(model.pk))


def _note_files(model: LocalModel, status: LocalModelStatus, fetched: Fetched) -> None:
    record.note(
        status,
        folder=fetched["folders"].get(CHAT, ""),
        embedding_folder=fetched["folders"].get(EMBEDDING, ""),
        draft_folder=fetched["folders"].get(DRAFT, ""),
        fetched_at=clock.now(),
        commit=fetched["commit"],
        facts=fetched["facts"],
        fetched_for=files.fingerprint(model),
        failures=0,
        **NO_PROGRESS,
    )
