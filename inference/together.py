"""Sets up a model that several machines run together: `mlx.launch` starts `serve_model` on each of them.

Imports mlx: `accelerate` has to run before this module is imported (see inference/server.py).
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from inference.backend import PROMPT_CACHE_SHARE, Backend, leave_thread, limited, within
from inference.cache.kept_state import keeps_every_token
from inference.cache.prompt_cache import PromptCache
from inference.errors import ModelError
from inference.generation.attention import padded_bytes
from inference.generation.limits import limits_of
from inference.generation.lockstep import Group, Leader, TurnScheduler, follow
from inference.generation.room import Room
from inference.hardware.memory import KvCost, budget_bytes, set_wired_limit
from inference.loading.loader import LoadedModel, Making, load_chat_model
from ollaproject.garbage import spare_what_is_loaded

if TYPE_CHECKING:
    from inference.options import ModelOptions

logger = logging.getLogger(__name__)


def build(models: ModelOptions) -> Backend:
    """On the first machine. Raises ModelError."""
    group, chat, scheduler = _share(models)
    logger.info("%d machines run %s together.", group.size, chat.name)
    return Backend(chat, None, Leader(scheduler, group))


def serve_along(models: ModelOptions) -> None:
    """On the others: work along until the first machine has enough. Raises ModelError."""
    group, _, scheduler = _share(models)
    spare_what_is_loaded()
    try:
        follow(scheduler, group)
    finally:
        leave_thread()


def _share(models: ModelOptions) -> tuple[Group, LoadedModel, TurnScheduler]:
    group = _group(models.together)
    set_wired_limit(wires=models.wires_memory)
    chat = load_chat_model(
        models.name,
        models_dir=models.models_dir,
        served_name=models.served_name,
        making=Making(models.adapter, runs_own_code=models.runs_own_code, shard=group.shard),
    )
    limits = limits_of(chat.model, max_rows=models.max_rows, chunk_tokens=models.chunk_tokens)
    cost = KvCost.of_model(chat.model)
    padded = padded_bytes(chat.model, limits.most_padded_bytes)
    room = Room(cost, group.least(budget_bytes(models.kv_bytes)), padded)
    chat = limited(within(room, chat), models)
    kept = models.prompt_cache_bytes
    cache = PromptCache(
        max_bytes=int(room.budget_bytes * PROMPT_CACHE_SHARE) if kept is None else kept,
        cuts_anywhere=keeps_every_token(chat.model),
    )
    return group, chat, TurnScheduler(chat.model, group, limits=limits, prompt_cache=cache, room=room)


def _group(link: str) -> Group:
    try:
        return Group(link)
    except (RuntimeError, ValueError) as error:
        raise ModelError(
            f"The machines cannot be connected ({link}): {error}. Start them with mlx.launch, as the "
            "supervisor does."
        ) from error
