"""How a model server is set up, as `manage.py serve_model` reads it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

DEFAULT_MAX_ROWS = 16
DEFAULT_MAX_WAITING = 256
DEFAULT_MAX_BODY_BYTES = 32 * 1024**2
DEFAULT_DISK_CACHE_BYTES = 10 * 1024**3
DEFAULT_STUCK_AFTER_SECONDS = 120.0
# What neither a request nor an operator may hand to `apply_chat_template`: the server decides it, or it would
# cut the prompt, pad it, or make something else of it than token ids.
RESERVED_ARGUMENTS = frozenset(
    {
        "add_generation_prompt",
        "chat_template",
        "continue_final_message",
        "conversation",
        "max_length",
        "messages",
        "padding",
        "return_assistant_tokens_mask",
        "return_dict",
        "return_tensors",
        "self",
        "tokenize",
        "tokenizer_kwargs",
        "tools",
        "truncation",
    }
)


@dataclass(frozen=True, slots=True)
class ModelOptions:
    """Which models to load. `name` and `embedding_model`: a Hugging Face id, a local folder, or `demo`.

    With `embeddings_only` the one called `name` is an embedding model, and there is no other.
    `max_rows` is how many answers are generated at once, `chunk_tokens` how much of a prompt is read
    between two of their steps. `kv_bytes` is what running answers and the prompt cache may hold together,
    and `prompt_cache_bytes` how much of that is kept for the requests to come at the most (0: nothing). None:
    what suits the machine.

    `disk_cache_dir` keeps that of it which was read for other processes to come, within `disk_cache_bytes`.
    `draft_model` guesses what the model will say; without one the text itself does, and with `speculates`
    false nobody.

    `context_length` is the longest prompt with its answer in tokens, `adapter` the folder of a LoRA adapter,
    and `template_options` what the chat template is given when a request says nothing else;
    `sampling_defaults` likewise, None for what the model's own files advise. `runs_own_code` lets Python
    code in the model's folder run. `wires_memory` has macOS keep the weights in memory. `together` is how the
    machines are connected that run it together: ring or jaccl.
    """

    name: str
    models_dir: Path
    cache_dir: Path
    served_name: str | None = None
    embedding_model: str | None = None
    served_embedding_name: str | None = None
    embeddings_only: bool = False
    max_rows: int = DEFAULT_MAX_ROWS
    chunk_tokens: int | None = None
    kv_bytes: int | None = None
    prompt_cache_bytes: int | None = None
    disk_cache_dir: Path | None = None
    disk_cache_bytes: int = DEFAULT_DISK_CACHE_BYTES
    draft_model: str | None = None
    speculates: bool = True
    context_length: int | None = None
    adapter: Path | None = None
    template_options: Mapping[str, Any] = field(default_factory=dict)
    sampling_defaults: Mapping[str, Any] | None = None
    runs_own_code: bool = False
    wires_memory: bool = False
    together: str = ""


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """`max_waiting` bounds the answers that wait for a free row. `api_key` empty: anyone may call.

    Pages of `allowed_origins` may call from a browser.
    """

    models: ModelOptions
    max_waiting: int = DEFAULT_MAX_WAITING
    max_body_bytes: int = DEFAULT_MAX_BODY_BYTES
    stuck_after_seconds: float = DEFAULT_STUCK_AFTER_SECONDS
    api_key: str = field(default="", repr=False)
    allowed_origins: tuple[str, ...] = ()
