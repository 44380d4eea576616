"""What other rooms add to the dashboard: a template, and what it shows. They call `add` when apps load."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from django.contrib.auth.models import AnonymousUser, User

    Person = User | AnonymousUser


@dataclass(frozen=True, slots=True)
class Part:
    """`content` is what the template gets under that name; when it is empty, nothing is shown."""

    template: str
    shown_to: Callable[[Person], bool]
    content: Callable[[], Any]


@dataclass(frozen=True, slots=True)
class Shown:
    template: str
    content: Any


_parts: list[Part] = []


def add(part: Part) -> None:
    """Show `part` above the endpoints. To be called while the apps load."""
    if part not in _parts:
        _parts.append(part)


def seen_by(user: Person) -> list[bool]:
    """Which of the parts this person may see."""
    return [part.shown_to(user) for part in _parts]


def shown(seen: Sequence[bool]) -> list[Shown]:
    """What there is to show now to whoever may see these parts, as `seen_by` says it."""
    found = [Shown(part.template, part.content()) for part, may in zip(_parts, seen, strict=True) if may]
    return [part for part in found if part.content]
