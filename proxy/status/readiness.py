"""Whether this gateway can do its work: the database, the broker, and an endpoint to send requests to."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass

from channels.db import database_sync_to_async
from django.conf import settings
from django.db import Error, connection
from kombu import Connection
from kombu.exceptions import OperationalError

from endpoints.routing.snapshot import snapshot

BROKER_TIMEOUT_SECONDS = 2
BROKER_TIMEOUTS = dict.fromkeys(("socket_connect_timeout", "socket_timeout"), BROKER_TIMEOUT_SECONDS)


@dataclass(frozen=True, slots=True)
class Readiness:
    """Each part with "ok" or what is wrong with it, in a sentence."""

    database: str
    broker: str
    endpoints: str

    @property
    def ready(self) -> bool:
        return self.database == self.broker == self.endpoints == "ok"


async def check() -> Readiness:
    # The broker is not asked in the thread that has the database: everybody's questions stand in line there.
    database, broker = await asyncio.gather(
        database_sync_to_async(ask_database)(), asyncio.to_thread(ask_broker)
    )
    return Readiness(database=database, broker=broker, endpoints=_endpoints())


def ask_database() -> str:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except Error as error:
        return f"The database does not answer ({type(error).__name__}). Look at DATABASE_URL and the server."
    return "ok"


def ask_broker() -> str:
    if settings.CELERY_BROKER_URL.startswith("filesystem:"):
        folder = settings.CELERY_BROKER_TRANSPORT_OPTIONS["data_folder_out"]
        return "ok" if os.access(folder, os.W_OK) else f"The broker's folder {folder} cannot be written."
    broker = Connection(settings.CELERY_BROKER_URL, transport_options=BROKER_TIMEOUTS)
    try:
        with broker:
            broker.ensure_connection(max_retries=1, timeout=BROKER_TIMEOUT_SECONDS)
    except OperationalError as error:
        return f"The broker does not answer ({type(error).__name__}). Look at REDIS_URL and the server."
    return "ok"


def _endpoints() -> str:
    targets = snapshot().targets
    if any(target.routable for target in targets):
        return "ok"
    return "No endpoint can serve now." if targets else "There is no endpoint. Add one in the admin pages."
