"""Opens many dashboards on one web process and says what they cost it and how soon each knows of a change.

`python -m bench.pages --help`. A web process as `manage.py serve` starts it, on a free port, a SQLite
database in a folder that is thrown away, and a fleet whose checks go on being stored. Each dashboard is a
websocket from this process, of a person of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import contextmanager
from typing import TYPE_CHECKING

from bench.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

START_SECONDS = 30.0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.pages", description=__doc__)
    parser.add_argument("--dashboards", type=int, default=200)
    parser.add_argument("--endpoints", type=int, default=10)
    parser.add_argument(
        "--interval", type=float, default=5.0, help="seconds between two checks of one endpoint"
    )
    parser.add_argument("--seconds", type=int, default=60, help="how long to measure")
    return parser.parse_args()


@contextmanager
def web_process() -> Iterator[tuple[str, int]]:
    """Its URL and process id."""
    port = free_port()
    process = subprocess.Popen([sys.executable, "-m", "ollaproject.web", "--port", str(port)])
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                urllib.request.urlopen(f"{url}/login/", timeout=5).close()  # noqa: S310 - our own server
                break
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)
        yield url, process.pid
    finally:
        process.terminate()
        process.wait(15)


def main() -> int:
    given = arguments()
    with tempfile.TemporaryDirectory(prefix="olla-bench-") as home:
        os.environ |= {"OLLA_HOME": home, "OLLA_LOG_LEVEL": "WARNING"}
        os.environ |= {"DJANGO_SETTINGS_MODULE": "ollaproject.settings"}
        os.environ.pop("DATABASE_URL", None)
        import django  # noqa: PLC0415 - it reads the environment

        django.setup()
        from bench.pages import dashboards  # noqa: PLC0415

        cookies = dashboards.make(given.endpoints, given.dashboards, interval=given.interval)
        with web_process() as (url, pid):
            found = asyncio.run(dashboards.watch(url, pid, cookies=cookies, seconds=given.seconds))
        dashboards.report(found, dashboards=given.dashboards, endpoints=given.endpoints)
    return 0


if __name__ == "__main__":
    sys.exit(main())
