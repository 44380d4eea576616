#!/usr/bin/env python
"""Every command of the project starts here: `./manage.py --help` lists them."""

from __future__ import annotations

import os
import sys


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "ollaproject.settings")
    try:
        from django.core.management import execute_from_command_line  # noqa: PLC0415
    except ImportError as error:
        raise SystemExit(
            "Django is not installed in this Python. Run `make setup`, then `.venv/bin/python manage.py`."
        ) from error
    from django.core.exceptions import ImproperlyConfigured  # noqa: PLC0415
    from django.db import DatabaseError  # noqa: PLC0415

    try:
        execute_from_command_line(sys.argv)
    except ImproperlyConfigured as error:
        if "--traceback" in sys.argv:
            raise
        raise SystemExit(f"The settings are wrong: {error}") from None
    except DatabaseError as error:
        from ollaproject import unprepared  # noqa: PLC0415

        told = unprepared.sentence(error)
        if told is None or "--traceback" in sys.argv:
            raise
        raise SystemExit(told) from None


if __name__ == "__main__":
    main()
