"""The Celery tasks of the gateway."""

from __future__ import annotations

from datetime import timedelta

from celery import shared_task
from django.conf import settings
from django.core.management import call_command

from endpoints.past.retention import delete_in_batches
from ollaproject.wire import clock
from proxy.models import RequestRecord
from proxy.records import kept_bodies


@shared_task(name="proxy.prune_requests")
def prune_requests() -> None:
    """Delete the rows of requests that are older than OLLA_REQUEST_HISTORY_DAYS, and kept bodies in time."""
    oldest = clock.now() - timedelta(days=settings.OLLA_REQUEST_HISTORY_DAYS)
    delete_in_batches(RequestRecord.objects.filter(at__lt=oldest).order_by("at"))
    kept_bodies.prune()


@shared_task(name="proxy.prune_sessions")
def prune_sessions() -> None:
    """Delete the sessions that have expired. Django keeps them until somebody asks."""
    call_command("clearsessions")
