"""Endpoints that our own machines' servers get by themselves: opened, closed, put to sleep, removed.

To everything else they are endpoints like any other. Their names, weights and so on are the operator's to
edit, and what an operator has paused stays paused.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import chain, count
from typing import TYPE_CHECKING

from django.db import transaction

from endpoints import operations
from endpoints.choices import SET_ASIDE, AuthKind, Mode, Status
from endpoints.health import discovery, health
from endpoints.health.findings import FoundModel
from endpoints.health.schedule import WAITING_FOR_FIRST_CHECK
from endpoints.models import (
    MAX_NAME_LENGTH,
    AliasedModel,
    Endpoint,
    EndpointHealth,
    EndpointModel,
    ModelAlias,
)
from endpoints.routing import revision
from ollaproject.wire import clock

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

FIRST_NAME = "local"
TYPE = "vllm-mlx"
CHECK_INTERVAL_SECONDS = 2.0
CHECK_TIMEOUT_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Server:
    """A server of ours. `endpoint_id` is that of its endpoint, None when it had none yet.

    With `is_first` it is the one that the settings name: its endpoint is the oldest of ours, if there is one.
    """

    endpoint_id: int | None
    name: str
    url: str
    is_first: bool = False
    key: str = field(default="", repr=False)


def expect(server: Server) -> None:
    """`server` is being started. Its endpoint, if it has one, gets its address and key now: if it is still in
    service, a check finds the server well before `open_for` is called, and requests would come with the key
    of the one before.
    """
    endpoint = _known(server)
    if endpoint is not None:
        _follow(endpoint, server)
        health.let_wake(endpoint.pk)


def open_for(server: Server) -> Endpoint:
    """Put the endpoint of `server` into service, made if it has none, and have it checked at once."""
    with transaction.atomic():
        endpoint = _endpoint_of(server)
        _follow(endpoint, server)
        _reopen(endpoint)
        if EndpointHealth.objects.filter(pk=endpoint.pk, status=Status.ASLEEP).exists():
            health.forget(endpoint=endpoint, reason=WAITING_FOR_FIRST_CHECK)
        operations.check_now([endpoint])
    return endpoint


def sleep(
    server: Server, *, models: Iterable[str], wakes_in_seconds: float | None, wakes_anyway: bool = False
) -> Endpoint:
    """Have the endpoint of `server` offer `models` although it has no server now: a request wakes it, or,
    with `wakes_anyway`, waits for the server that comes."""
    with transaction.atomic():
        endpoint = _endpoint_of(server)
        _reopen(endpoint)
        if not EndpointModel.objects.filter(endpoint=endpoint).exists():
            found = tuple(FoundModel(name=name) for name in models)
            discovery.store(EndpointHealth.objects.get(pk=endpoint.pk), found=found, at=clock.now())
        health.put_to_sleep(endpoint=endpoint, wakes_in_seconds=wakes_in_seconds, wakes_anyway=wakes_anyway)
    return endpoint


def keep_asleep(endpoint_id: int, *, reason: str, until: datetime) -> None:
    """If it sleeps it cannot be woken before `until`, for this reason."""
    if Endpoint.objects.filter(pk=endpoint_id, is_local=True).exists():
        health.keep_asleep(endpoint_id, reason=reason, until=until)


def close(endpoint_id: int, *, reason: str) -> None:
    """Take it out of service, because its server is. It is paused and not deleted: what an operator has set,
    and its history, are there when the server is back."""
    endpoint = Endpoint.objects.filter(pk=endpoint_id, is_local=True).first()
    if endpoint is None or endpoint.mode in SET_ASIDE:
        return
    with transaction.atomic():
        endpoint.mode, endpoint.is_closed = Mode.PAUSED, True
        endpoint.save(update_fields=["mode", "is_closed"])
        health.forget(endpoint=endpoint, reason=reason)


def remove(endpoint_id: int) -> None:
    Endpoint.objects.filter(pk=endpoint_id, is_local=True).delete()
    revision.bump(routing=True)


def name_also(model: str, aliases: Iterable[str]) -> None:
    """Let clients reach `model` by `aliases`, too. What an operator has made of an alias stays."""
    for name in aliases:
        alias, made = ModelAlias.objects.get_or_create(name=name)
        if made or not alias.models.filter(model=model).exists():
            AliasedModel.objects.create(alias=alias, model=model, position=alias.models.count())


def name_no_more(model: str, aliases: Iterable[str]) -> None:
    """`model` is not reached by these `aliases` any more. One that leads nowhere then is gone."""
    names = list(aliases)
    AliasedModel.objects.filter(alias__name__in=names, model=model).delete()
    ModelAlias.objects.filter(name__in=names, models__isnull=True).delete()


def _reopen(endpoint: Endpoint) -> None:
    """Put it into service again, if it was we who took it out."""
    if not endpoint.is_closed:
        return
    health.forget(endpoint=endpoint, reason=WAITING_FOR_FIRST_CHECK)
    endpoint.mode, endpoint.is_closed = Mode.ACTIVE, False
    endpoint.save(update_fields=["mode", "is_closed"])


def _endpoint_of(server: Server) -> Endpoint:
    return _known(server) or _make(server)


def _known(server: Server) -> Endpoint | None:
    ours = Endpoint.objects.filter(is_local=True).select_related("health")
    known = ours.filter(pk=server.endpoint_id).first() if server.endpoint_id is not None else None
    if known is None and server.is_first:
        known = ours.order_by("pk").first()
    return known


def _make(server: Server) -> Endpoint:
    wanted = FIRST_NAME if server.is_first else _short(server.name)
    made = Endpoint(
        name=_free_name(wanted),
        url=server.url,
        type=TYPE,
        check_interval_seconds=CHECK_INTERVAL_SECONDS,
        check_timeout_seconds=CHECK_TIMEOUT_SECONDS,
        is_local=True,
    )
    _take_over(made, server)
    return made


def _follow(endpoint: Endpoint, server: Server) -> None:
    if endpoint.url != server.url or endpoint.credential() != server.key:
        _take_over(endpoint, server)


def _take_over(endpoint: Endpoint, server: Server) -> None:
    endpoint.url = server.url
    endpoint.auth_kind = AuthKind.BEARER if server.key else AuthKind.NONE
    endpoint.set_credential(server.key)
    endpoint.full_clean()
    endpoint.save()


def _short(name: str) -> str:
    """A model's name as an endpoint's: its last part, in the characters that a header can carry."""
    last = name.rstrip("/").rpartition("/")[2]
    plain = "".join(letter if "!" <= letter <= "~" else "-" for letter in last)
    return plain[: MAX_NAME_LENGTH - 4] or FIRST_NAME


def _free_name(wanted: str) -> str:
    taken = set(Endpoint.objects.filter(name__startswith=wanted).values_list("name", flat=True))
    numbered = (f"{wanted}-{number}" for number in count(2))
    return next(name for name in chain([wanted], numbered) if name not in taken)
