"""How MLX computes on NVIDIA cards, where its own choices are made for lengths that repeat themselves.

cuDNN prepares attention anew for each pair of lengths, some 20 to 100 ms each time, and a server meets new
ones with every chunk that it reads. A CUDA graph of a step is made anew as well when the shapes in it have
changed, which takes longer than to launch its kernels. And where hundreds of new ones come in a row, MLX
raises an error rather than be slow. All this is read from the environment when MLX is imported.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import MutableMapping

SETTINGS = {
    "MLX_CUDA_USE_CUDNN_SDPA": "0",
    "MLX_USE_CUDA_GRAPHS": "0",
    "MLX_ENABLE_CACHE_THRASHING_CHECK": "0",
}


def suit_server(environment: MutableMapping[str, str]) -> str:
    """Choose what an operator has not chosen. A sentence that says what holds now."""
    for name, value in SETTINGS.items():
        environment.setdefault(name, value)
    chosen = ", ".join(f"{name}={environment[name]}" for name in SETTINGS)
    return f"MLX computes on an NVIDIA card, with {chosen}."
