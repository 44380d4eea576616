"""Which machine has which model: several supervisors work against one database and never on the same model.

A model that is to run on one machine belongs to it. One that may run anywhere is claimed, with a compare-and-
swap, by the machine with the most free memory; a machine that is not heard of any more loses its claims.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from inference.local.choices import Wanted
from inference.models import LocalModel, LocalModelStatus, ModelHost
from ollaproject.wire import clock

if TYPE_CHECKING:
    from datetime import datetime

    from inference.local.room import Machine

GONE_AFTER = timedelta(seconds=15)


def begin(name: str, machine: Machine) -> None:
    """A supervisor starts. After an end in good order its models are as `autostart` says, else as before."""
    host = ModelHost.objects.filter(name=name).first()
    if host is None or not host.running:
        mine = LocalModel.objects.filter(host__in=("", name))
        now = clock.now()
        # What the settings name is wished by `serve` itself, or left out (inference.local.from_settings).
        waking = mine.filter(autostart=True, from_settings=False).exclude(wanted=Wanted.UNLOADED)
        waking.update(wanted=Wanted.RUNNING, wanted_at=now)
        mine.filter(autostart=False).update(wanted=Wanted.STOPPED)
    ModelHost.objects.update_or_create(name=name, defaults={"running": True, **_figures(machine)})


def beat(name: str, machine: Machine) -> None:
    ModelHost.objects.filter(name=name).update(running=True, **_figures(machine))


def end(name: str) -> None:
    ModelHost.objects.filter(name=name).update(running=False)


def alive() -> list[ModelHost]:
    """Those that were heard of lately."""
    return list(ModelHost.objects.filter(running=True, seen_at__gt=clock.now() - GONE_AFTER))


def known() -> list[str]:
    """The names of all machines that ever ran models."""
    return list(ModelHost.objects.values_list("name", flat=True))


def is_mine(model: LocalModel, status: LocalModelStatus, name: str) -> bool:
    """Whether the machine `name` has `model`; claims one that should run and that nobody has."""
    if status.host == name:
        return True
    if model.host not in ("", name) or (model.wanted == Wanted.STOPPED and not model.files_unwanted):
        return False
    if status.host and _is_alive(status.host):
        return False
    if not model.host and not _has_most_room(name):
        return False
    return _claim(status, name)


def _claim(status: LocalModelStatus, name: str) -> bool:
    claimed = LocalModelStatus.objects.filter(pk=status.pk, host=status.host).update(host=name)
    if claimed:
        status.host = name
    return claimed == 1


def _is_alive(name: str) -> bool:
    return ModelHost.objects.filter(name=name, running=True, seen_at__gt=clock.now() - GONE_AFTER).exists()


def _has_most_room(name: str) -> bool:
    present = alive()
    best = max(present, key=lambda host: (host.memory_free, host.name), default=None)
    return best is None or best.name == name


def _figures(machine: Machine) -> dict[str, int | datetime]:
    return {"seen_at": clock.now(), "memory_total": machine.total, "memory_free": machine.free}
