"""Asks every endpoint that serves what models it has, now and from this process: for a model nobody knows."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from django.db import connection, transaction

from endpoints.choices import ROUTABLE, Mode
from endpoints.errors import DiscoveryError, FleetError
from endpoints.health import discovery
from endpoints.health.checking import check_target
from endpoints.health.probe import Checker
from endpoints.models import Endpoint, EndpointHealth, Revision
from endpoints.routing import revision
from ollaproject.wire import clock

if TYPE_CHECKING:
    from endpoints.health.findings import FoundModel

logger = logging.getLogger(__name__)

MAX_CONCURRENT_QUESTIONS = 50


def ask_all(*, seconds: float) -> int:
    """Read the models of all that serve and store them. For a thread of its own.

    Returns the revision of the routing table that knows them. What has not answered within `seconds` stays as
    it was.
    """
    try:
        rows = list(
            Endpoint.objects.filter(mode=Mode.ACTIVE, health__status__in=ROUTABLE).select_related("health")
        )
        found = asyncio.run(_answers(rows, seconds=seconds))
        return _store(rows, found)
    finally:
        connection.close()


async def _answers(rows: list[Endpoint], *, seconds: float) -> dict[int, tuple[FoundModel, ...]]:
    found: dict[int, tuple[FoundModel, ...]] = {}
    places = asyncio.Semaphore(MAX_CONCURRENT_QUESTIONS)

    async def one(checker: Checker, row: Endpoint) -> None:
        async with places:
            try:
                found[row.pk] = await checker.discover(check_target(row))
            except (DiscoveryError, FleetError) as error:
                logger.info("Endpoint %s was asked for its models: %s", row.name, error)

    async with Checker() as checker:
        asked = [asyncio.create_task(one(checker, row)) for row in rows]
        if asked:
            _, late = await asyncio.wait(asked, timeout=seconds)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
    return found


def _store(rows: list[Endpoint], found: dict[int, tuple[FoundModel, ...]]) -> int:
    now = clock.now()
    with transaction.atomic():
        for row in rows:
            # It may have been edited or deleted while it was asked.
            health = EndpointHealth.objects.filter(pk=row.pk, endpoint__edited_at=row.edited_at).first()
            if (
                health is not None
                and row.pk in found
                and discovery.store(health, found=found[row.pk], at=now)
            ):
                revision.bump(routing=True)
    latest = Revision.objects.filter(pk=Revision.SINGLETON).first()
    return latest.routing if latest else 0
