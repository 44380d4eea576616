"""What the model's memory of a sequence costs, and how much of it this machine can hold.

Imports mlx: loaded by the model process only. Running answers and the prompt cache share one budget. Answers
come first: what they do not need is what the cache may keep.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

import mlx.core as mx
from mlx.utils import tree_flatten
from mlx_lm.models.cache import CacheList, RotatingKVCache, make_prompt_cache

from inference.hardware.free_memory import available_memory

if TYPE_CHECKING:
    from collections.abc import Mapping

logger = logging.getLogger(__name__)

SHARE_OF_GPU = 0.75
"""Of what a GPU has left once the models are loaded. The rest is for the arrays of a step, and for growing an
array, which for a moment needs the old one and the new one."""
SHARE_OF_RAM = 0.5
"""Where the memory belongs to everyone on the machine."""
LEAST_ON_MAC = 2 * 1024**3
"""So much macOS finds by compressing what others have, though it is not free."""


def held_by_mlx() -> dict[str, int]:
    """Bytes, by name: in use, the most so far, and kept for reuse."""
    return {
        "active_bytes": mx.get_active_memory(),
        "peak_bytes": mx.get_peak_memory(),
        "cache_bytes": mx.get_cache_memory(),
    }


@dataclass(frozen=True, slots=True)
class KvCost:
    """Bytes that one sequence takes: for each token, for each token up to the end of a window, and at all.

    `windows` has pairs of bytes per token and tokens.
    """

    token_bytes: int
    windows: tuple[tuple[int, int], ...] = ()
    fixed_bytes: int = 0

    @classmethod
    def of_model(cls, model: Any) -> KvCost:
        """Asked of the model itself: of the caches that it makes from its configuration, after one token."""
        caches = make_prompt_cache(model)
        mx.eval(model(mx.array([[0]]), cache=caches))
        token_bytes, fixed_bytes = 0, 0
        windows: dict[int, int] = {}
        for cache in _flat(caches):
            size = _token_bytes(cache)
            if size is None:
                fixed_bytes += _bytes_of(cache)
            elif isinstance(cache, RotatingKVCache):
                windows[cache.max_size] = windows.get(cache.max_size, 0) + size
            else:
                token_bytes += size
        return cls(
            token_bytes, tuple((size, tokens) for tokens, size in sorted(windows.items())), fixed_bytes
        )

    def of(self, tokens: int) -> int:
        """Bytes of one sequence of so many tokens."""
        in_windows = sum(size * min(tokens, window) for size, window in self.windows)
        return self.token_bytes * tokens + in_windows + self.fixed_bytes

    def tokens_within(self, nbytes: int) -> int | None:
        """The longest sequence that fits into so many bytes; None when any does."""
        if self.of(1) > nbytes:
            return 0
        if (
            self.token_bytes == 0
            and self.of(max((window for _, window in self.windows), default=1)) <= nbytes
        ):
            return None
        fits, too_long = 1, 2
        while self.of(too_long) <= nbytes:
            fits, too_long = too_long, too_long * 2
        while too_long - fits > 1:
            middle = (fits + too_long) // 2
            fits, too_long = (middle, too_long) if self.of(middle) <= nbytes else (fits, middle)
        return fits


def budget_bytes(wanted: int | None) -> int:
    """What running answers and the prompt cache may take together: `wanted`, or what suits the machine."""
    if wanted is not None:
        return wanted
    free = available_memory()
    left = left_on_gpu(mx.device_info(), active=mx.get_active_memory(), free=free)
    return int(free * SHARE_OF_RAM) if left is None else int(left * SHARE_OF_GPU)


def left_on_gpu(device: Mapping[str, int | str], *, active: int, free: int) -> int | None:
    """Bytes that the `device` of MLX has left beside what is `active`; None when it is no GPU. Metal's are
    memory of all programs, of which so much is `free`: another model may have some of it, or a browser.
    """
    if most := device.get("max_recommended_working_set_size"):
        return max(min(int(most) - active, max(free, LEAST_ON_MAC)), 0)
    if most := device.get("total_memory"):  # CUDA
        return max(int(most) - active, 0)
    return None


def set_wired_limit(*, wires: bool) -> None:
    """Have macOS keep what MLX holds in memory, or keep mlx-lm from asking for that, as it does by itself.

    Macs have been seen to panic with a raised limit (github.com/ml-explore/mlx/issues/3186).
    """
    generate = import_module("mlx_lm.generate")  # a function of mlx_lm's hides the module of that name
    vars(generate)["maybe_set_recommended_wired_limit"] = _nothing_to_restore
    most = mx.device_info().get("max_recommended_working_set_size")
    if wires and most:
        mx.set_wired_limit(int(most))


def _nothing_to_restore() -> None:
    """In place of a limit that was there before."""


def is_lack_of_memory(error: Exception) -> bool:
    """MLX has no exception of its own for it: the allocators and Metal say it in words."""
    words = str(error).lower()
    return isinstance(error, MemoryError) or "memory" in words or "alloc" in words


def _flat(caches: Any) -> list[Any]:
    flat: list[Any] = []
    for cache in caches:
        flat += _flat(cache.caches) if isinstance(cache, CacheList) else [cache]
    return flat


def _token_bytes(cache: Any) -> int | None:
    """Bytes of one token in a cache of keys and values; None for another kind of state."""
    keys, values = getattr(cache, "keys", None), getattr(cache, "values", None)
    if not isinstance(keys, mx.array) or not isinstance(values, mx.array):
        return None
    return sum(array.nbytes // array.shape[-2] for array in (keys, values))


def _bytes_of(cache: Any) -> int:
    leaves: Any = tree_flatten(cache.state)
    return sum(leaf.nbytes for _, leaf in leaves if isinstance(leaf, mx.array))
