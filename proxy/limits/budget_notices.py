"""Writes down, once a period, that a key, a person or a team has used up its budget: a row, and a log line.

It reads the totals within the transaction that adds to them, so the notice comes from whichever process wrote
the last tokens, and a restart neither loses nor repeats it.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from django.urls import reverse

from endpoints.alerts import alerts
from endpoints.alerts.alert_models import MAX_PATH_LENGTH, AlertKind
from ollaproject.wire import clock
from proxy.limits.budgets import spent
from proxy.limits.meters import DAY, MONTH
from proxy.models import BudgetReached

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import date

    from proxy.limits.meters import Subject
    from proxy.limits.windows import Spent
    from proxy.records.record import Outcome

logger = logging.getLogger(__name__)


def write(outcomes: Iterable[Outcome]) -> list[BudgetReached]:
    """The notices that these requests gave cause for. To be announced when the transaction stands."""
    subjects: dict[str, Subject] = {}
    refused: set[tuple[str, str]] = set()
    for outcome in outcomes:
        if outcome.full is not None:
            refused.add((outcome.full.subject.name, outcome.full.kind))
        for subject in outcome.holder.subjects if outcome.holder is not None else ():
            if subject.limits.has_budget:
                subjects[subject.name] = subject
    if not subjects:
        return []
    today = clock.now().date()
    used = spent(subjects, today)
    due = [
        notice
        for name, subject in subjects.items()
        for notice in _due(subject, used.get(name), refused, today)
    ]
    return _not_yet_told(due)


def announce(reached: Iterable[BudgetReached]) -> None:
    for each in reached:
        logger.warning(
            "The %s %s has used up %s budget of %s tokens of this %s.",
            each.kind,
            each.name,
            _whose(each),
            each.budget,
            each.period,
        )


def _due(
    subject: Subject, used: Spent | None, refused: set[tuple[str, str]], today: date
) -> Iterator[BudgetReached]:
    """A budget counts as reached also when what is left of it was too little for a request."""
    kind, _, number = subject.name.partition(" ")
    limits = subject.limits
    of_day, of_month = (used.of_day, used.of_month) if used is not None else (0, 0)
    for period, budget, so_far, since in (
        (DAY, limits.tokens_per_day, of_day, today),
        (MONTH, limits.tokens_per_month, of_month, today.replace(day=1)),
    ):
        if budget is not None and (so_far >= budget or (subject.name, period) in refused):
            yield BudgetReached(
                kind=kind,
                subject_id=int(number),
                name=subject.label,
                period=period,
                since=since,
                budget=budget,
                at=clock.now(),
            )


def _not_yet_told(due: list[BudgetReached]) -> list[BudgetReached]:
    """Store those that are new. Two processes may come to the same one: the database lets one of them in."""
    if not due:
        return []
    first = min(each.since for each in due)
    told = set(
        BudgetReached.objects.filter(since__gte=first).values_list("kind", "subject_id", "period", "since")
    )
    new = [each for each in due if (each.kind, each.subject_id, each.period, each.since) not in told]
    BudgetReached.objects.bulk_create(new, ignore_conflicts=True)
    for each in new:
        budget = f"{each.budget:,} tokens of this {each.period}"
        text = f"The {each.kind} {each.name} has used up {_whose(each)} budget of {budget}"
        alerts.tell(AlertKind.BUDGET, each.name, text, path=_page_of(each), at=each.at)
    return new


def _whose(notice: BudgetReached) -> str:
    return "their" if notice.kind == "person" else "its"


def _page_of(notice: BudgetReached) -> str:
    """Where a lead sees what the team used, or an administrator what a key or a person did."""
    asked: dict[str, object] = {"of": "all", "user" if notice.kind == "person" else "key": notice.name}
    if notice.kind == "team":
        asked = {"of": notice.subject_id}
    return f"{reverse('usage')}?{urlencode(asked)}"[:MAX_PATH_LENGTH]
