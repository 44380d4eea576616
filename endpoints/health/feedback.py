"""Carries what the proxy sees to the checks, and what they find back: one thread, off the request path.

An endpoint in doubt is checked at once, so every process knows within a second. While something is in doubt
the thread reads what the checks have found; otherwise it sleeps. It starts when it is first needed.
"""

from __future__ import annotations

import logging
import queue
import threading
from typing import TYPE_CHECKING

from django.db import Error, connection

from endpoints import operations
from endpoints.choices import ROUTABLE
from endpoints.health.doubts import Doubts
from endpoints.models import EndpointHealth

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

logger = logging.getLogger(__name__)

REVIEW_SECONDS = 0.25
STOP_SECONDS = 5.0


class Feedback:
    """The thread and the doubts that it serves. Each process has one, behind the functions of this module."""

    def __init__(self) -> None:
        self.doubts = Doubts(self._ask)
        self._lock = threading.Lock()
        self._wanted: queue.SimpleQueue[int | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def _ask(self, endpoint_id: int) -> None:
        with self._lock:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="fleet-feedback", daemon=True)
                self._thread.start()
            self._wanted.put(endpoint_id)

    def stop(self) -> None:
        with self._lock:
            thread, self._thread = self._thread, None
            if thread is not None:
                self._wanted.put(None)
        if thread is not None:
            thread.join(STOP_SECONDS)

    def _run(self) -> None:
        stopping = False
        while not stopping:
            try:
                stopping = self._turn()
            except Error as error:
                logger.warning("What the checks find is not known, the database does not answer (%s).", error)
                connection.close()
            except Exception:
                logger.exception("An endpoint in doubt could not be checked. The next tick checks it.")
        connection.close()

    def _turn(self) -> bool:
        """Wait for something to do, and do it. Returns whether that was to stop."""
        try:
            wanted = self._wanted.get(timeout=REVIEW_SECONDS if self.doubts else None)
        except queue.Empty:
            self.doubts.review(found_well(self.doubts.suspected()))
            return False
        if wanted is not None:
            operations.confirm([wanted])
        return wanted is None


def found_well(endpoint_ids: Collection[int]) -> dict[int, datetime]:
    """Those of the endpoints that the last check found well, with when it began."""
    if not endpoint_ids:
        return {}
    rows = EndpointHealth.objects.filter(
        pk__in=list(endpoint_ids), status__in=ROUTABLE, consecutive_failures=0, checked_at__isnull=False
    )
    return {row.pk: row.checked_at for row in rows if row.checked_at is not None}


_feedback = Feedback()
doubts = _feedback.doubts


def stop() -> None:
    """End the thread of this process, if it was ever needed."""
    _feedback.stop()
