"""The buttons of the dashboard and the admin: what each does, and the sentence that says what happened."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from endpoints import operations
from endpoints.choices import Mode

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from endpoints.models import Endpoint


@dataclass(frozen=True, slots=True)
class Button:
    """`sentences` are for one endpoint, with its name, and for several, with their number."""

    label: Any
    icon: str
    press: Callable[[Sequence[Endpoint]], None]
    sentences: tuple[Any, Any]
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
        label=_("Check now"),
        icon="check",
        press=check,
        sentences=(_("Checking {} now."), _("Checking {} endpoints now.")),
        modes=frozenset({Mode.ACTIVE, Mode.DRAINING}),
    ),
    "activate": Button(
        label=_("Put in service"),
        icon="active",
        press=each(operations.activate),
        sentences=(
            _("Put {} in service. It is checked now."),
            _("Put {} endpoints in service. They are checked now."),
        ),
        modes=frozenset({Mode.DRAINING, Mode.PAUSED, Mode.MAINTENANCE}),
    ),
    "drain": Button(
        label=_("Drain"),
        icon="draining",
        press=each(operations.drain),
        sentences=(
            _("Draining {}: running requests finish, new ones go elsewhere."),
            _("Draining {} endpoints: running requests finish, new ones go elsewhere."),
        ),
        modes=frozenset({Mode.ACTIVE, Mode.PAUSED, Mode.MAINTENANCE}),
    ),
    "pause": Button(
        label=_("Pause"),
        icon="paused",
        press=each(operations.pause),
        sentences=(
            _("Paused {}: no requests and no checks."),
            _("Paused {} endpoints: no requests and no checks."),
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
    said: str = one.format(fitting[0].name) if len(fitting) == 1 else several.format(len(fitting))
    left = len(endpoints) - len(fitting)
    if not left:
        return said
    more = ngettext("{number} left as it was.", "{number} left as they were.", left)
    return f"{said} {more.format(number=left)}"


def nothing_to_do(action: str, endpoints: Sequence[Endpoint]) -> str:
    if len(endpoints) == 1:
        words = (
            gettext("Nothing to check: {who} is paused. To have it checked, put it in service first.")
            if action == "check"
            else gettext("Nothing to change: {who} is in that mode already.")
        )
        return words.format(who=endpoints[0].name)
    if action == "check":
        return gettext(
            "Nothing to check: all of them are paused. To have them checked, put them in service first."
        )
    return gettext("Nothing to change: all of them are in that mode already.")
