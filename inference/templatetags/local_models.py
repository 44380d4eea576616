"""How pages show a local model's state, and sizes: an icon with its word, and `5.1 GB`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from django import template
from django.templatetags.static import static
from django.utils.html import format_html

from inference.local.choices import State
from ollaproject.wire import numbers
from ollaproject.wire.time_words import exact_span

if TYPE_CHECKING:
    from django.utils.safestring import SafeString

register = template.Library()

LOOKS: Final = {
    State.READY: ("good", "healthy"),
    State.FAILED: ("bad", "offline"),
    State.STOPPED: ("quiet", "paused"),
    State.UNLOADED: ("quiet", "asleep"),
    State.DOWNLOADING: ("info", "download"),
    State.VERIFYING: ("info", "warming"),
    State.LOADING: ("info", "warming"),
    State.STOPPING: ("info", "draining"),
}


@register.simple_tag
def state_pill(state: str) -> SafeString:
    look, icon = LOOKS[State(state)]
    return format_html(
        '<span class="pill pill-{}"><svg class="icon" aria-hidden="true"><use href="{}#{}"/></svg>{}</span>',
        look,
        static("endpoints/icons.svg"),
        icon,
        State(state).label,
    )


@register.filter
def duration(seconds: float) -> str:
    """`1 h 30 min`."""
    return exact_span(seconds)


@register.filter
def size(count: int) -> str:
    return numbers.size(count)
