"""`manage.py runserver`: Django's development server, over Daphne with our hooks."""

from __future__ import annotations

from daphne.management.commands.runserver import Command as DaphneCommand

from ollaproject.daphne_server import Server


class Command(DaphneCommand):  # type: ignore[misc]
    help = (
        "The web process alone, for development: it starts again when the code changes. "
        "Example: manage.py runserver 127.0.0.1:8000"
    )
    server_cls = Server
