"""`manage.py serve_model MODEL --port P`: one MLX model behind an OpenAI-compatible API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from inference.errors import ModelError
from inference.options import (
    DEFAULT_MAX_ROWS,
    DEFAULT_MAX_WAITING,
    DEFAULT_STUCK_AFTER_SECONDS,
    ModelOptions,
    ServerOptions,
)
from ollaproject.env import env_secret
from ollaproject.parent import end_with_parent

if TYPE_CHECKING:
    from argparse import ArgumentParser


class Command(BaseCommand):
    help = (
        "Serve one MLX model behind an OpenAI-compatible API: /v1/chat/completions, /v1/completions, "
        "/v1/embeddings, /v1/models and /health. Example: "
        "manage.py serve_model mlx-community/Llama-3.2-3B-Instruct-4bit --port 8000"
    )
    requires_system_checks: list[str] = []  # it needs no database and no pages

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("model", help="a Hugging Face id, a folder with an MLX model, or demo")
        parser.add_argument("--port", type=int, required=True, help="port to listen on")
        parser.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
        parser.add_argument("--served-model-name", metavar="NAME", help="what clients call the model")
        parser.add_argument(
            "--embedding-model", metavar="MODEL", help="an embedding model to serve beside it"
        )
        parser.add_argument(
            "--api-key",
            default=env_secret("OLLA_MODEL_API_KEY"),
            help="key that callers must send; better in OLLA_MODEL_API_KEY, where no process list shows it",
        )
        self._add_limits(parser)

    def _add_limits(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--max-batch-size",
            type=int,
            default=DEFAULT_MAX_ROWS,
            help="answers generated at once (%(default)s)",
        )
        parser.add_argument(
            "--prefill-step-size",
            type=int,
            metavar="TOKENS",
            help="most tokens of prompts read between two steps of running answers (64 on a CPU, 512 on a "
            "GPU); fewer are read when they would take longer than a step",
        )
        parser.add_argument(
            "--kv-cache-bytes",
            type=int,
            metavar="BYTES",
            help="memory for what running answers and the prompt cache know of their texts (three quarters "
            "of what the models leave of a GPU's memory, half of what they leave free on a CPU)",
        )
        parser.add_argument(
            "--prompt-cache-bytes",
            type=int,
            metavar="BYTES",
            help="how much of --kv-cache-bytes may be kept of what was read, lest it be read again (half); "
            "0 keeps nothing",
        )
        parser.add_argument(
            "--max-queue",
            type=int,
            default=DEFAULT_MAX_WAITING,
            help="requests that may wait; more are refused with 503 (%(default)s)",
        )
        parser.add_argument(
            "--stuck-after",
            type=float,
            metavar="SECONDS",
            default=DEFAULT_STUCK_AFTER_SECONDS,
            help="/health fails when one step takes longer than this (%(default)s)",
        )

    def handle(self, *_: Any, **options: Any) -> None:
        from inference.server import listen, serve  # noqa: PLC0415 -- only this process needs uvicorn

        end_with_parent()
        for name in ("max_batch_size", "max_queue", "prefill_step_size"):
            if options[name] is not None and options[name] < 1:
                raise CommandError(f"--{name.replace('_', '-')} must be at least 1, not {options[name]}.")
        for name in ("kv_cache_bytes", "prompt_cache_bytes"):
            if (options[name] or 0) < 0:
                raise CommandError(f"--{name.replace('_', '-')} must not be below 0: {options[name]} is.")
        try:
            listener = listen(options["host"], options["port"])
        except OSError as error:
            address = f"{options['host']}:{options['port']}"
            raise CommandError(f"{address} cannot be listened on: {error.strerror}.") from None
        try:
            serve(_server_options(options), listener)
        except ModelError as error:
            raise CommandError(str(error)) from None


def _server_options(options: dict[str, Any]) -> ServerOptions:
    models = ModelOptions(
        name=options["model"],
        models_dir=settings.OLLA_MODELS_DIR,
        cache_dir=settings.OLLA_HOME / "cache",
        served_name=options["served_model_name"],
        embedding_model=options["embedding_model"],
        max_rows=options["max_batch_size"],
        chunk_tokens=options["prefill_step_size"],
        kv_bytes=options["kv_cache_bytes"],
        prompt_cache_bytes=options["prompt_cache_bytes"],
    )
    return ServerOptions(
        models=models,
        max_waiting=options["max_queue"],
        stuck_after_seconds=options["stuck_after"],
        api_key=options["api_key"],
    )
