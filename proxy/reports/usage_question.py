"""Reads a question about usage from a query string: `?since=2026-11-01&group_by=day,model&team=blue`."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

from rest_framework.exceptions import ValidationError

from proxy.reports.usage_report import DEFAULT_DAYS, FILTERS, GROUPS, MAX_DAYS, Asked

if TYPE_CHECKING:
    from collections.abc import Mapping


def read(given: Mapping[str, str]) -> Asked:
    """Raises ValidationError that names the parameter."""
    default = Asked.last(DEFAULT_DAYS)
    until = _day(given, "until", default.until)
    since = _day(given, "since", min(default.since, until))
    if since > until:
        raise ValidationError({"since": "This day is after `until`."})
    if (until - since).days >= MAX_DAYS:
        raise ValidationError({"since": f"At most {MAX_DAYS} days can be asked for at once."})
    words = [word.strip() for word in given.get("group_by", "").split(",") if word.strip()]
    if unknown := [word for word in words if word not in GROUPS]:
        known = ", ".join(GROUPS)
        raise ValidationError({"group_by": f"There is no group {unknown[0]!r}. Known: {known}."})
    filters = {name: given[name] for name in FILTERS if given.get(name)}
    return Asked(since, until, tuple(dict.fromkeys(words)), filters)


def _day(given: Mapping[str, str], name: str, default: date) -> date:
    text = given.get(name)
    if not text:
        return default
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ValidationError({name: "Write a day as 2026-11-30."}) from None
