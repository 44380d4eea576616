"""What the engine thread owns: the loaded models and their batches. Made on that thread, by `build`.

Imports mlx: `accelerate` has to run before this module is imported (see inference/server.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import mlx.core as mx

from inference.detokenize import Vocabulary
from inference.embedding import EmbeddingQueue
from inference.encoder import Encoder, load_encoder
from inference.grammars import Grammars
from inference.loader import LoadedModel, load_chat_model
from inference.scheduler import Scheduler
from inference.work import EmbeddingJob, Message, Work

if TYPE_CHECKING:
    from inference.options import ModelOptions

CHUNK_TOKENS_ON_CPU = 64
CHUNK_TOKENS_ON_GPU = 512


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
    return Backend(chat, encoder, Scheduler(chat.model, max_rows=models.max_rows, chunk_tokens=chunk_tokens))


def leave_thread() -> None:
    """Give back what MLX holds for this thread. Without it the process aborts when it exits."""
    mx.synchronize()
    mx.clear_streams()
