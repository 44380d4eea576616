"""Passes of the model that are computed in slices, layer by layer, with something else in between.

Imports mlx: loaded by the model process only. To read a chunk of a prompt takes longer than a step of running
rows, and a smaller chunk is dear: each time all weights are fetched, and kernels named. So the pass of a
large chunk is left after a layer, and gone on with behind the next step. The model's code knows nothing of
that: it runs on a stack of its own (greenlet's), and is left where it calls its next layer. The layers of a
model are alike, so how long the next one will take is known better than what a chunk of another size would.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import mlx.core as mx
from greenlet import getcurrent, greenlet

from inference.hardware.on_cpu import computes_on_cpu

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mlx import nn


class Slices:
    """`work` on a stack of its own. It is left whenever the model is about to begin with another layer."""

    def __init__(self, work: Callable[[], None]) -> None:
        self._stack = _Stack(work)
        self._stack.switch()  # as far as the first layer, before which hardly anything has to be computed

    @property
    def are_over(self) -> bool:
        return bool(self._stack.dead)

    def go_on(self) -> None:
        """Let a layer be computed. Raises what the work does, which is over then."""
        self._stack.switch()

    def drop(self) -> None:
        """Go on no more: the work is ended where it stands, as by an exception."""
        self._stack.throw()


class _Stack(greenlet):
    """Tells the stacks of slices from all others."""

    def leave(self) -> None:
        assert self.parent is not None  # noqa: S101
        self.parent.switch()


def compute(arrays: Sequence[Any]) -> None:
    """Let the device compute them. In slices a GPU is not waited for: it has more to do."""
    is_slice = isinstance(getcurrent(), _Stack)
    (mx.async_eval if is_slice and not computes_on_cpu() else mx.eval)(arrays)


def teach_to_pause(model: Any) -> None:
    """Let the model's layers be what slices end with."""
    for layer in model.layers:
        kind: type[nn.Module] = type(layer)
        if not hasattr(layer, "begins_a_slice"):
            layer.__class__ = _pausing(kind)


@functools.cache
def _pausing(kind: type[nn.Module]) -> type[nn.Module]:
    """The class of a layer that may have to wait before it is computed."""

    class Pausing(kind):  # type: ignore[misc, valid-type]
        begins_a_slice = True

        def __call__(self, *given: Any, **named: Any) -> Any:
            stack = getcurrent()
            if isinstance(stack, _Stack):
                compute([array for array in (*given, *named.values()) if isinstance(array, mx.array)])
                stack.leave()
            return super().__call__(*given, **named)

    functools.update_wrapper(Pausing, kind, updated=())
    return Pausing
