"""`manage.py serve`: the whole gateway on this machine, in one terminal."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import socket
import sys
from argparse import ArgumentTypeError
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import OperationalError, connection
from django.db.migrations.executor import MigrationExecutor

from endpoints.models import Endpoint
from inference.local import from_settings
from inference.local.site import this_host
from ollaproject import announce, local_fleet, programs
from ollaproject.first_run import make_first_admin
from ollaproject.processes import Supervisor
from ollaproject.wire.ports import port_number

if TYPE_CHECKING:
    from argparse import ArgumentParser
    from io import TextIOWrapper

    from inference.models import LocalModel

LISTEN_BACKLOG = 2048
MAX_WEB_PROCESSES = 64
HINTS = {
    errno.EADDRINUSE: "Another program uses the port; choose another one with --port (or OLLA_PORT).",
    errno.EACCES: "Ports below 1024 are for the system; choose another one with --port (or OLLA_PORT).",
    errno.EADDRNOTAVAIL: "That is no address of this machine; choose another one with --host (or OLLA_HOST).",
}


def _process_count(text: str) -> int:
    number = int(text)
    if not 1 <= number <= MAX_WEB_PROCESSES:
        raise ArgumentTypeError(f"{number} is not between 1 and {MAX_WEB_PROCESSES}")
    return number


class Command(BaseCommand):
    help = (
        "Serve the gateway: the web process, the health checks, and a model of this machine. "
        "Example: manage.py serve --host 0.0.0.0 --port 8080 --model mlx-community/Llama-3.2-3B-Instruct-4bit"
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--host", default=settings.OLLA_HOST, help="address to listen on [OLLA_HOST] (%(default)s)"
        )
        parser.add_argument(
            "--port",
            type=port_number,
            default=settings.OLLA_PORT,
            help="port to listen on [OLLA_PORT] (%(default)s)",
        )
        parser.add_argument(
            "--workers",
            type=_process_count,
            default=settings.OLLA_WORKERS,
            metavar="N",
            help="how many web processes take requests, each on one core [OLLA_WORKERS] (%(default)s)",
        )
        parser.add_argument(
            "--model",
            default=settings.OLLA_MODEL,
            help="model that this machine serves itself: a Hugging Face id, a folder or demo "
            "[OLLA_MODEL] (%(default)s)",
        )
        parser.add_argument(
            "--embedding-model",
            default=settings.OLLA_EMBEDDING_MODEL,
            help="embedding model beside it [OLLA_EMBEDDING_MODEL] (%(default)s)",
        )
        parser.add_argument(
            "--model-port",
            type=port_number,
            default=settings.OLLA_MODEL_PORT,
            help="loopback port of the model's own server [OLLA_MODEL_PORT] (%(default)s)",
        )
        parser.add_argument(
            "--without-model",
            action="store_true",
            default=settings.OLLA_WITHOUT_MODEL,
            help="start without the model of the settings; others that are added run [OLLA_WITHOUT_MODEL]",
        )
        parser.add_argument(
            "--gateway-only",
            action="store_true",
            default=settings.OLLA_GATEWAY_ONLY,
            help="run no models on this machine, whatever is added in the admin [OLLA_GATEWAY_ONLY]",
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        with_supervisor = not options["gateway_only"]
        with_model = with_supervisor and not options["without_model"]
        lock = self._lock_home()
        listener = self._listen(options["host"], options["port"])
        if with_model:
            self._refuse_taken_port(options["model_port"])
        self._prepare_database()
        account = make_first_admin()
        address = announce.Address(options["host"], options["port"])
        has_servers = Endpoint.objects.exists()
        announcement = announce.Announcement(
            address, account, runs_models=with_supervisor, has_servers=has_servers
        )
        if with_model:
            announcement.local_model = self._local_model(options)
        else:
            from_settings.leave_out()
        if not with_supervisor:
            local_fleet.leave(this_host())
        with lock, listener:
            wanted = programs.programs(
                listener, web_processes=options["workers"], with_models=with_supervisor
            )
            asyncio.run(self._run(Supervisor(wanted, listener=listener), announcement))
        self.stdout.write("Stopped.")

    async def _run(self, supervisor: Supervisor, announcement: announce.Announcement) -> None:
        banner = asyncio.create_task(announcement.when_ready(self.stdout))
        try:
            await supervisor.run()
        finally:
            banner.cancel()

    def _local_model(self, options: dict[str, Any]) -> LocalModel:
        try:
            return from_settings.ensure(
                chat=options["model"], embedding=options["embedding_model"], port=options["model_port"]
            )
        except ValidationError as error:
            raise CommandError(f"The model cannot be served: {' '.join(error.messages)}") from None

    def _lock_home(self) -> TextIOWrapper:
        path = settings.OLLA_HOME / "serve.lock"
        lock: TextIOWrapper = path.open("a+")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.seek(0)
            raise CommandError(
                f"Another `manage.py serve` (process {lock.read().strip() or 'unknown'}) already uses "
                f"{settings.OLLA_HOME}. Stop it, or give this one a home of its own with OLLA_HOME."
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        return lock

    def _listen(self, host: str, port: int) -> socket.socket:
        try:
            family, kind, protocol, _, address = socket.getaddrinfo(
                host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )[0]
            listener = socket.socket(family, kind, protocol)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(LISTEN_BACKLOG)
        except OSError as error:
            hint = HINTS.get(error.errno or 0, "Say where else with --host and --port.")
            raise CommandError(f"Cannot listen on {host}:{port}: {error.strerror}. {hint}") from None
        listener.set_inheritable(True)
        return listener

    def _refuse_taken_port(self, port: int) -> None:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError as error:
                raise CommandError(
                    f"The model's port {port} cannot be used: {error.strerror}. "
                    "Choose another one with --model-port (or OLLA_MODEL_PORT)."
                ) from None

    def _prepare_database(self) -> None:
        try:
            executor = MigrationExecutor(connection)
        except OperationalError as error:
            raise CommandError(f"The database (DATABASE_URL) cannot be used: {error}") from None
        if executor.migration_plan(executor.loader.graph.leaf_nodes()):
            self.stdout.write("Preparing the database …")
            call_command("migrate", interactive=False, verbosity=0)
        connection.close()
        sys.stdout.flush()
