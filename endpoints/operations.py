"""What an operator does with endpoints: put into service, drain, pause, check now."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING

from django.db import transaction
from kombu.exceptions import OperationalError

from endpoints.choices import SET_ASIDE, Mode
from endpoints.health import health, schedule
from endpoints.models import Endpoint
from endpoints.past import changes
from ollaproject.wire import socket_urls

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime

logger = logging.getLogger(__name__)

TASK_EXPIRES_SECONDS = 10


def activate(*, endpoint: Endpoint) -> None:
    """Put `endpoint` into service. After a pause it is checked at once, and routed to when that went well."""
    with transaction.atomic():
        if endpoint.mode in SET_ASIDE:
            health.forget(endpoint=endpoint, reason=schedule.WAITING_FOR_FIRST_CHECK)
        _set_mode(endpoint, Mode.ACTIVE)
        changes.record(endpoint, "put in service")


def drain(*, endpoint: Endpoint) -> None:
    """Let the running requests of `endpoint` finish and send it no new ones. It is still checked."""
    with transaction.atomic():
        _set_mode(endpoint, Mode.DRAINING)
        changes.record(endpoint, "drained")


def pause(*, endpoint: Endpoint) -> None:
    """Send `endpoint` no requests and no checks. What was known of it is forgotten: it grows old."""
    with transaction.atomic():
        _set_mode(endpoint, Mode.PAUSED)
        health.forget(endpoint=endpoint, reason="paused by an operator")
        changes.record(endpoint, "paused")


def maintain(*, endpoint: Endpoint, until: datetime) -> None:
    """Pause `endpoint` until then. It comes back into service by itself (`end_maintenance`)."""
    with transaction.atomic():
        endpoint.maintenance_until = until
        _set_mode(endpoint, Mode.MAINTENANCE)
        health.forget(endpoint=endpoint, reason=f"maintenance until {until:%Y-%m-%d %H:%M} UTC")
        changes.record(endpoint, "in maintenance", (f"until: {until:%Y-%m-%d %H:%M} UTC",))


def named(name: str, *, until: datetime | None = None) -> Callable[..., None]:
    """The operation of that name: `activate`, `drain`, `pause`; `maintain` needs to know until when.

    Raises KeyError.
    """
    if name == "maintain" and until is not None:
        return partial(maintain, until=until)
    return {"activate": activate, "drain": drain, "pause": pause}[name]


def end_maintenance(now: datetime) -> int:
    """Put back into service what was to be maintained until now. Returns how many. Looked at every second."""
    due = list(Endpoint.objects.filter(mode=Mode.MAINTENANCE, maintenance_until__lte=now))
    for endpoint in due:
        activate(endpoint=endpoint)
    return len(due)


def on_host(host: str) -> list[Endpoint]:
    """The endpoints whose URL names this host, whatever their ports; at localhost, those on sockets too."""
    wanted = host.lower().strip("[]")
    return [each for each in Endpoint.objects.all() if socket_urls.host_of(each.url) == wanted]


def check_now(endpoints: Iterable[Endpoint]) -> int:
    """Check these endpoints at once, once the current transaction is committed. Returns how many: paused ones
    are left out.

    The check is due in the database as well, so it happens within a second of a worker running, broker or
    not.
    """
    ids = [endpoint.pk for endpoint in endpoints]
    checked = schedule.bring_forward(ids)
    if checked:
        transaction.on_commit(partial(_send_check_now, ids))
    return checked


def confirm(endpoint_ids: list[int]) -> None:
    """Have these endpoints checked at once, because requests to them break. Nobody asked for it."""
    if schedule.bring_forward(endpoint_ids, asked=False):
        _send_check_now(endpoint_ids)


def _set_mode(endpoint: Endpoint, mode: Mode) -> None:
    endpoint.mode, endpoint.is_closed = mode, False
    if mode != Mode.MAINTENANCE:
        endpoint.maintenance_until = None
    endpoint.save(update_fields=["mode", "is_closed", "maintenance_until"])


def _send_check_now(endpoint_ids: list[int]) -> None:
    from endpoints import tasks  # noqa: PLC0415  # tasks are an interface to this module

    try:
        tasks.check_now.apply_async((endpoint_ids,), retry=False, expires=TASK_EXPIRES_SECONDS)
    except (OperationalError, OSError) as error:
        logger.warning("The broker does not answer (%s). The check waits for the next tick.", error)
