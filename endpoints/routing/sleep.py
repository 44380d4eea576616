"""Endpoints that are asleep: asked for by requests, woken by whoever runs their server.

The two meet in the database: a thread writes down who is asked for, off the request path, and the other side
looks. An endpoint is awake when a check has found it healthy, as for any other.
"""

from __future__ import annotations

import logging
import queue
import threading
from typing import TYPE_CHECKING

from django.db import Error, connection

from endpoints.choices import Status
from endpoints.models import EndpointHealth
from ollaproject.wire import clock

if TYPE_CHECKING:
    from collections.abc import Iterable

logger = logging.getLogger(__name__)


def ask(endpoint_id: int) -> None:
    """Note in the database that a request wants it."""
    EndpointHealth.objects.filter(pk=endpoint_id, status=Status.ASLEEP, wake_asked_at__isnull=True).update(
        wake_asked_at=clock.now()
    )


def asked_for(endpoint_ids: Iterable[int]) -> set[int]:
    """Those that are asleep and wanted."""
    rows = EndpointHealth.objects.filter(
        pk__in=list(endpoint_ids), status=Status.ASLEEP, wake_asked_at__isnull=False
    )
    return set(rows.values_list("pk", flat=True))


class Bell:
    """Rings for endpoints, from a thread of its own that is started when it is first needed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._wanted: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def ring(self, endpoint_id: int) -> None:
        """Returns at once."""
        with self._lock:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="fleet-bell", daemon=True)
                self._thread.start()
        self._wanted.put(endpoint_id)

    def _run(self) -> None:
        while True:
            endpoint_id = self._wanted.get()
            try:
                ask(endpoint_id)
            except Error as error:
                logger.warning("Endpoint %s could not be woken: %s", endpoint_id, error)
            finally:
                connection.close()


bell = Bell()
