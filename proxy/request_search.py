"""Which requests a page shows: what its URL asks for, and page after page by key, whatever their number.

A page begins after the last row of the one before, so that the hundredth costs what the first does. Every
filter has an index with the time in it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

from django.db.models import Q

from ollaproject.wire.clock import now
from proxy.models import Came, RequestRecord

if TYPE_CHECKING:
    from django.db.models import QuerySet
    from django.http import QueryDict

PER_PAGE: Final = 50
MAX_LENGTH: Final = 300
SPANS: Final = {"1h": timedelta(hours=1), "24h": timedelta(hours=24), "7d": timedelta(days=7)}
# Greater than whatever can follow the beginning of a request id.
LAST: Final = "\x7f"


@dataclass(frozen=True, slots=True)
class Search:
    """What an empty field asks for is everything. `query` is a request id or its beginning, `since` of SPANS.

    `user_id` is whose requests alone may be seen, None for everyone's.
    """

    query: str = ""
    model: str = ""
    endpoint: str = ""
    outcome: str = ""
    since: str = ""
    user_id: int | None = None

    @property
    def asked(self) -> dict[str, str]:
        pairs = {
            "q": self.query,
            "model": self.model,
            "endpoint": self.endpoint,
            "outcome": self.outcome,
            "since": self.since,
        }
        return {name: value for name, value in pairs.items() if value}

    @property
    def url_query(self) -> str:
        """The search as the query of a URL, without `?`."""
        return urlencode(self.asked)

    def rows(self) -> QuerySet[RequestRecord]:
        """The newest first."""
        found = RequestRecord.objects.order_by("-at", "-id")
        if self.user_id is not None:
            found = found.filter(user_id=self.user_id)
        if self.query:
            found = found.filter(request_id__gte=self.query, request_id__lt=self.query + LAST)
        if self.model:
            found = found.filter(model=self.model)
        if self.endpoint:
            found = found.filter(endpoint=self.endpoint)
        if self.outcome:
            found = found.filter(outcome=self.outcome)
        if self.since:
            found = found.filter(at__gte=now() - SPANS[self.since])
        return found


@dataclass(frozen=True, slots=True)
class Page:
    """Some rows, and the keys of the pages around them: empty where there is none."""

    rows: list[RequestRecord]
    older: str
    newer: str


def asked_for(query: QueryDict, *, user_id: int | None) -> Search:
    words = {
        name: query.get(name, "").strip()[:MAX_LENGTH]
        for name in ("q", "model", "endpoint", "outcome", "since")
    }
    return Search(
        query=words["q"],
        model=words["model"],
        endpoint=words["endpoint"],
        outcome=words["outcome"] if words["outcome"] in Came.values else "",
        since=words["since"] if words["since"] in SPANS else "",
        user_id=user_id,
    )


def page_of(search: Search, *, before: str = "", after: str = "") -> Page:
    """The rows older than the key `before`, or the next newer than `after`, or the newest. One query."""
    rows = search.rows()
    if newer_than := read_key(after):
        return page_after(rows, *newer_than)
    older_than = read_key(before)
    if older_than:
        at, number = older_than
        # The second condition says nothing new, but it is one that an index can be searched by.
        rows = rows.filter(Q(at__lt=at) | Q(at=at, id__lt=number), at__lte=at)
    found = list(rows[: PER_PAGE + 1])
    shown = found[:PER_PAGE]
    older = key_of(shown[-1]) if len(found) > PER_PAGE else ""
    return Page(shown, older=older, newer=key_of(shown[0]) if older_than and shown else "")


def page_after(rows: QuerySet[RequestRecord], at: datetime, number: int) -> Page:
    newer = rows.reverse().filter(Q(at__gt=at) | Q(at=at, id__gt=number), at__gte=at)
    found = list(newer[: PER_PAGE + 1])
    shown = found[:PER_PAGE][::-1]
    more = len(found) > PER_PAGE
    return Page(shown, older=key_of(shown[-1]) if shown else "", newer=key_of(shown[0]) if more else "")


def key_of(row: RequestRecord) -> str:
    return f"{row.at.isoformat()}_{row.pk}"


def read_key(text: str) -> tuple[datetime, int] | None:
    """A key as `key_of` wrote it; None for anything else."""
    moment, _, number = text.rpartition("_")
    try:
        at = datetime.fromisoformat(moment)
        return (at, int(number)) if at.tzinfo else None
    except ValueError:
        return None
