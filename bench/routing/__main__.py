"""What choosing costs and what it is worth: `python -m bench.routing --help`."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from pathlib import Path

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "ollaproject.settings")

import django

django.setup()

from django.conf import settings  # noqa: E402 - Django comes first

from bench.routing import cost, engines, worth  # noqa: E402


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.routing", description=__doc__)
    parser.add_argument(
        "--engines",
        action="store_true",
        help="measure on three real model servers; without it: costs, and a model",
    )
    parser.add_argument(
        "--fakes",
        action="store_true",
        help="the same on servers that only take a model's time, which costs no CPU",
    )
    parser.add_argument(
        "--rounds",
        type=int,
        default=1,
        help="of the real model servers, about three minutes each (%(default)s)",
    )
    parser.add_argument(
        "--model",
        type=Path,
        default=settings.OLLA_MODELS_DIR / "SmolLM2-135M-Instruct",
        help="folder of the engines' model (%(default)s)",
    )
    parser.add_argument(
        "--loads", nargs="+", choices=engines.LOADS, default=list(engines.LOADS), help="of those (all)"
    )
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that what was started is stopped
    if options.engines or options.fakes:
        engines.report(None if options.fakes else options.model, options.rounds, options.loads)
        return 0
    cost.report()
    print()
    worth.report()
    return 0


sys.exit(main())
