"""What a person asks of a local model: start, stop, restart, unload, download, delete its files.

A wish is a row in the database; the supervisor of the model's host fulfils it, now or when it is there again.
"""

from __future__ import annotations

from django.db.models import F

from inference.local import record
from inference.local.choices import State, Wanted
from inference.models import LocalModel, LocalModelStatus
from ollaproject.wire import clock


def start(model: LocalModel) -> None:
    """Have it running; after a failure, try again at once."""
    _wish(model, Wanted.RUNNING)


def stop(model: LocalModel) -> None:
    """Have it stopped. A download is broken off and goes on from there next time."""
    _wish(model, Wanted.STOPPED)


def unload(model: LocalModel) -> None:
    """Give its memory back. The next request for it loads it again."""
    _wish(model, Wanted.UNLOADED)


def download(model: LocalModel) -> None:
    """Have its files here, without starting it."""
    _wish(model, Wanted.DOWNLOADED)


def restart(model: LocalModel) -> None:
    """Stop it and start it again, with what is configured now."""
    model.restart_asked_at = clock.now()
    LocalModel.objects.filter(pk=model.pk).update(restart_asked_at=model.restart_asked_at)
    _wish(model, Wanted.RUNNING)


def update(model: LocalModel) -> None:
    """Look for what its revision is now, and have it run with that. The one that runs serves until then."""
    model.update_asked_at = clock.now()
    LocalModel.objects.filter(pk=model.pk).update(update_asked_at=model.update_asked_at)
    _wish(model, Wanted.RUNNING)


def updated(model: LocalModel) -> None:
    """Its files are what its revision is now, or cannot be had: a wish for an update has been heard."""
    asked = model.update_asked_at
    if asked is not None:
        LocalModel.objects.filter(pk=model.pk, update_asked_at=asked).update(update_asked_at=None)
        model.update_asked_at = None


def delete_files(model: LocalModel) -> None:
    """Stop it and remove what was downloaded for it. A folder that a person gave stays as it is."""
    LocalModel.objects.filter(pk=model.pk).update(files_unwanted=True)
    _wish(model, Wanted.STOPPED)


def wake(model_id: int) -> bool:
    """Somebody asks for an unloaded model. False when it is not to be loaded on demand any more."""
    asleep = LocalModel.objects.filter(pk=model_id, wanted=Wanted.UNLOADED)
    return asleep.update(wanted=Wanted.RUNNING, wanted_at=clock.now()) == 1


def put_to_sleep(model_id: int) -> bool:
    """Unload a running model on nobody's wish: it was idle, or another one needs its memory."""
    running = LocalModel.objects.filter(pk=model_id, wanted=Wanted.RUNNING, pinned=False)
    return running.update(wanted=Wanted.UNLOADED, wanted_at=F("wanted_at")) == 1


def may_be_tried(model: LocalModel, status: LocalModelStatus) -> bool:
    """Whether another step makes sense: after a failure, when its pause is over or a person asks again."""
    if status.state != State.FAILED:
        return True
    asked_again = model.wanted_at is not None and model.wanted_at > status.since
    return asked_again or (status.retry_at is not None and clock.now() >= status.retry_at)


def _wish(model: LocalModel, wanted: Wanted) -> None:
    model.wanted, model.wanted_at = wanted, clock.now()
    LocalModel.objects.filter(pk=model.pk).update(wanted=wanted, wanted_at=model.wanted_at)
    record.status_of(model)
    record.changed.send(sender=None)
