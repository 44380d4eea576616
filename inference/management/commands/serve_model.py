"""`manage.py serve_model MODEL --port P`: one MLX model behind an OpenAI-compatible API."""

from __future__ import annotations

import os
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand, CommandError

from inference import server_arguments
from inference.cache import cache_folder
from inference.errors import ModelError
from inference.local import run
from inference.socket_file import listening_at
from ollaproject.parent import end_with_parent

if TYPE_CHECKING:
    import socket
    from argparse import ArgumentParser
    from collections.abc import Iterator


class Command(BaseCommand):
    help = (
        "Serve one MLX model behind an OpenAI-compatible API: /v1/chat/completions, /v1/completions, "
        "/v1/embeddings, /v1/models and /health. Example: "
        "manage.py serve_model mlx-community/Llama-3.2-3B-Instruct-4bit --port 8000"
    )
    requires_system_checks: list[str] = []  # it needs no database and no pages

    def add_arguments(self, parser: ArgumentParser) -> None:
        server_arguments.add_to(parser)

    def handle(self, *_: Any, **options: Any) -> None:
        from inference.server import serve  # noqa: PLC0415 -- only this process needs uvicorn

        run.announce()
        if not run.end_with_supervisor():
            end_with_parent()
        _check(options)
        if options["together"] and os.environ.get("MLX_RANK", "0") != "0":
            self._serve_along(options)
            return
        with _listening(options) as listener:
            try:
                if (
                    options["disk_cache_dir"] is not None
                ):  # before the model is loaded, which may take minutes
                    cache_folder.prepare(options["disk_cache_dir"])
                serve(server_arguments.server_options(options), listener)
            except ModelError as error:
                raise CommandError(str(error)) from None

    def _serve_along(self, options: dict[str, Any]) -> None:
        from inference.server import serve_along  # noqa: PLC0415 -- as above

        try:
            serve_along(server_arguments.server_options(options).models)
        except ModelError as error:
            raise CommandError(str(error)) from None


@contextmanager
def _listening(options: dict[str, Any]) -> Iterator[socket.socket]:
    """At a port or at a Unix socket. Raises CommandError."""
    from inference.server import LISTEN_BACKLOG, listen  # noqa: PLC0415 -- as above

    path = options["uds"]
    with ExitStack() as stack:
        try:
            if path is None:
                listener = stack.enter_context(listen(options["host"], options["port"]))
            else:
                opening = listening_at(path, mode=options["uds_mode"], backlog=LISTEN_BACKLOG)
                listener = stack.enter_context(opening)
        except OSError as error:
            place = path or f"{options['host']}:{options['port']}"
            raise CommandError(f"{place} cannot be listened on: {error.strerror or error}.") from None
        yield listener


def _check(options: dict[str, Any]) -> None:
    for name in ("max_batch_size", "max_queue", "prefill_step_size", "context_length"):
        if options[name] is not None and options[name] < 1:
            raise CommandError(f"--{name.replace('_', '-')} must be at least 1, not {options[name]}.")
    if not options["stuck_after"] > 0:  # what is no number is not more than 0 either
        raise CommandError(f"--stuck-after must be more than 0 seconds, not {options['stuck_after']}.")
    if options["embeddings_only"] and options["embedding_model"]:
        raise CommandError("--embeddings-only takes no --embedding-model: MODEL itself is the one.")
    for name in ("kv_cache_bytes", "prompt_cache_bytes", "disk_cache_bytes"):
        if (options[name] or 0) < 0:
            raise CommandError(f"--{name.replace('_', '-')} must not be below 0: {options[name]} is.")
