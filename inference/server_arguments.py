"""The options of `manage.py serve_model`, in one place for the command and for those who start it."""

from __future__ import annotations

import json
import re
from argparse import ArgumentParser, ArgumentTypeError
from pathlib import Path
from typing import Any, NoReturn

from django.conf import settings

from inference.http.sampling_fields import check_defaults
from inference.options import (
    DEFAULT_DISK_CACHE_BYTES,
    DEFAULT_MAX_ROWS,
    DEFAULT_MAX_WAITING,
    DEFAULT_STUCK_AFTER_SECONDS,
    RESERVED_ARGUMENTS,
    ModelOptions,
    ServerOptions,
)
from ollaproject.env import env_secret
from ollaproject.wire.cors import is_origin
from ollaproject.wire.openai_errors import ApiError
from ollaproject.wire.ports import port_number
from ollaproject.wire.sizes import byte_count

DEFAULT_SOCKET_MODE = 0o600
FILE_MODE = re.compile(r"0?[0-7]{3}", re.ASCII)


class Unreadable(Exception):
    """Options that `serve_model` does not take. The message is argparse's."""


class _Parser(ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise Unreadable(message)


def check(words: list[str]) -> None:
    """Raise Unreadable unless `serve_model` takes these words beside a model and a port."""
    parser = _Parser(add_help=False)
    add_to(parser)
    parser.parse_args(["model", "--port", "1", *words])


def add_to(parser: ArgumentParser) -> None:
    parser.add_argument("model", help="a Hugging Face id, a folder with an MLX model, or demo")
    _add_place(parser)
    parser.add_argument("--served-model-name", metavar="NAME", help="what clients call the model")
    parser.add_argument("--embedding-model", metavar="MODEL", help="an embedding model to serve beside it")
    parser.add_argument(
        "--served-embedding-name", metavar="NAME", help="what clients call that embedding model"
    )
    parser.add_argument(
        "--embeddings-only", action="store_true", help="MODEL is an embedding model, and the only one"
    )
    parser.add_argument(
        "--api-key",
        default=env_secret("OLLA_MODEL_API_KEY"),
        help="key that callers must send; better in OLLA_MODEL_API_KEY, where no process list shows it",
    )
    parser.add_argument(
        "--allowed-origins",
        type=_origins,
        metavar="ORIGINS",
        default=(),
        help="whose pages may call it from a browser: origins, separated by commas, or * (none)",
    )
    _add_character(parser)
    _add_limits(parser)


def _add_place(parser: ArgumentParser) -> None:
    place = parser.add_mutually_exclusive_group(required=True)
    place.add_argument("--port", type=port_number, help="port to listen on")
    place.add_argument("--uds", type=Path, metavar="PATH", help="or the Unix socket to listen at")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    parser.add_argument(
        "--uds-mode",
        type=_file_mode,
        metavar="OCTAL",
        default=DEFAULT_SOCKET_MODE,
        help="who may open that socket, such as 660 for its group as well (600: its owner alone)",
    )


def _add_character(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--adapter", type=Path, metavar="FOLDER", help="a LoRA adapter that mlx-lm has trained for the model"
    )
    parser.add_argument(
        "--chat-template-options",
        type=_template_options,
        metavar="JSON",
        default={},
        help="what the chat template is given when a request says nothing else, such as "
        """'{"enable_thinking": false}'""",
    )
    parser.add_argument(
        "--sampling-defaults",
        type=_sampling_defaults,
        metavar="JSON",
        help="what is sampled with when a request says nothing else, such as "
        """'{"temperature": 0.7}' (what the model's generation_config.json advises)""",
    )
    parser.add_argument(
        "--together",
        choices=["ring", "jaccl"],
        default="",
        help="run one model on all machines that mlx.launch has started this command on, connected like that",
    )
    parser.add_argument(
        "--runs-own-code",
        action="store_true",
        help="run Python code that comes with the model; only for code that you have read",
    )


def _origins(text: str) -> tuple[str, ...]:
    origins = tuple(filter(None, map(str.strip, text.split(","))))
    for origin in origins:
        if not is_origin(origin):
            raise ArgumentTypeError(f"{origin} is no origin, such as http://localhost:3000")
    return origins


def _file_mode(text: str) -> int:
    if not FILE_MODE.fullmatch(text):
        raise ArgumentTypeError(f"{text} are no permissions, such as 660")
    return int(text, 8)


def _sampling_defaults(text: str) -> dict[str, Any]:
    given = _json_object(text)
    try:
        check_defaults(given)
    except ApiError as error:
        raise ArgumentTypeError(error.message) from None
    return given


def _template_options(text: str) -> dict[str, Any]:
    given = _json_object(text)
    if taken := sorted(RESERVED_ARGUMENTS & given.keys()):
        raise ArgumentTypeError(f"{taken[0]} is decided for each request")
    return given


def _json_object(text: str) -> dict[str, Any]:
    try:
        given = json.loads(text)
    except ValueError:
        given = None
    if not isinstance(given, dict):
        raise ArgumentTypeError(f"it must be a JSON object, not {text}")
    return given


def _add_limits(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--max-batch-size",
        type=int,
        default=DEFAULT_MAX_ROWS,
        help="answers generated at once (%(default)s)",
    )
    parser.add_argument(
        "--context-length",
        type=int,
        metavar="TOKENS",
        help="longest prompt with its answer; what is longer is refused (what the model was made for)",
    )
    parser.add_argument(
        "--prefill-step-size",
        type=int,
        metavar="TOKENS",
        help="most tokens of a prompt that are read in one pass of the model while others are answered (128 "
        "on a CPU, 2048 on a GPU); fewer when two of its layers would take longer than a step has time for",
    )
    parser.add_argument(
        "--kv-cache-bytes",
        type=byte_count,
        metavar="BYTES",
        help="such as 8GiB: memory for what running answers and the prompt cache know of their texts (three "
        "quarters of what the models leave of a GPU's memory, on a Mac of what is free if that is less; half "
        "of what they leave free on a CPU)",
    )
    parser.add_argument(
        "--prompt-cache-bytes",
        type=byte_count,
        metavar="BYTES",
        help="how much of --kv-cache-bytes may be kept of what was read, lest it be read again (half); "
        "0 keeps nothing",
    )
    _add_speed(parser)
    parser.add_argument(
        "--max-queue",
        type=int,
        default=DEFAULT_MAX_WAITING,
        help="answers that may wait; a request with which more would is refused with 503 (%(default)s)",
    )
    parser.add_argument(
        "--stuck-after",
        type=float,
        metavar="SECONDS",
        default=DEFAULT_STUCK_AFTER_SECONDS,
        help="/health fails when one step takes longer than this (%(default)s)",
    )


def _add_speed(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--wire-memory",
        action="store_true",
        help="have macOS keep the weights in memory while others want it, too; not on a Mac that is used for "
        "other work: it has been seen to panic",
    )
    parser.add_argument(
        "--disk-cache-dir",
        type=Path,
        metavar="FOLDER",
        help="keep what was read here, so that it need not be read again after a restart; prompts can be "
        "read out of these files",
    )
    parser.add_argument(
        "--disk-cache-bytes",
        type=byte_count,
        metavar="BYTES",
        default=DEFAULT_DISK_CACHE_BYTES,
        help="most that the files take (%(default)s)",
    )
    parser.add_argument(
        "--draft-model",
        metavar="MODEL",
        help="a smaller model with the same vocabulary, which guesses what the model will say to a "
        "caller who is alone; the answers stay the same",
    )
    parser.add_argument(
        "--no-speculation",
        action="store_true",
        help="do not guess either from what the text has said before",
    )


def server_options(options: dict[str, Any]) -> ServerOptions:
    models = ModelOptions(
        name=options["model"],
        models_dir=settings.OLLA_MODELS_DIR,
        cache_dir=settings.OLLA_HOME / "cache",
        served_name=options["served_model_name"],
        embedding_model=options["embedding_model"],
        served_embedding_name=options["served_embedding_name"],
        embeddings_only=options["embeddings_only"],
        max_rows=options["max_batch_size"],
        chunk_tokens=options["prefill_step_size"],
        kv_bytes=options["kv_cache_bytes"],
        prompt_cache_bytes=options["prompt_cache_bytes"],
        disk_cache_dir=options["disk_cache_dir"],
        disk_cache_bytes=options["disk_cache_bytes"],
        draft_model=options["draft_model"],
        speculates=not options["no_speculation"],
        context_length=options["context_length"],
        adapter=options["adapter"],
        template_options=options["chat_template_options"],
        sampling_defaults=options["sampling_defaults"],
        runs_own_code=options["runs_own_code"],
        wires_memory=options["wire_memory"],
        together=options["together"],
    )
    return ServerOptions(
        models=models,
        max_waiting=options["max_queue"],
        stuck_after_seconds=options["stuck_after"],
        api_key=options["api_key"],
        allowed_origins=options["allowed_origins"],
    )
