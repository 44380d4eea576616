"""The buttons of a local model: what each does, when it makes sense, what it costs, and what it says.

The page, the admin, the REST API and `manage.py models` press the same ones.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from inference.loading.model_folder import DEMO
from inference.local import files, wishes
from inference.local.choices import State, Wanted
from inference.local.validation import is_hub_id
from ollaproject.wire.numbers import size
from ollaproject.wire.time_words import span

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from django.utils.functional import _StrPromise as StrPromise

    from inference.models import LocalModel, LocalModelStatus

    Fits = Callable[[LocalModel, LocalModelStatus], bool]
    Question = Callable[[LocalModel, LocalModelStatus], str]


@dataclass(frozen=True, slots=True)
class Button:
    """`says` is what happens, with the model's name; `asks` what a person should know before, if anything."""

    label: StrPromise
    icon: str
    press: Callable[[LocalModel], None]
    says: StrPromise
    fits: Fits
    asks: Question = lambda _model, _status: ""


def may_start(model: LocalModel, status: LocalModelStatus) -> bool:
    return status.state == State.FAILED or model.wanted != Wanted.RUNNING


def is_up(_model: LocalModel, status: LocalModelStatus) -> bool:
    return status.state in (State.READY, State.LOADING)


def is_loaded(_model: LocalModel, status: LocalModelStatus) -> bool:
    return status.state == State.READY


def may_stop(model: LocalModel, _status: LocalModelStatus) -> bool:
    return model.wanted != Wanted.STOPPED


def may_download(model: LocalModel, status: LocalModelStatus) -> bool:
    rests = status.state in (State.STOPPED, State.FAILED) and model.wanted == Wanted.STOPPED
    return rests and comes_from_elsewhere(model) and status.fetched_for != files.fingerprint(model)


def has_files(model: LocalModel, status: LocalModelStatus) -> bool:
    """Whether anything was downloaded for it, or part of it may have been."""
    begun = status.fetched_for == files.fingerprint(model) or status.state != State.STOPPED
    return begun and comes_from_elsewhere(model)


def comes_from_elsewhere(model: LocalModel) -> bool:
    """Whether its files are downloaded: those in a folder that a person gave are nobody's to delete."""
    return any(source == DEMO or is_hub_id(source) for source in files.sources(model).values())


def ask_before_stop(model: LocalModel, status: LocalModelStatus) -> str:
    if status.state in (State.DOWNLOADING, State.VERIFYING):
        return ""  # what has come stays
    if status.state != State.READY:
        return ""
    said = gettext("Stop {name}? Running answers have 20 s to finish, new requests for it are refused.")
    return said.format(name=model.name)


def ask_before_restart(model: LocalModel, status: LocalModelStatus) -> str:
    if status.state != State.READY:
        return ""
    if not status.load_seconds:
        return gettext(
            "Restart {name}? It serves until its successor is loaded. Where memory does not allow two of it, "
            "requests for it wait meanwhile."
        ).format(name=model.name)
    return gettext(
        "Restart {name}? It serves until its successor is loaded, about {time}. Where memory does not allow "
        "two of it, requests for it wait meanwhile."
    ).format(name=model.name, time=span(math.ceil(status.load_seconds)))


def ask_before_deletion(model: LocalModel, status: LocalModelStatus) -> str:
    weights = sum(each["weight_bytes"] for each in status.facts.values())
    parts = [
        gettext("Delete the files of {name}? It is stopped, and its settings stay.").format(name=model.name),
        gettext("{size} have to be downloaded again before it can run.").format(size=size(weights))
        if weights
        else gettext("They have to be downloaded again before it can run."),
        gettext("Files that another model uses are kept."),
    ]
    return " ".join(parts)


def may_update(model: LocalModel, status: LocalModelStatus) -> bool:
    return status.state == State.READY and is_hub_id(model.source)


UPDATING = _("Looking for what is new of {}. What runs now serves until the new one does.")

BUTTONS = {
    "start": Button(_("Start"), "active", wishes.start, _("Starting {}."), may_start),
    "download": Button(
        _("Download"),
        "download",
        wishes.download,
        _("Downloading {}. It is not started."),
        may_download,
    ),
    "stop": Button(_("Stop"), "stop", wishes.stop, _("Stopping {}."), may_stop, ask_before_stop),
    "restart": Button(_("Restart"), "check", wishes.restart, _("Restarting {}."), is_up, ask_before_restart),
    "unload": Button(
        _("Unload"),
        "asleep",
        wishes.unload,
        _("Unloading {}. It stays listed, and is loaded when it is asked for."),
        is_loaded,
    ),
    "update": Button(_("Update"), "download", wishes.update, UPDATING, may_update),
    "delete-files": Button(
        _("Delete files"),
        "delete",
        wishes.delete_files,
        _("Deleting the files of {}."),
        has_files,
        ask_before_deletion,
    ),
}


def fitting(model: LocalModel, status: LocalModelStatus) -> list[tuple[str, Button]]:
    """Those that make sense now, by name."""
    return [(name, button) for name, button in BUTTONS.items() if button.fits(model, status)]


def press(name: str, pairs: Iterable[tuple[LocalModel, LocalModelStatus]]) -> str:
    """Press the button `name` of those models that it makes sense for, and say what happens.

    Raises KeyError when there is no such button.
    """
    button, chosen = BUTTONS[name], list(pairs)
    pressed = [model for model, status in chosen if button.fits(model, status)]
    for model in pressed:
        button.press(model)
    left = [model.name for model, _ in chosen if model not in pressed]
    said = [str(button.says).format(model.name) for model in pressed]
    nothing = gettext("Nothing to do for {name}: it stays as it is.")
    said += [nothing.format(name=name_left) for name_left in left]
    return " ".join(said)
