"""Fills a database with a year of a large fleet and says what each page takes: time, bytes, queries.

`python -m bench.pages.large --help`. Each page is asked for in this process, through all of Django: once as
after a start, then some times more. Of these the median is told, as the clock has it and in CPU, which a busy
machine changes less. It ends with 1 when a page is over 300 ms or 150 kB.
"""

from __future__ import annotations

import argparse
import gzip
import os
import shutil
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from django.contrib.auth.models import User
    from django.test import Client

ROWS: Final = 1_000_000
ROUNDS: Final = 5
MORE_ROUNDS: Final = 3  # what is read in pieces after a start is there then
MOST_MS: Final = 300
MOST_BYTES: Final = 150_000


@dataclass(frozen=True, slots=True)
class Measured:
    """`first_ms` is CPU after a start, with nothing kept; the others are medians of later rounds."""

    name: str
    first_ms: float
    wall_ms: float
    cpu_ms: float
    size_bytes: int
    queries: int

    @property
    def is_over(self) -> bool:
        # CPU: what else the machine does is no fault of the page.
        return self.cpu_ms > MOST_MS or self.size_bytes > MOST_BYTES


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.pages.large", description=__doc__)
    parser.add_argument("--rows", type=int, default=ROWS, help="of checks, and of requests (%(default)s)")
    parser.add_argument("--home", type=Path, help="keep the database in this folder, and use it next time")
    parser.add_argument("--only", default="", help="only pages with this in their name or URL")
    return parser.parse_args()


def main() -> int:
    given = arguments()
    home = given.home or Path(tempfile.mkdtemp(prefix="olla-bench-"))
    home.mkdir(parents=True, exist_ok=True)
    os.environ |= {"OLLA_HOME": str(home), "DJANGO_SETTINGS_MODULE": "ollaproject.settings"}
    os.environ |= {"OLLA_LOG_LEVEL": "ERROR"}
    os.environ.pop("DATABASE_URL", None)
    try:
        return run(home / "olla.sqlite3", given)
    finally:
        if given.home is None:
            shutil.rmtree(home, ignore_errors=True)


def run(path: Path, given: argparse.Namespace) -> int:
    import django  # noqa: PLC0415 - it reads the environment

    django.setup()
    from django.conf import settings  # noqa: PLC0415
    from django.core.management import call_command  # noqa: PLC0415

    from bench.pages import long_history  # noqa: PLC0415

    settings.ALLOWED_HOSTS = ["testserver"]
    if not path.exists():
        since = time.perf_counter()
        long_history.fill(path, given.rows)
        print(f"filled in {time.perf_counter() - since:.0f} s, {path.stat().st_size / 2**20:,.0f} MiB")
    call_command("migrate", verbosity=0)  # a database that was kept may be older than the code
    print(long_history.sizes())
    print("| page | first, CPU | later | later, CPU | size | queries |\n|---|--:|--:|--:|--:|--:|")
    over = False
    for each in measured(given.only):
        over |= each.is_over
        mark = " **over**" if each.is_over else ""
        print(
            f"| {each.name}{mark} | {each.first_ms:.0f} ms | {each.wall_ms:.0f} ms | {each.cpu_ms:.0f} ms "
            f"| {each.size_bytes / 1000:.0f} kB | {each.queries} |",
            flush=True,
        )
    return int(over)


def measured(only: str) -> Iterator[Measured]:
    from django.contrib.auth.models import User  # noqa: PLC0415
    from django.test import Client  # noqa: PLC0415

    operator, _ = User.objects.get_or_create(username="ada", is_superuser=True, is_staff=True)
    people = {"": operator, " as a lead": User.objects.get(username="person-0")}
    people[" as a member"] = User.objects.get(username="person-1")
    for whose, urls in (("", pages() | admin_pages()), (" as a lead", own()), (" as a member", own())):
        client = Client()
        client.force_login(people[whose])
        for name, url in urls.items():
            if only in name or only in url:
                yield measure(f"{name}{whose} `{url}`", getter(client, url))
    for whose, person in people.items():
        if only in f"pushed{whose}":
            yield measure(f"pushed to a dashboard{whose}, compressed", push(person))


def measure(name: str, ask: Callable[[], int]) -> Measured:
    from django.db import connection  # noqa: PLC0415
    from django.test.utils import CaptureQueriesContext  # noqa: PLC0415

    forget_all()
    first = timed(ask)[1]
    for _ in range(MORE_ROUNDS):
        ask()
    rounds = [timed(ask) for _ in range(ROUNDS)]
    forget_moments()
    with CaptureQueriesContext(connection) as asked:
        size = ask()
    wall, cpu = (statistics.median(each[place] for each in rounds) for place in (0, 1))
    return Measured(name, first, wall, cpu, size, len(asked))


