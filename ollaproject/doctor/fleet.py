"""Who runs, and how the fleet is: accounts, web processes, checks, endpoints, local models."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib.auth import get_user_model
from django.db.models import Max

from endpoints.choices import ROUTABLE, WAKEABLE, Mode
from endpoints.models import Endpoint, EndpointHealth
from endpoints.pages import fleet_view
from inference.local import hosts
from inference.local.choices import State
from inference.models import LocalModelStatus, ModelHost
from ollaproject.doctor.findings import Finding, ok, problem, warning
from ollaproject.wire import clock
from ollaproject.wire.time_words import span
from proxy.records import shared_counts

if TYPE_CHECKING:
    from collections.abc import Iterator


def accounts() -> Iterator[Finding]:
    people = get_user_model().objects.filter(is_active=True)
    if people.filter(is_superuser=True).exists():
        yield ok("accounts", f"{people.count()} active, with an administrator")
    else:
        hint = "Run: manage.py createsuperuser (manage.py serve makes the first by itself)"
        yield problem("accounts", "No active administrator: nobody can add an endpoint in the admin.", hint)


def web_processes() -> Iterator[Finding]:
    living = shared_counts.living(clock.now())
    if living:
        where = ", ".join(f"{each.host} (process {each.pid})" for each in living)
        yield ok("web", f"{len(living)} running: {where}")
    else:
        yield problem("web", "No web process runs: nobody is answered.", "Run: manage.py serve")


def health_checks() -> Iterator[Finding]:
    """Whether worker and beat run, told by what they do: a check that is long overdue was done by nobody."""
    stopped_at = fleet_view.checks_stopped_at()
    if stopped_at:
        text = f"No check since {stopped_at:%Y-%m-%d %H:%M:%S} UTC: what the pages say of the fleet is old."
        hint = "Run manage.py serve, or a Celery worker and one beat; their log says why they stopped."
        yield problem("checks", text, hint)
        return
    last = EndpointHealth.objects.aggregate(last=Max("checked_at"))["last"]
    if last is None:
        yield ok("checks", "None yet: there is no endpoint to check")
    else:
        yield ok("checks", f"In time, the last {span((clock.now() - last).total_seconds())} ago")


def endpoints() -> Iterator[Finding]:
    found = list(Endpoint.objects.select_related("health").order_by("name"))
    if not found:
        hint = "Add one in the admin, or with: manage.py import_endpoints FILE"
        yield warning("endpoints", "There is none: no request can be answered.", hint)
        return
    broken = [each for each in found if each.mode == Mode.ACTIVE and each.health.status not in _SERVES]
    set_aside = [each.name for each in found if each.mode != Mode.ACTIVE]
    serving = len(found) - len(broken) - len(set_aside)
    text = f"{serving} of {len(found)} serve"
    if set_aside:
        text = f"{text}; out of service: {', '.join(set_aside)}"
    if serving:
        yield ok("endpoints", text)
    else:
        yield problem("endpoints", f"{text}: no request can be answered.", "Mend or resume one of them.")
    for each in broken:
        state = each.health.get_status_display().lower()
        hint = f"Look closer: manage.py check_endpoints {each.name}"
        yield warning("endpoints", f"{each.name} is {state}: {each.health.reason or 'not checked yet'}", hint)


_SERVES = ROUTABLE | WAKEABLE


def local_models() -> Iterator[Finding]:
    statuses = list(LocalModelStatus.objects.select_related("model").order_by("model__name"))
    alive = {host.name for host in hosts.alive()}
    lost = [host for host in ModelHost.objects.filter(running=True) if host.name not in alive]
    for host in lost:
        silent = span((clock.now() - host.seen_at).total_seconds())
        text = f"The supervisor of {host.name} has not been heard of for {silent}."
        yield problem("local models", text, f"Run there: manage.py serve, or serve_models ({host.name})")
    if statuses and not alive and not lost:
        hint = "Run: manage.py serve, or manage.py serve_models"
        yield warning("local models", f"{len(statuses)} defined, and no supervisor runs them.", hint)
    failed = [status for status in statuses if status.state == State.FAILED]
    for status in failed:
        hint = f"Read its log: manage.py models logs {status.model.name}"
        yield warning("local models", f"{status.model.name} failed: {status.reason}", hint)
    if not (lost or failed) and (alive or not statuses):
        ready = sum(status.state == State.READY for status in statuses)
        yield ok("local models", f"{ready} of {len(statuses)} ready" if statuses else "None")
