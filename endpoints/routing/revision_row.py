"""The one row of counters by which processes tell each other that something has changed."""

from __future__ import annotations

from django.db import models


class Revision(models.Model):
    """One row of counters, which every web process watches.

    `routing` moves when the routing table must be rebuilt; `access` when what says who may call must be;
    `activity` when anything that a page shows has changed.
    """

    SINGLETON = 1

    id = models.PositiveSmallIntegerField(primary_key=True, default=SINGLETON)
    routing = models.BigIntegerField(default=0)
    activity = models.BigIntegerField(default=0)
    access = models.BigIntegerField(default=0)

    def __str__(self) -> str:
        return f"routing {self.routing}, access {self.access}, activity {self.activity}"
