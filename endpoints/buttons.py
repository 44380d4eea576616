"""The buttons of the dashboard and the admin: what each does, and the sentence that says what happened."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from endpoints import operations
from endpoints.choices import Mode

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from endpoints.models import Endpoint


@dataclass(frozen=True, slots=True)
class Button:
    """`sentences` are for one endpoint, with its name, and for several, with their number."""

    label: str
    icon: str
    press: Callable[[Sequence[Endpoint]], None]
    sentences: tuple[str, str]
    modes: frozenset[Mode]


def each(operation: Callable[..., None]) -> Callable[[Sequence[Endpoint]], None]:
    def press(endpoints: Sequence[Endpoint]) -> None:
        for endpoint in endpoints:
            operation(endpoint=endpoint)

    return press


def check(endpoints: Sequence[Endpoint]) -> None:
    operations.check_now(endpoints=endpoints)


BUTTONS = {
    "check": Button(
        label="Check now",
        icon="check",
        press=check,
        sentences=("Checking {} now.", "Checking {} endpoints now."),
        modes=frozenset({Mode.ACTIVE, Mode.DRAINING}),
    ),
    "activate": Button(
        label="Put in service",
        icon="active",
        press=each(operations.activate),
        sentences=(
            "Put {} in service. It is checked now.",
            "Put {} endpoints in service. They are checked now.",
        ),
        modes=frozenset({Mode.DRAINING, Mode.PAUSED, Mode.MAINTENANCE}),
    ),
    "drain": Button(
        label="Drain",
        icon="draining",
        press=each(operations.drain),
        sentences=(
            "Draining {}: running requests finish, new ones go elsewhere.",
            "Draining {} endpoints: running requests finish, new ones go elsewhere.",
        ),
        modes=frozenset({Mode.ACTIVE, Mode.PAUSED, Mode.MAINTENANCE}),
    ),
    "pause": Button(
        label="Pause",
        icon="paused",
        press=each(operations.pause),
        sentences=(
            "Paused {}: no requests and no checks.",
            "Paused {} endpoints: no requests and no checks.",
        ),
        modes=frozenset({Mode.ACTIVE, Mode.DRAINING, Mode.MAINTENANCE}),
    ),
}


def press(action: str, endpoints: Sequence[Endpoint]) -> str:
    """Do what the button `action` says, to those endpoints that it makes sense for, and say what happened.

    Raises KeyError when there is no such button.
    """
    button = BUTTONS[action]
    fitting = [endpoint for endpoint in endpoints if endpoint.mode in button.modes]
    if not fitting:
        return nothing_to_do(action, endpoints)
    button.press(fitting)
    one, several = button.sentences
    said = one.format(fitting[0].name) if len(fitting) == 1 else several.format(len(fitting))
    left = len(endpoints) - len(fitting)
    return f"{said} {left} left as {'it was' if left == 1 else 'they were'}." if left else said


def nothing_to_do(action: str, endpoints: Sequence[Endpoint]) -> str:
    who = f"{endpoints[0].name} is" if len(endpoints) == 1 else "all of them are"
    if action == "check":
        return f"Nothing to check: {who} paused. To have it checked, put it in service first."
    return f"Nothing to change: {who} in that mode already."
