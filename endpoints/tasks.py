"""The Celery tasks: thin, each one calls the rule that it is named after."""

from __future__ import annotations

from typing import Any

from celery import shared_task
from celery.signals import worker_process_shutdown, worker_shutdown

from endpoints import operations
from endpoints.alerts import alert_delivery
from endpoints.health import prober, schedule
from endpoints.past import retention, rollup
from ollaproject.wire import clock


@shared_task(name="endpoints.check_due")
def check_due() -> None:
    """Start every check that falls due before the next tick, and end the maintenances that are over."""
    operations.end_maintenance(clock.now())
    prober.submit(schedule.claim_due(clock.now()))


@shared_task(name="endpoints.check_now")
def check_now(endpoint_ids: list[int]) -> None:
    """Start the checks of these endpoints, as far as no tick has taken them already."""
    prober.submit(schedule.claim_due(clock.now(), only=endpoint_ids))


@shared_task(name="endpoints.send_alerts")
def send_alerts() -> None:
    """Send the alerts that are due, and try those again that could not be delivered."""
    alert_delivery.send_due()


@shared_task(name="endpoints.roll_up_history")
def roll_up_history() -> None:
    """Sum up the checks of the minutes, hours and days that are over."""
    rollup.roll_up(clock.now())


@shared_task(name="endpoints.prune_history")
def prune_history() -> None:
    """Delete what is older than the settings say: OLLA_CHECK_HISTORY_HOURS and its siblings."""
    retention.prune(clock.now())


@worker_shutdown.connect
@worker_process_shutdown.connect
def stop_prober(**_: Any) -> None:
    """The checks end with the process that makes them: the worker, or a child of a prefork pool."""
    prober.stop()
