"""What the engine thread owns when it serves an embedding model alone: its jobs, and no rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from inference.backend import Backend
from inference.embeddings.embedding import EmbeddingQueue
from inference.embeddings.encoder import load_encoder
from inference.errors import NoChatModel
from inference.hardware.memory import held_by_mlx
from inference.work import EmbeddingJob, Message, Work

if TYPE_CHECKING:
    from collections.abc import Sequence

    from inference.embeddings.encoder import Encoder
    from inference.loading.loader import LoadedModel
    from inference.options import ModelOptions


class EncoderBackend(Backend):
    """A backend whose `chat` is an error with a sentence: requests that generate are refused with it."""

    def __init__(self, encoder: Encoder) -> None:  # none of the chat model's parts are made
        self.encoder = encoder
        self._jobs = EmbeddingQueue(encoder)

    @property
    def chat(self) -> LoadedModel:
        raise NoChatModel(f"This server makes embeddings only: it serves {self.name!r}.")

    @property
    def served(self) -> list[tuple[str, int, int]]:
        return self._encoder_served()

    @property
    def waiting(self) -> int:
        return self._jobs.waiting

    @property
    def running(self) -> int:
        return 0

    @property
    def max_rows(self) -> int:
        return 0

    def places_for(self, tokens: Sequence[int]) -> int:  # noqa: ARG002
        return 0

    @property
    def memory(self) -> dict[str, int]:
        return held_by_mlx()

    @property
    def has_work(self) -> bool:
        return bool(self._jobs.waiting)

    def add(self, work: Work) -> None:
        if isinstance(work, EmbeddingJob):
            self._jobs.add(work)

    def step(self) -> list[Message]:
        return [*self._jobs.step()]

    def follow_up(self) -> list[Message]:
        return []

    @property
    def in_doubt(self) -> bool:
        return self._jobs.in_doubt

    def examine(self) -> None:
        self._jobs.examine()

    def close(self) -> None:
        """Nothing is held but arrays."""


def build_encoder(models: ModelOptions) -> EncoderBackend:
    """Load `models.name` as an embedding model. ModelError with a sentence when it cannot be loaded."""
    encoder = load_encoder(models.name, models_dir=models.models_dir, served_name=models.served_name)
    return EncoderBackend(encoder)
