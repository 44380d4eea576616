"""What is left to do until a new gateway is of use: a checklist on the dashboard that goes when it is done.

The fleet knows its own two steps. Other rooms add theirs with `add`, when their app is ready.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.utils.translation import gettext_lazy as _

from endpoints.choices import ROUTABLE, Mode
from endpoints.models import Endpoint

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, slots=True)
class Step:
    """`how` says what to do, `url_name` where, `code` is something to copy. `is_done` may cost one query."""

    title: Any
    how: Any
    is_done: Callable[[], bool]
    url_name: str = ""
    code: str = ""


@dataclass(frozen=True, slots=True)
class Shown:
    step: Step
    done: bool


def any_endpoint() -> bool:
    return Endpoint.objects.exists()


def any_serves() -> bool:
    return Endpoint.objects.filter(mode=Mode.ACTIVE, health__status__in=ROUTABLE).exists()


_steps: list[Step] = [
    Step(
        title=_("Add an endpoint"),
        how=_("Its URL and a name are enough."),
        is_done=any_endpoint,
        url_name="admin:endpoints_endpoint_add",
    ),
    Step(
        title=_("See it serve"),
        how=_("It is checked within a second. Its card says what is wrong if it does not."),
        is_done=any_serves,
    ),
]


def add(step: Step) -> None:
    """Put a step at the end. To be called while the apps load."""
    if step not in _steps:
        _steps.append(step)


def left() -> list[Shown]:
    """Every step with whether it is done; empty once all are."""
    shown = [Shown(step, step.is_done()) for step in _steps]
    return [] if all(each.done for each in shown) else shown
