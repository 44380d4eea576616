"""Which requests a page shows: what its URL asks for, and page after page by key, whatever their number.

A page begins after the last row of the one before, so that the hundredth costs what the first does. Every
filter has an index with the time in it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

from django.db.models import Q

from ollaproject.wire import roles
from ollaproject.wire.clock import now
from proxy.models import ApiKey, Came, RequestRecord

if TYPE_CHECKING:
    from collections.abc import Iterable

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

    `whose` says whose requests may be seen, None: everyone's. Each part of it has an index.
    """

    query: str = ""
    model: str = ""
    endpoint: str = ""
    key: str = ""
    outcome: str = ""
    since: str = ""
    whose: tuple[Q, ...] | None = None

    @property
    def asked(self) -> dict[str, str]:
        pairs = {
            "q": self.query,
            "model": self.model,
            "endpoint": self.endpoint,
            "key": self.key,
            "outcome": self.outcome,
            "since": self.since,
        }
        return {name: value for name, value in pairs.items() if value}

    @property
    def url_query(self) -> str:
        """The search as the query of a URL, without `?`."""
        return urlencode(self.asked)

    def rows(self) -> list[QuerySet[RequestRecord]]:
        """The newest first, of each part of `whose`: a query for each, so that each goes by its index."""
        found = self._of_everyone()
        return [found] if self.whose is None else [found.filter(part) for part in self.whose]

    def _of_everyone(self) -> QuerySet[RequestRecord]:
        found = RequestRecord.objects.order_by("-at", "-id")
        if self.query:
            found = found.filter(request_id__gte=self.query, request_id__lt=self.query + LAST)
        if self.model:
            found = found.filter(model=self.model)
        if self.endpoint:
            found = found.filter(endpoint=self.endpoint)
        if self.key:
            found = found.filter(_by_key(self.key))
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


def whose(user: roles.Person) -> tuple[Q, ...] | None:
    """Whose requests a person may see: their own, as a lead also their teams', with permission all (None)."""
    if roles.sees_all_requests(user):
        return None
    return Q(user_id=user.pk or 0), *(Q(team_id=team.pk) for team in roles.led_by(user))


def asked_for(query: QueryDict, *, whose: tuple[Q, ...] | None) -> Search:
    words = {
        name: query.get(name, "").strip()[:MAX_LENGTH]
        for name in ("q", "model", "endpoint", "key", "outcome", "since")
    }
    return Search(
        query=words["q"],
        model=words["model"],
        endpoint=words["endpoint"],
        key=words["key"],
        outcome=words["outcome"] if words["outcome"] in Came.values else "",
        since=words["since"] if words["since"] in SPANS else "",
        whose=whose,
    )


def page_of(search: Search, *, before: str = "", after: str = "") -> Page:
    """The rows older than the key `before`, or the next newer than `after`, or the newest.

    One query for each part of `search.whose`.
    """
    if newer_than := read_key(after):
        return page_after(search, *newer_than)
    condition = Q()
    older_than = read_key(before)
    if older_than:
        at, number = older_than
        # The second condition says nothing new, but it is one that an index can be searched by.
        condition = (Q(at__lt=at) | Q(at=at, id__lt=number)) & Q(at__lte=at)
    found = _first(rows.filter(condition) for rows in search.rows())
    shown = found[:PER_PAGE]
    older = key_of(shown[-1]) if len(found) > PER_PAGE else ""
    return Page(shown, older=older, newer=key_of(shown[0]) if older_than and shown else "")


def page_after(search: Search, at: datetime, number: int) -> Page:
    condition = (Q(at__gt=at) | Q(at=at, id__gt=number)) & Q(at__gte=at)
    found = _first([rows.filter(condition).reverse() for rows in search.rows()], oldest=True)
    shown = found[:PER_PAGE][::-1]
    more = len(found) > PER_PAGE
    return Page(shown, older=key_of(shown[-1]) if shown else "", newer=key_of(shown[0]) if more else "")


def _first(parts: Iterable[QuerySet[RequestRecord]], *, oldest: bool = False) -> list[RequestRecord]:
    """The newest rows of all parts together, or the oldest: one more than a page holds, each once."""
    found = {row.pk: row for rows in parts for row in rows[: PER_PAGE + 1]}
    ordered = sorted(found.values(), key=lambda row: (row.at, row.pk), reverse=not oldest)
    return ordered[: PER_PAGE + 1]


def _by_key(name: str) -> Q:
    """By its id, which has an index; the rows of a key that is gone are found by its name."""
    number = ApiKey.objects.filter(name=name).values_list("pk", flat=True).first()
    return Q(key_name=name) if number is None else Q(key_id=number)


def key_of(row: RequestRecord) -> str:
    return f"{row.at.isoformat()}_{row.pk}"


def read_key(text: str) -> tuple[datetime, int] | None:
    """A key as `key_of` wrote it; None for anything else."""
    moment, _, number = text.rpartition("_")
    try:
        at = datetime.fromisoformat(moment)
        return (at.astimezone(UTC), int(number)) if at.tzinfo else None
    except (ValueError, OverflowError):
        return None
