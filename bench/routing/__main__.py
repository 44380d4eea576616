"""Prints both tables: `python -m bench.routing`. Takes half a minute, one core, no network."""

from __future__ import annotations

import os
import sys

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "ollaproject.settings")

import django

django.setup()

from bench.routing import cost, worth  # noqa: E402 - Django comes first


def main() -> int:
    cost.report()
    print()
    worth.report()
    return 0


sys.exit(main())
