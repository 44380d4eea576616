"""How the pages show a status, a mode and a time: an icon with its word, and a time that keeps going."""

from __future__ import annotations

from datetime import UTC
from typing import TYPE_CHECKING, Literal

from django import template
from django.templatetags.static import static
from django.utils.html import format_html
from django.utils.translation import gettext

from endpoints.choices import Mode, Status
from endpoints.known_models.model_names import SPELLED, UNKNOWN
from endpoints.pages.live import SIGNED_OUT
from endpoints.pages.overview import MODE_WORDS, latency_ms
from ollaproject.wire.clock import now
from ollaproject.wire.numbers import size
from ollaproject.wire.time_words import span

if TYPE_CHECKING:
    from datetime import datetime

    from django.utils.safestring import SafeString

    from endpoints.past.history import Incident

register = template.Library()

Wording = Literal["for", "ago", "in"]


@register.simple_tag
def icon(name: str) -> SafeString:
    """A shape from icons.svg. It says nothing to a screen reader: a word stands beside it."""
    return format_html(
        '<svg class="icon" aria-hidden="true"><use href="{}#{}"/></svg>', static("endpoints/icons.svg"), name
    )


@register.simple_tag
def signed_out_code() -> int:
    """With which the live channel is closed for whoever has signed out."""
    return SIGNED_OUT


@register.simple_tag
def status_pill(status: str) -> SafeString:
    return format_html('<span class="pill pill-{}">{}{}</span>', status, icon(status), Status(status).label)


@register.simple_tag
def mode_pill(mode: str) -> SafeString:
    return format_html('<span class="pill pill-{}">{}{}</span>', mode, icon(mode), MODE_WORDS[Mode(mode)])


@register.filter
def mode_word(mode: str) -> str:
    """A mode in one or two words: `Draining`."""
    return str(MODE_WORDS[Mode(mode)])


@register.filter
def memory(count: int) -> str:
    """`5.1 GB`, as the pages of local models have it."""
    return size(count)


@register.filter
def family_word(family: str) -> str:
    """A family of models as its makers write it: `SmolLM`."""
    return gettext("Unknown") if family == UNKNOWN else SPELLED.get(family, family[:1].upper() + family[1:])


@register.simple_tag
def clock(at: datetime, wording: Wording) -> SafeString:
    """A time in words: `for` is “4 min”, `ago` “4 min ago”, `in` “in 4 s”.

    clock.js keeps it going, and says the exact time, in the reader's zone, to whoever points at it.
    """
    return format_html(
        '<time datetime="{}" data-clock="{}">{}</time>',
        at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        wording,
        in_words((now() - at).total_seconds(), wording),
    )


@register.simple_tag
def moment(at: datetime) -> SafeString:
    """A point in time as such. clock.js writes it in the reader's own time zone."""
    words = f"{at:%Y-%m-%d %H:%M:%S} UTC"
    return format_html(
        '<time datetime="{}" data-clock="at">{}</time>', at.isoformat(timespec="milliseconds"), words
    )


@register.simple_tag
def brief(at: datetime) -> SafeString:
    """A point in time for a dense list: clock.js leaves out the day when it is today's."""
    words = f"{at:%Y-%m-%d %H:%M:%S} UTC"
    return format_html(
        '<time datetime="{}" data-clock="brief">{}</time>', at.isoformat(timespec="milliseconds"), words
    )


@register.simple_tag
def lasted(incident: Incident) -> str:
    """How long an incident that is over lasted."""
    seconds = incident.length(now()).total_seconds()
    if seconds < 1:
        return gettext("for less than 1 s")
    return gettext("for {time}").format(time=span(seconds))


@register.filter
def milliseconds(seconds: float) -> str:
    return f"{latency_ms(seconds)} ms"


def in_words(seconds_gone: float, wording: Wording) -> str:
    """The same words as clock.js. `seconds_gone` is negative for a time to come."""
    if wording == "in":
        if seconds_gone > -1:
            return gettext("now")
        return gettext("in {time}").format(time=span(-seconds_gone))
    if wording == "ago":
        if seconds_gone < 1:
            return gettext("just now")
        return gettext("{time} ago").format(time=span(seconds_gone))
    return span(seconds_gone)
