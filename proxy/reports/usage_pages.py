"""The page of usage: what a person, a team or everyone has used, what is left, and how to use it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.shortcuts import render
from django.utils.cache import patch_cache_control
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_safe

from ollaproject.wire import clock, roles
from proxy.access import keys, own_keys
from proxy.limits import limits_left
from proxy.models import Came, RequestRecord
from proxy.pages.playground import choices, served
from proxy.pages.snippets import snippets
from proxy.reports import usage_csv, usage_report, usage_scope
from proxy.reports.usage_chart import METRICS, amount, chart, in_words, largest, name_of, shown
from proxy.reports.usage_report import FILTERS, Used
from proxy.routing.tables import current_table

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from django.contrib.auth.models import User
    from django.http import HttpRequest, HttpResponse

    from proxy.models import ApiKey
    from proxy.reports.prices import PriceList
    from proxy.reports.usage_scope import View

RECENT: Final = 10
ROWS_SHOWN: Final = 50
LIMITED_SHOWN: Final = 10
LIFETIMES: Final[dict[str, Any]] = {
    "": _("never"),
    "30": _("in 30 days"),
    "90": _("in 90 days"),
    "365": _("in a year"),
}


@require_safe
@login_required
def page(request: HttpRequest) -> HttpResponse:
    user: Any = request.user
    available = usage_scope.scopes(user)
    view = usage_scope.read(request.GET, available)
    context = used(user, view) | {"scopes": [(each, view.url(of=each.word, by=None)) for each in available]}
    if view.scope.is_mine:
        context |= of_a_person(request, user)
    elif view.scope.team is not None:
        context |= of_a_team(user, view)
    response = render(request, "proxy/usage.html", context)
    patch_cache_control(response, private=True, no_store=True)
    return response


@require_safe
@login_required
def table(request: HttpRequest) -> HttpResponse:
    """What the page's chart shows, for spreadsheets."""
    user: Any = request.user
    view = usage_scope.read(request.GET, usage_scope.scopes(user))
    lines = usage_report.report(view.asked, view.scope.totals(user))
    return usage_csv.response(view.asked, lines)


def used(user: User, view: View) -> dict[str, Any]:
    """The figures, the chart and its table.

    What a span of days sums up to comes first, and by day only what the chart shows: keys may be many.
    """
    among = view.scope.totals(user)
    prices = usage_report.current_prices(view.asked, among)
    if view.metric == "cost" and not prices:
        view = replace(view, metric=METRICS[0])
    lines = usage_report.report(replace(view.asked, groups=(view.by,)), among, prices)
    names = largest(lines, group=view.by, metric=view.metric)
    apart = view.by, {str(line.group[view.by]) for line in lines if name_of(line, view.by) in names}
    by_day = usage_report.report(view.asked, among, prices, apart=apart)
    drawn = chart(by_day, view.asked, names, group=view.by, metric=view.metric)
    rows = sorted(merged(lines, view.by), key=lambda row: -amount(row, view.metric))
    total = usage_report.whole(lines)
    return {
        "view": view,
        "total": total,
        "priced": bool(prices),
        "chart": drawn,
        "chart_top": in_words(drawn.top, view.metric),
        "rows": [(row, link(view, row)) for row in rows[:ROWS_SHOWN]],
        "more_rows": max(0, len(rows) - ROWS_SHOWN),
        "by_choices": [(word, view.url(by=word)) for word in view.scope.groups],
        "metrics": [(word, view.url(show=word)) for word in METRICS if prices or word != "cost"],
        "spans": [(days, view.url(days=days)) for days in usage_scope.SPANS],
        "filters": [(name, value, view.url(**{name: None})) for name, value in view.asked.filters.items()],
        "limited": limited(view, user, prices),
        "reached": view.scope.budgets_reached(user, view.asked.since)[:LIMITED_SHOWN],
        "csv_query": view.url(),
        "history_days": settings.OLLA_REQUEST_HISTORY_DAYS,
    }


def merged(lines: Iterable[Used], group: str) -> list[Used]:
    """The lines of a report by day and group, all days of a group together."""
    by_name: dict[Any, list[Used]] = {}
    for line in lines:
        by_name.setdefault(line.group[group], []).append(line)
    found = []
    for name, some in by_name.items():
        one = usage_report.whole(some)
        one.group = {"name": shown(name, group), "filter": str(name)}
        found.append(one)
    return found


def link(view: View, row: Used) -> str:
    """Where a row of the table leads: the same page, narrowed down to it."""
    if not row.group["filter"] or view.by not in FILTERS or view.by in view.asked.filters:
        return ""
    return view.url(**{view.by: row.group["filter"], "by": "model" if view.by != "model" else "key"})


def limited(view: View, user: User, prices: PriceList) -> list[Used]:
    """Who was refused by limits, the most first."""
    asked = replace(view.asked, groups=("key", "user", "team"))
    among = view.scope.totals(user)
    # Most keys never hit a limit: only those that did are summed up.
    ids = among.filter(limited__gt=0, day__gte=asked.since, day__lte=asked.until).values("key_id")
    lines = usage_report.report(asked, among.filter(key_id__in=ids), prices)
    hit = [line for line in lines if line.counts["limited"]]
    return sorted(hit, key=lambda line: -line.counts["limited"])[:LIMITED_SHOWN]


def of_a_person(request: HttpRequest, user: User) -> dict[str, Any]:
    """Their keys, what is left of their limits, their last requests, and how to use it all."""
    own = sorted(own_keys.of(user), key=lambda key: (key.revoked_at is not None, key.name))
    teams = list(roles.teams_of(user).select_related("limits").order_by("name"))
    working = [key for key in own if keys.state_of(key, clock.now()) == "active"]
    table = choices(current_table())
    model = next((each["name"] for each in table if served(each)), table[0]["name"] if table else "MODEL")
    return {
        "own_keys": with_states(own),
        "may_make": roles.has_own_keys(user),
        "room": len(working) < settings.OLLA_KEYS_PER_PERSON,
        "most_keys": settings.OLLA_KEYS_PER_PERSON,
        "teams": teams,
        "graces": keys.GRACES,
        "lifetimes": LIFETIMES,
        "limits": limits_left.of(working, teams, user),
        "page": {"rows": list(RequestRecord.objects.filter(user_id=user.pk).order_by("-at", "-id")[:RECENT])},
        "snippets": snippets(f"{request.scheme}://{request.get_host()}", model),
        "origin": f"{request.scheme}://{request.get_host()}",
        "limited_outcome": Came.REFUSED,
    }


def of_a_team(user: User, view: View) -> dict[str, Any]:
    """Its keys, which its lead may make, rotate and revoke, and what is left of its limits."""
    team = view.scope.team
    if team is None:
        return {}
    rows = sorted(
        team.api_keys.select_related("owner"), key=lambda key: (key.revoked_at is not None, key.name)
    )
    may_make = roles.manages_team_keys(user) and settings.OLLA_KEYS_PER_PERSON > 0
    manageable = set(own_keys.manageable(user).values_list("pk", flat=True))
    return {
        "team_keys": with_states(rows),
        "manageable": manageable,
        "members": list(roles.members_of(team)) if may_make else [],
        "graces": keys.GRACES,
        "lifetimes": LIFETIMES,
        "limits": limits_left.of([], [team]),
    }


def with_states(rows: Sequence[ApiKey]) -> list[tuple[ApiKey, str]]:
    now = clock.now()
    return [(key, keys.state_of(key, now)) for key in rows]
