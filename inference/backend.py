"""What the engine thread owns: the loaded models and their batches. Made on that thread, by `build`.

Imports mlx: `accelerate` has to run before this module is imported (see inference/server.py).
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import mlx.core as mx

from inference.detokenize import Vocabulary
from inference.embedding import EmbeddingQueue
from inference.encoder import Encoder, load_encoder
from inference.grammars import Grammars
from inference.kept_state import keeps_every_token
from inference.loader import LoadedModel, available_memory, load_chat_model
from inference.prompt_cache import PromptCache
from inference.scheduler import Scheduler
from inference.work import EmbeddingJob, Message, Work

if TYPE_CHECKING:
    from inference.options import ModelOptions

logger = logging.getLogger(__name__)

CHUNK_TOKENS_ON_CPU = 64
CHUNK_TOKENS_ON_GPU = 512
PROMPT_CACHE_SHARE = 1 / 8
"""Of the memory that is left once the models are loaded."""
PROMPT_CACHE_BYTES_ANYWHERE = 1024**3
"""Where the system does not say how much is left."""


class Backend:
    """A chat model with its rows, and possibly an encoder with its jobs.

    The attributes and counts may be read from anywhere; `add`, `step` and `close` are for the engine thread.
    """

    def __init__(self, chat: LoadedModel, encoder: Encoder | None, scheduler: Scheduler) -> None:
        self.chat = chat
        self.encoder = encoder
        self.vocabulary = Vocabulary(chat.tokenizer.backend_tokenizer)
        self.stop_tokens = tuple(sorted(chat.tokenizer.eos_token_ids))
        self.grammars = Grammars(
            chat.tokenizer.backend_tokenizer, width=chat.vocabulary_size, ends=self.stop_tokens
        )
        self._scheduler = scheduler
        self._embeddings = None if encoder is None else EmbeddingQueue(encoder)

    @property
    def waiting(self) -> int:
        """Pieces of work that have not begun."""
        return self._scheduler.waiting + (self._embeddings.waiting if self._embeddings else 0)

    @property
    def running(self) -> int:
        """Answers that are being generated."""
        return self._scheduler.running

    @property
    def memory(self) -> dict[str, int]:
        """Bytes that MLX holds: in use, the most so far, and kept for reuse."""
        return {
            "active_bytes": mx.get_active_memory(),
            "peak_bytes": mx.get_peak_memory(),
            "cache_bytes": mx.get_cache_memory(),
        }

    @property
    def has_work(self) -> bool:
        return self._scheduler.has_work or bool(self._embeddings and self._embeddings.waiting)

    def add(self, work: Work) -> None:
        if not isinstance(work, EmbeddingJob):
            self._scheduler.add(work)
        elif self._embeddings is not None:
            self._embeddings.add(work)

    def step(self) -> list[Message]:
        """One decoding step for all rows and one embedding batch. Never raises."""
        messages: list[Message] = [*self._scheduler.step()]
        if self._embeddings is not None:
            messages += self._embeddings.step()
        return messages

    def close(self) -> None:
        self._scheduler.close()


def build(models: ModelOptions) -> Backend:
    """Load the models. ModelError with a sentence when one cannot be loaded."""
    chat = load_chat_model(models.name, models_dir=models.models_dir, served_name=models.served_name)
    encoder = (
        load_encoder(models.embedding_model, models_dir=models.models_dir) if models.embedding_model else None
    )
    on_cpu = mx.default_device() == mx.Device(mx.cpu)
    chunk_tokens = models.chunk_tokens or (CHUNK_TOKENS_ON_CPU if on_cpu else CHUNK_TOKENS_ON_GPU)
    scheduler = Scheduler(
        chat.model,
        prompt_cache=prompt_cache_for(chat.model, models.prompt_cache_bytes),
        max_rows=models.max_rows,
        chunk_tokens=chunk_tokens,
    )
    return Backend(chat, encoder, scheduler)


def prompt_cache_for(model: Any, max_bytes: int | None) -> PromptCache:
    """With `max_bytes`, or with what suits the machine when that is None."""
    if max_bytes is None:
        left = _memory_left()
        max_bytes = PROMPT_CACHE_BYTES_ANYWHERE if left is None else int(left * PROMPT_CACHE_SHARE)
        logger.info("The prompt cache holds up to %.1f GB.", max_bytes / 1e9)
    return PromptCache(max_bytes=max_bytes, cuts_anywhere=keeps_every_token(model))


def _memory_left() -> int | None:
    """Bytes that the device still has for MLX, or None where it does not say."""
    device = mx.device_info()
    for name in ("max_recommended_working_set_size", "total_memory"):  # Metal, CUDA
        if device.get(name):
            return max(int(device[name]) - mx.get_active_memory(), 0)
    return available_memory()


def leave_thread() -> None:
    """Give back what MLX holds for this thread. Without it the process aborts when it exits."""
    mx.synchronize()
    mx.clear_streams()
