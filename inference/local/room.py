"""Memory on a host: what is free, what a model needs, and who makes room for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import psutil
from django.conf import settings

from inference.hardware.free_memory import available_memory
from inference.loading import footprint
from inference.loading.footprint import Footprint

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from inference.models import LocalModel, LocalModelStatus

MEGABYTE = 1024**2


@dataclass(frozen=True, slots=True)
class Machine:
    """Memory in bytes: `free` is what can be had without swapping."""

    total: int
    free: int


@dataclass(frozen=True, slots=True)
class Occupant:
    """A loaded model that could be unloaded: what that would give back, and when it was last asked."""

    model_id: int
    name: str
    bytes: int
    last_used_at: datetime


def machine(*, used_by_models: int) -> Machine:
    """This machine. OLLA_MODEL_MEMORY bounds what the models may have together, which use so much now."""
    free = available_memory()
    bound = settings.OLLA_MODEL_MEMORY
    if not bound:
        return Machine(total=psutil.virtual_memory().total, free=free)
    return Machine(total=bound, free=max(0, min(free, bound - used_by_models)))


def needed_bytes(model: LocalModel, facts: dict[str, dict[str, int]], *, free: int | None) -> int | None:
    """What `model` is going to take on each of its machines.

    None before its files are known and when no budget is set.
    """
    if model.memory_megabytes:
        return model.memory_megabytes * MEGABYTE
    if not facts:
        return None
    whole = footprint.needed_bytes(
        [Footprint(**each) for each in facts.values()],
        rows=model.max_concurrent,
        prompt_cache_bytes=(model.prompt_cache_megabytes or 0) * MEGABYTE,
        free_bytes=free,
    )
    return whole // max(1, len(model.spread_over))


def room_for_answers(model: LocalModel, status: LocalModelStatus) -> int:
    """What a budget leaves for running answers and the prompt cache, in bytes; 0 when it leaves nothing."""
    weights = footprint.needed_bytes(
        [Footprint(**{**each, "kv_values": 0}) for each in status.facts.values()],
        rows=1,
        prompt_cache_bytes=0,
        free_bytes=None,
    )
    return max(0, (model.memory_megabytes or 0) * MEGABYTE - weights)


def who_leaves(*, needed: int, free: int, occupants: Sequence[Occupant]) -> list[Occupant] | None:
    """Those to unload so that `needed` bytes fit, the least recently used first; None if it never would."""
    leaving: list[Occupant] = []
    for occupant in sorted(occupants, key=lambda each: each.last_used_at):
        if free >= needed:
            break
        leaving.append(occupant)
        free += occupant.bytes
    return leaving if free >= needed else None
