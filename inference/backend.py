"""What the engine thread owns: the loaded models and their batches. Made on that thread, by `build`.

Imports mlx: `accelerate` has to run before this module is imported (see inference/server.py).
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

import mlx.core as mx

from inference.cache.cache_folder import unusable
from inference.cache.disk_cache import DiskCache
from inference.cache.kept_state import keeps_every_token
from inference.cache.kv_file import fingerprint_of
from inference.cache.prompt_cache import PromptCache
from inference.embeddings.embedding import EmbeddingQueue
from inference.embeddings.encoder import Encoder, load_encoder
from inference.errors import ModelBroken
from inference.generation.attention import padded_bytes
from inference.generation.limits import limits_of
from inference.generation.rehearsal import known_pace
from inference.generation.room import Room
from inference.generation.scheduler import Scheduler
from inference.generation.speculation import Speculation
from inference.hardware.memory import KvCost, budget_bytes, held_by_mlx, set_wired_limit
from inference.http.detokenize import Vocabulary
from inference.http.grammars import Grammars
from inference.http.sampling_fields import usual_sampling
from inference.loading.loader import LoadedModel, Making, load_chat_model
from inference.work import EmbeddingJob, Message, Work

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from inference.generation.lockstep import Leader
    from inference.options import ModelOptions

logger = logging.getLogger(__name__)

PROMPT_CACHE_SHARE = 0.5
"""How much of the memory for keys and values may be kept for requests to come."""
SHORTEST_CONTEXT = 64
"""A model that can read no more is of no use."""
BUFFERS_SHARE = 1 / 8
"""How much memory that is free again MLX may hold on to, beside what keys and values may take."""


class Backend:
    """A chat model with its rows, and possibly an encoder with its jobs.

    The attributes and counts may be read from anywhere; `add`, `step`, `follow_up`, `examine` and `close`
    are for the engine thread.
    """

    def __init__(self, chat: LoadedModel, encoder: Encoder | None, scheduler: Scheduler | Leader) -> None:
        self._chat = chat
        self.encoder = encoder
        self.vocabulary = Vocabulary(chat.tokenizer.backend_tokenizer)
        self.stop_tokens = tuple(sorted(chat.tokenizer.eos_token_ids))
        self.grammars = Grammars(
            chat.tokenizer.backend_tokenizer, width=chat.vocabulary_size, ends=self.stop_tokens
        )
        self.xtc_special_tokens = (*chat.tokenizer.encode("\n"), *self.stop_tokens)
        """What XTC never removes, as mlx_lm.server has it."""
        self._scheduler = scheduler
        self._embeddings = None if encoder is None else EmbeddingQueue(encoder)

    @property
    def chat(self) -> LoadedModel:
        """The model that generates. InferenceError when this server has none."""
        return self._chat

    @property
    def name(self) -> str:
        """What clients call the first of its models."""
        return self.served[0][0]

    @property
    def served(self) -> list[tuple[str, int, int]]:
        """Of each model: its name, its time of creation (Unix), and how many tokens it reads."""
        return [(self._chat.name, self._chat.created, self._chat.context_length), *self._encoder_served()]

    def _encoder_served(self) -> list[tuple[str, int, int]]:
        encoder = self.encoder
        return [(encoder.name, encoder.created, encoder.max_tokens)] if encoder is not None else []

    @property
    def waiting(self) -> int:
        """Pieces of work that have not begun."""
        return self._scheduler.waiting + (self._embeddings.waiting if self._embeddings else 0)

    @property
    def running(self) -> int:
        """Answers that are being generated."""
        return self._scheduler.running

    @property
    def max_rows(self) -> int:
        """How many answers it generates at once."""
        return self._scheduler.max_rows

    def places_for(self, tokens: Sequence[int]) -> int:
        """How many answers of so many tokens each can run now, the first ones first: fewer while one waits
        for memory, or would.
        """
        return min(self._scheduler.places, self._scheduler.places_for(tokens))

    @property
    def memory(self) -> dict[str, int]:
        """Bytes that MLX holds: in use, the most so far, and kept for reuse. Of those in use: what running
        answers need and the prompt cache holds, and what both may take.
        """
        return {**held_by_mlx(), **self._scheduler.memory}

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

    def follow_up(self) -> list[Message]:
        """What a step leaves to be done once its messages are under way. Never raises."""
        return [*self._scheduler.follow_up()]

    @property
    def in_doubt(self) -> bool:
        """Whether the model may be able to do nothing at all: it failed on a request."""
        return self._scheduler.in_doubt

    def examine(self) -> None:
        """Settle that doubt. Raises what the model raises."""
        self._scheduler.examine()

    def restart(self) -> None:
        """Forget all work. The models stay."""
        self._scheduler.restart()
        if self._embeddings is not None:
            self._embeddings.clear()

    def close(self) -> None:
        self._scheduler.close()


def build(models: ModelOptions) -> Backend:
    """Load the models. ModelError with a sentence when one cannot be loaded."""
    set_wired_limit(wires=models.wires_memory)
    chat = load_chat_model(
        models.name,
        models_dir=models.models_dir,
        served_name=models.served_name,
        making=Making(models.adapter, runs_own_code=models.runs_own_code),
    )
    encoder = (
        load_encoder(
            models.embedding_model,
            models_dir=models.models_dir,
            served_name=models.served_embedding_name,
        )
        if models.embedding_model
        else None
    )
    limits = limits_of(chat.model, max_rows=models.max_rows, chunk_tokens=models.chunk_tokens)
    cost = KvCost.of_model(chat.model)
    room = Room(cost, budget_bytes(models.kv_bytes), padded_bytes(chat.model, limits.most_padded_bytes))
    chat = limited(within(room, chat), models)
    mx.set_cache_limit(int(room.budget_bytes * BUFFERS_SHARE))
    scheduler = Scheduler(
        chat.model,
        prompt_cache=_prompt_cache(chat, room, models),
        limits=limits,
        room=room,
        speculation=_speculation(chat, models),
        pace=known_pace(chat.model, limits, context_length=chat.context_length),
    )
    return Backend(chat, encoder, scheduler)


def within(room: Room, chat: LoadedModel) -> LoadedModel:
    """The model with a context that fits into memory. ModelBroken when hardly anything does."""
    longest, gigabytes = room.longest, room.budget_bytes / 1e9
    if longest is None or longest >= chat.context_length:
        return chat
    if longest < SHORTEST_CONTEXT:
        raise ModelBroken(
            f"{chat.path} is too large for this machine: {gigabytes:.2f} GB are left for keys and values, "
            f"and a token takes {room.cost.token_bytes / 1e6:.2f} MB. Take a smaller "
            "model, or allow more with --kv-cache-bytes."
        )
    limit = (
        f" It is memory that limits it: {gigabytes:.1f} GB hold no more; "
        f"the model reads {chat.context_length}."
    )
    logger.warning("%s reads %d tokens at the most.%s", chat.name, longest, limit)
    return replace(chat, context_length=longest, context_limit=limit)


def limited(chat: LoadedModel, models: ModelOptions) -> LoadedModel:
    """The model as its operator wants it: what requests leave open, and no longer context than is allowed."""
    usual = usual_sampling(chat.path, models.sampling_defaults)
    chat = replace(chat, template_options=models.template_options, usual=usual)
    longest = models.context_length
    if longest is None or longest == chat.context_length:
        return chat
    if longest > chat.context_length:
        logger.warning("%s reads %d tokens, not %d.", chat.name, chat.context_length, longest)
        return chat
    limit = f" It is this server's operator who limits it; the model reads {chat.context_length}."
    return replace(chat, context_length=longest, context_limit=limit)


def _speculation(chat: LoadedModel, models: ModelOptions) -> Speculation | None:
    if not models.speculates:
        return None
    if models.draft_model is None:
        return Speculation()
    draft = load_chat_model(models.draft_model, models_dir=models.models_dir)
    if draft.vocabulary_size != chat.vocabulary_size:
        raise ModelBroken(
            f"{draft.path} cannot guess for {chat.path}: it has {draft.vocabulary_size} tokens, and the "
            f"model has {chat.vocabulary_size}. A draft model has to share the model's vocabulary."
        )
    if not keeps_every_token(draft.model):
        raise ModelBroken(f"{draft.path} cannot guess: a draft model has to be one that can be rewound.")
    return Speculation(draft.model)


def _prompt_cache(chat: LoadedModel, room: Room, models: ModelOptions) -> PromptCache:
    """With the size that was asked for, or with half of the memory for keys and values."""
    max_bytes = models.prompt_cache_bytes
    if max_bytes is None:
        max_bytes = int(room.budget_bytes * PROMPT_CACHE_SHARE)
    logger.info(
        "Answers and the prompt cache share %.1f GB; the cache holds %.1f of it at the most.",
        room.budget_bytes / 1e9,
        max_bytes / 1e9,
    )
    disk = None if models.disk_cache_dir is None else _disk_cache(chat, models.disk_cache_dir, models)
    return PromptCache(max_bytes=max_bytes, cuts_anywhere=keeps_every_token(chat.model), disk=disk)


def _disk_cache(chat: LoadedModel, folder: Path, models: ModelOptions) -> DiskCache:
    try:
        disk = DiskCache(
            folder,
            max_bytes=models.disk_cache_bytes,
            fingerprint=fingerprint_of(chat.path, chat.model, adapter=models.adapter),
        )
    except OSError as error:
        raise unusable(folder, error) from error
    logger.info("%d pieces of the prompt cache are in %s.", len(disk), folder)
    return disk


def leave_thread() -> None:
    """Give back what MLX holds for this thread. Without it the process aborts when it exits."""
    mx.synchronize()
    mx.clear_streams()
