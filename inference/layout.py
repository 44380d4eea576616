"""How the weights of matrix products lie in memory, for a Linux CPU.

Imports mlx: loaded by the model process only. A layer keeps its weight as [outputs, inputs] and multiplies
with it turned round. OpenBLAS first copies what it multiplies into blocks, and to copy from a turned matrix
takes it twice as long: for a few rows that is most of the product. So weights are stored turned round here,
and only look as before: on an AMD EPYC without AVX-512 a step of 1 to 16 rows of a small model takes four
fifths of the time, and a product with a large vocabulary half. With AVX-512 OpenBLAS has other code for it:
on an Intel Xeon it hardly made a difference, and on a newer EPYC a step of a row took a sixth longer.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mlx.core as mx
from mlx import nn
from mlx.nn.layers.distributed import AllToShardedLinear, ShardedToAllLinear
from mlx_lm.models.switch_layers import SwitchLinear

CPU = Path("/proc/cpuinfo")
PRODUCTS = nn.Linear, AllToShardedLinear, ShardedToAllLinear, SwitchLinear
FEWEST_OUTPUTS = 512
"""Narrower ones are copied as fast the other way round, or faster."""


def pays(cpu: Path = CPU) -> bool:
    """Whether this processor's products are faster by it."""
    try:
        return "avx512f" not in cpu.read_text().split()
    except OSError:
        return True


def lay_out(model: Any) -> None:
    """Turn round what float32 products multiply with; changes `model` in place, and what it says by rounding
    at the most."""
    modules = [module for module in model.modules() if "weight" in module]
    products = [module for module in modules if isinstance(module, PRODUCTS)]
    widths = {_outputs(module) for module in products}
    heads = [module for module in modules if type(module) is nn.Embedding and _outputs(module) not in widths]
    for module in products + heads:
        if module.weight.dtype == mx.float32 and _outputs(module) >= FEWEST_OUTPUTS:
            module.weight = mx.contiguous(module.weight.swapaxes(-1, -2)).swapaxes(-1, -2)
            mx.eval(module.weight)  # one after the other: two copies of all do not fit everywhere


def _outputs(module: Any) -> int:
    return int(module.weight.shape[-2])
