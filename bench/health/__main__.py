"""Checks a large fleet for a while and says how well that went: `python -m bench.health --help`.

The worker's own code does it, in this process: a tick every second, the prober's two threads, a SQLite
database in a folder that is thrown away. The endpoints are one small server on loopback, in a process of its
own.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import tempfile
import time

from bench.health import upstream

START_SECONDS = 20.0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.health", description=__doc__)
    parser.add_argument("--endpoints", type=int, default=200)
    parser.add_argument(
        "--interval", type=float, default=5.0, help="seconds between two checks of one endpoint"
    )
    parser.add_argument("--seconds", type=int, default=60, help="how long to check")
    return parser.parse_args()


def main() -> int:
    given = arguments()
    told, telling = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(target=upstream.serve, args=(telling,), daemon=True)
    server.start()
    try:
        if not told.poll(START_SECONDS):
            raise SystemExit("The endpoints' server did not start.")
        port = told.recv()
        with tempfile.TemporaryDirectory(prefix="olla-bench-") as home:
            os.environ |= {
                "OLLA_HOME": home,
                "OLLA_LOG_LEVEL": "WARNING",
                "DJANGO_SETTINGS_MODULE": "ollaproject.settings",
            }
            os.environ.pop("DATABASE_URL", None)
            import django  # noqa: PLC0415 - it reads the environment

            django.setup()
            from bench.health import fleet  # noqa: PLC0415

            fleet.make(given.endpoints, interval=given.interval, url=f"http://127.0.0.1:{port}")
            fleet.report(fleet.watch_over(given.seconds), interval=given.interval, count=given.endpoints)
    finally:
        server.terminate()
        server.join()
    return 0


if __name__ == "__main__":
    started = time.perf_counter()
    code = main()
    print(f"Took {time.perf_counter() - started:.0f} s.")
    sys.exit(code)