def timed(ask: Callable[[], int]) -> tuple[float, float]:
    """Milliseconds by the clock, and of CPU."""
    forget_moments()
    wall, cpu = time.perf_counter(), time.process_time()
    ask()
    return (time.perf_counter() - wall) * 1000, (time.process_time() - cpu) * 1000


def forget_moments() -> None:
    """What is kept for a moment only is not there any more."""
    from endpoints.pages import fleet_view  # noqa: PLC0415
    from proxy.records import pulse  # noqa: PLC0415

    pulse.forget()
    fleet_view.forget()


def forget_all() -> None:
    """As after a start."""
    from django.core.cache import cache  # noqa: PLC0415

    cache.clear()


def getter(client: Client, url: str) -> Callable[[], int]:
    def ask() -> int:
        answer = client.get(url, follow=True)
        if answer.status_code != 200:  # noqa: PLR2004
            raise SystemExit(f"{url}: {answer.status_code}")
        return len(answer.content)

    return ask


def push(person: User) -> Callable[[], int]:
    """What a change costs that is pushed to open dashboards, whatever their number."""
    from endpoints.pages import fleet_view  # noqa: PLC0415
    from endpoints.pages.filters import Filter  # noqa: PLC0415

    def ask() -> int:
        reader = fleet_view.reader_of(person, "en")
        html = fleet_view.current(reader, Filter(), fleet_view.state()).html
        return len(gzip.compress(html.encode(), 4))

    return ask


def pages() -> dict[str, str]:
    """Every page of the bar, with what it fetches by itself, and with its costliest filters."""
    from endpoints.models import Endpoint  # noqa: PLC0415

    first = Endpoint.objects.order_by("pk")[0].pk
    spans = ("24h", "7d", "30d", "90d")
    return {
        "fleet": "/",
        "fleet, filtered": "/?status=offline",
        "fleet, fetched again": "/endpoints/fleet/",
        "figures": "/figures/",
        "endpoint": f"/endpoints/{first}/",
        "endpoint, fetched again": f"/endpoints/{first}/now/",
        **{f"latency of {span}": f"/endpoints/{first}/latency/?span={span}" for span in spans},
        **{f"first token of {span}": f"/traffic/{first}/first-byte/?span={span}" for span in spans},
        "requests through an endpoint": f"/traffic/{first}/",
        "models": "/models/",
        "model": "/models/org/model-7-4bit/",
        "local models": "/models/local/",
        "playground": "/playground/",
        "requests": "/requests/",
        "requests of a model": "/requests/?model=org/model-3-4bit",
        "requests, all filters": "/requests/?model=org/model-3-4bit&endpoint=mini-3&outcome=failed&since=7d",
        "requests of a rare pair": "/requests/?key=key-1&outcome=left",
        "request": f"/requests/req_{77:020x}/",
        "incidents": "/incidents/",
        "incidents, last page": "/incidents/?page=last",
        **own(),
        **{
            f"usage of all by {by}, {show}": f"/usage/?of=all&by={by}&show={show}&days=90"
            for by in ("model", "key", "user", "team", "endpoint")
            for show in ("tokens", "cost")
        },
        "usage of all, for spreadsheets": "/usage/table/?of=all&by=team&days=30",
        "usage over REST": "/api/usage/?group_by=day,team",
        "endpoints over REST": "/api/endpoints/",
    }


def own() -> dict[str, str]:
    return {"requests, own": "/requests/", "usage, own": "/usage/"}


def admin_pages() -> dict[str, str]:
    """Every list of the admin, and of what grows its last page, a search and a filter."""
    from django.contrib import admin  # noqa: PLC0415

    found = {"admin": "/admin/"}
    for model in admin.site._registry:
        url = f"/admin/{model._meta.app_label}/{model._meta.model_name}/"
        found[f"admin: {model._meta.verbose_name_plural}"] = url
    found |= {
        "admin: requests, deep": "/admin/proxy/requestrecord/?p=5000",
        "admin: requests, a search": "/admin/proxy/requestrecord/?q=key-7",
        "admin: requests, a filter": "/admin/proxy/requestrecord/?outcome__exact=failed",
        "admin: usage, a search": "/admin/proxy/usagetotal/?q=model-7-",
        "admin: changes, a search": "/admin/endpoints/change/?q=mini-3",
    }
    return found


if __name__ == "__main__":
    sys.exit(main())
