"""Measures an upgrade with a long history: `python scripts/upgrade_with_history.py [ROWS]` (a million).

A SQLite database of the schema before roles and usage is filled with requests, migrated, and every page of
requests and usage is asked for. It ends with 1 when the slowest takes longer than 300 ms.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import sqlite3
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.test import Client

ROOT = Path(__file__).resolve().parent.parent
BEFORE = "0006_shared_counts"  # of proxy: the schema that is upgraded from
ROWS = 1_000_000
KEYS, MODELS, ENDPOINTS, DAYS = 200, 30, 12, 30
OK, REFUSED = (200, "", "ok"), (429, "rate_limit_exceeded", "refused")
REFUSED_SHARE = 0.04
MOST_MS = 300
ROUNDS = 3


def rows(count: int) -> Iterator[tuple[object, ...]]:
    """The oldest first. A key uses three models, each of which is on two endpoints."""
    dice = random.Random(1)  # noqa: S311 - the same history each time
    now = datetime.now(UTC).replace(tzinfo=None)
    for number in range(count):
        key = 1 + dice.randrange(KEYS)
        model = (key * 3 + dice.randrange(3)) % MODELS
        endpoint = f"mini-{(model * 2 + dice.randrange(2)) % ENDPOINTS}"
        at = now - timedelta(seconds=(count - number) / count * DAYS * 86400)
        status, code, outcome = OK if dice.random() > REFUSED_SHARE else REFUSED
        attempts = json.dumps([[endpoint, None, 0.1, 120.0]])
        yield (
            *(at.isoformat(" "), f"req_{number:020x}", "", "POST", "/v1/chat/completions"),
            *(f"model-{model}", endpoint, status, code),
            *(0, 1, attempts, 120.0, 1500.0, 500, 4000, 100, 50, 10),
            *(key, f"key-{key}", key % 40, f"user-{key % 40}", key % 8, f"team-{key % 8}"),
            *("", "strict routed model_found", 150, outcome),
        )


COLUMNS = (
    *("at", "request_id", "caller", "method", "route", "model", "endpoint", "status", "error_code"),
    *("client_left", "stream", "attempts", "ttft_ms", "duration_ms", "bytes_in", "bytes_out"),
    *("prompt_tokens", "completion_tokens", "cached_tokens", "key_id", "key_name", "user_id", "user_name"),
    *("team_id", "team_name", "served_model", "routing", "charged_tokens", "outcome"),
)
TOTALS = """
INSERT INTO proxy_usagetotal (day, key_id, key_name, user_id, user_name, team_id, team_name, model, endpoint,
    requests, failures, abandoned, prompt_tokens, completion_tokens, cached_tokens, charged_tokens, bytes_in,
    bytes_out, duration_ms, ttft_ms, begun)
SELECT date(at), key_id, key_name, user_id, user_name, team_id, team_name, model, endpoint, count(*),
    sum(status >= 400), 0, sum(prompt_tokens), sum(completion_tokens), sum(cached_tokens),
    sum(charged_tokens), sum(bytes_in), sum(bytes_out), sum(duration_ms), sum(ttft_ms), count(*)
FROM proxy_requestrecord GROUP BY 1, 2, 4, 6, 8, 9
"""


def fill(path: Path, count: int) -> None:
    with sqlite3.connect(path) as database:
        marks = ", ".join("?" * len(COLUMNS))
        database.executemany(
            f"INSERT INTO proxy_requestrecord ({', '.join(COLUMNS)}) VALUES ({marks})",  # noqa: S608
            rows(count),
        )
        database.execute(TOTALS)


def measure(client: Client, urls: dict[str, str]) -> dict[str, float]:
    """Milliseconds, the slowest of some rounds after the first."""
    found = {}
    for name, url in urls.items():
        times = []
        for _ in range(ROUNDS + 1):
            since = time.perf_counter()
            answer = client.get(url)
            times.append((time.perf_counter() - since) * 1000)
            if answer.status_code != 200:  # noqa: PLR2004
                raise SystemExit(f"{url}: {answer.status_code}")
        found[name] = max(times[1:])
    return found


def main() -> int:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else ROWS
    home = Path(tempfile.mkdtemp(prefix="olla-upgrade-"))
    os.environ |= {"OLLA_HOME": str(home), "DJANGO_SETTINGS_MODULE": "ollaproject.settings"}
    os.environ.pop("DATABASE_URL", None)
    sys.path.insert(0, str(ROOT))
    try:
        return run(home, count)
    finally:
        shutil.rmtree(home, ignore_errors=True)


def run(home: Path, count: int) -> int:
    import django  # noqa: PLC0415 - after the environment is set
    from django.core.management import call_command  # noqa: PLC0415

    django.setup()
    from django.conf import settings  # noqa: PLC0415
    from django.contrib.auth.models import Group, User  # noqa: PLC0415
    from django.test import Client  # noqa: PLC0415

    settings.ALLOWED_HOSTS = ["testserver"]
    for app, name in (
        ("auth", ""),
        ("sessions", ""),
        ("endpoints", ""),
        ("inference", ""),
        ("proxy", BEFORE),
    ):
        call_command("migrate", app, *([name] if name else []), verbosity=0)
    fill(home / "olla.sqlite3", count)
    since = time.perf_counter()
    call_command("migrate", verbosity=0)
    print(f"{count:,} requests, {(home / 'olla.sqlite3').stat().st_size / 2**20:,.0f} MiB")
    print(f"migrated in {time.perf_counter() - since:.1f} s")
    person = User.objects.create_superuser("ada")
    for number in range(1, 8):
        Group.objects.create(pk=100 + number, name=f"other-{number}")
    client = Client()
    client.force_login(person)
    urls = {
        "requests": "/requests/",
        "requests of a model": "/requests/?model=model-3",
        "requests of an endpoint": "/requests/?endpoint=mini-3",
        "requests that were refused": "/requests/?outcome=refused",
        "requests of a key that is gone": "/requests/?key=key-7",
        "one request": f"/requests/req_{count // 2:020x}/",
        "usage, mine": "/usage/",
        "usage, everyone": "/usage/?of=all",
        "usage, everyone, by model": "/usage/?of=all&by=model&show=requests",
        "usage over REST, by day and key": "/api/usage/?group_by=day,key",
        "models": "/models/",
        "dashboard": "/",
    }
    found = measure(client, urls)
    for name, took in found.items():
        print(f"{took:7.0f} ms  {name}")
    return int(max(found.values()) > MOST_MS)


if __name__ == "__main__":
    sys.exit(main())
