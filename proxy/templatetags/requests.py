"""How pages show what a request took: lengths of time, tokens, bytes, and what came of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from django import template
from django.utils.html import format_html
from django.utils.text import capfirst

from endpoints.templatetags.fleet import icon
from ollaproject.wire import numbers
from ollaproject.wire.time_words import span
from proxy.models import Came
from proxy.status import figures

if TYPE_CHECKING:
    from django.utils.safestring import SafeString

    from proxy.models import RequestRecord
    from proxy.routing.explain import EndpointStep

register = template.Library()

# The look of each outcome, and its icon.
LOOKS: Final = {
    Came.OK: ("good", "healthy"),
    Came.FAILED: ("bad", "offline"),
    Came.REFUSED: ("warn", "unhealthy"),
    Came.LEFT: ("", "unknown"),
}
MS_PER_SECOND: Final = 1000
MINUTE_MS: Final = 60_000


@register.simple_tag
def outcome_pill(row: RequestRecord) -> SafeString:
    """What came of a request: icon and word, with the HTTP status or the error behind it."""
    came = Came(row.outcome) if row.outcome else Came.OK
    look, shape = LOOKS[came]
    return format_html('<span class="pill pill-{}">{}{}</span>', look, icon(shape), came.label)


@register.filter
def duration(ms: float | None) -> str:
    """`85 ms`, `1.2 s`, `2 min`; nothing for None."""
    if ms is None:
        return ""
    if ms < MS_PER_SECOND:
        return f"{max(0, round(ms))} ms"
    return f"{numbers.decimal(ms / MS_PER_SECOND, 1)} s" if ms < MINUTE_MS else span(ms / MS_PER_SECOND)


@register.filter
def bytesize(count: int) -> str:
    return figures.size(count)


@register.filter
def speed(row: RequestRecord) -> str:
    """Tokens per second after the first byte, where both are known and it took a while: `23.4 tok/s`."""
    per_second = tokens_per_second(row)
    return "" if per_second is None else f"{numbers.decimal(per_second, 1)} tok/s"


def tokens_per_second(row: RequestRecord) -> float | None:
    if not row.completion_tokens or row.ttft_ms is None or not row.stream:
        return None
    writing_ms = row.duration_ms - row.ttft_ms
    return (row.completion_tokens - 1) * MS_PER_SECOND / writing_ms if writing_ms > 0 else None


@register.simple_tag
def reason_of(step: EndpointStep) -> str:
    """Why an endpoint may answer or not, as a sentence. A name that it begins with stays as it is written."""
    reason = step["reason"]
    return reason if reason.startswith(step["name"]) else capfirst(reason)


@register.filter
def item(mapping: dict[Any, Any], key: Any) -> Any:
    return mapping.get(key)
