"""What an operator does with endpoints: put into service, drain, pause, check now, register our own."""

from __future__ import annotations

import logging
from functools import partial
from itertools import chain, count
from typing import TYPE_CHECKING

from django.db import transaction
from kombu.exceptions import OperationalError

from endpoints import changes, health, schedule
from endpoints.choices import Mode
from endpoints.models import Endpoint

if TYPE_CHECKING:
    from collections.abc import Iterable

logger = logging.getLogger(__name__)

LOCAL_NAME = "local"
LOCAL_TYPE = "vllm-mlx"
LOCAL_CHECK_INTERVAL_SECONDS = 2.0
LOCAL_CHECK_TIMEOUT_SECONDS = 1.0
WITHOUT_LOCAL_MODEL = "this machine runs without a model of its own"
TASK_EXPIRES_SECONDS = 10


def activate(*, endpoint: Endpoint) -> None:
    """Put `endpoint` into service. After a pause it is checked at once, and routed to when that went well."""
    with transaction.atomic():
        if endpoint.mode == Mode.PAUSED:
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
        _pause(endpoint, reason="paused by an operator")
        changes.record(endpoint, "paused")


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


def register_local(*, url: str) -> Endpoint:
    """The endpoint of this machine's own model: made on the first start, later only its URL follows.

    Everything else, its name included, is the operator's to edit.
    """
    known = Endpoint.objects.filter(is_local=True).select_related("health").first()
    if known is None:
        return _make_local(url)
    if known.url != url:
        known.url = url
        known.full_clean()
        known.save()
    if known.mode == Mode.PAUSED and known.health.reason == WITHOUT_LOCAL_MODEL:
        activate(endpoint=known)
    return known


def unregister_local() -> None:
    """Take the endpoint of this machine's own model out of service, because the model is not started.

    It is paused and not deleted, so that what an operator has set, and its history, are there when the model
    is back.
    """
    known = Endpoint.objects.filter(is_local=True).exclude(mode=Mode.PAUSED).first()
    if known is not None:
        _pause(known, reason=WITHOUT_LOCAL_MODEL)


def _make_local(url: str) -> Endpoint:
    made = Endpoint(
        name=_free_name(LOCAL_NAME),
        url=url,
        type=LOCAL_TYPE,
        check_interval_seconds=LOCAL_CHECK_INTERVAL_SECONDS,
        check_timeout_seconds=LOCAL_CHECK_TIMEOUT_SECONDS,
        is_local=True,
    )
    made.full_clean()
    made.save()
    return made


def _free_name(wanted: str) -> str:
    taken = set(Endpoint.objects.filter(name__startswith=wanted).values_list("name", flat=True))
    numbered = (f"{wanted}-{number}" for number in count(2))
    return next(name for name in chain([wanted], numbered) if name not in taken)


def _pause(endpoint: Endpoint, *, reason: str) -> None:
    with transaction.atomic():
        _set_mode(endpoint, Mode.PAUSED)
        health.forget(endpoint=endpoint, reason=reason)


def _set_mode(endpoint: Endpoint, mode: Mode) -> None:
    endpoint.mode = mode
    endpoint.save(update_fields=["mode"])


def _send_check_now(endpoint_ids: list[int]) -> None:
    from endpoints import tasks  # noqa: PLC0415  # tasks are an interface to this module

    try:
        tasks.check_now.apply_async((endpoint_ids,), retry=False, expires=TASK_EXPIRES_SECONDS)
    except (OperationalError, OSError) as error:
        logger.warning("The broker does not answer (%s). The check waits for the next tick.", error)
