"""`manage.py serve_models`: keeps the local models of this machine as the database wants them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from inference.local.site import ANY_ADDRESS, LOOPBACK, Site, this_host
from inference.local.supervisor import AlreadyRuns, Supervisor
from ollaproject.local_fleet import LocalFleet
from ollaproject.parent import end_with_parent

if TYPE_CHECKING:
    from argparse import ArgumentParser


class Command(BaseCommand):
    help = (
        "Run the local models of this machine: download, start, watch, restart and unload them as the admin "
        "says. `manage.py serve` does this by itself; alone it is for further machines. "
        "Example: manage.py serve_models --host-name mini-2 --bind 0.0.0.0"
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--host-name", default=this_host(), help="what this machine is called in the admin (%(default)s)"
        )
        parser.add_argument(
            "--bind", default=LOOPBACK, help="address that the models' servers listen on (%(default)s)"
        )
        parser.add_argument(
            "--address", help="how the gateway reaches this machine (with --bind 0.0.0.0: the host name)"
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        end_with_parent()
        name, bind = options["host_name"], options["bind"]
        address = options["address"] or (name if bind in ANY_ADDRESS else bind)
        try:
            Supervisor(Site(name, bind, address), LocalFleet()).run()
        except AlreadyRuns:
            raise CommandError(
                f"Another supervisor already runs the models of {settings.OLLA_HOME}. Stop it, or give this "
                "one a home of its own with OLLA_HOME."
            ) from None
