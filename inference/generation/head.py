"""Logits of those tokens only that something is drawn from. The head of a small model is a fifth of its work,
and of a chunk of a prompt it would make more numbers than the caches hold.

Imports mlx: loaded by the model process only, and everything here runs on the engine thread. Models hand the
list of their caches on to their trunk, which is all of them but the head: so a list that also says what is
wanted reaches the place where the rest can be left out.
"""

from __future__ import annotations

import functools
import logging
from typing import TYPE_CHECKING, Any

import mlx.core as mx

from inference.cache.kept_state import fresh_caches, keeps_every_token

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mlx import nn

logger = logging.getLogger(__name__)

ROUNDING = 0.05
"""How far apart logits of the same tokens may be, as a share of the largest one: half precision is rounded as
the shapes are."""
TRIAL_PROMPTS = [[5, 6, 7, 8], [9, 10, 11, 12]]
TRIAL_ENDS = [3, 1]


class Wanting(list[Any]):
    """Caches for a pass of the model. `wanted` takes what its trunk has made of the tokens [rows, tokens,
    width], and gives the part that its head is to see.
    """

    def __init__(self, caches: Sequence[Any], wanted: Callable[[Any], Any]) -> None:
        super().__init__(caches)
        self.wanted = wanted


def wanting_ends(caches: Sequence[Any], ends: Sequence[int]) -> Wanting:
    """For a pass that gives logits [rows, 1, vocabulary], of the token of each row at the place in `ends`."""
    return Wanting(caches, lambda hidden: hidden[mx.arange(len(ends)), mx.array([*ends])][:, None])


def teach_to_spare(model: Any) -> None:
    """Let the model's head see what is wanted, and nothing else, if its code has a trunk apart from it."""
    trunk = next((module for module in model.modules() if "embed_tokens" in module), None)
    if trunk is not None and not hasattr(trunk, "spares_the_head"):
        kind: type[nn.Module] = type(trunk)
        trunk.__class__ = _sparing(kind)


def draws_at_once(model: Any) -> bool:
    """Whether the pass that reads the end of a prompt may say what comes next, too. Otherwise its last token
    is read by a step of the row: what models without plain attention have read is kept before that token,
    where the same prompt can go on from it.
    """
    if not keeps_every_token(model):
        return False
    teach_to_spare(model)
    return _trial(model)


def _trial(model: Any) -> bool:
    """Whether two rows that end at different places have the logits that they have without."""
    tokens = mx.array(TRIAL_PROMPTS)
    try:
        spared = model(tokens, cache=wanting_ends(fresh_caches(model), TRIAL_ENDS))
        if spared.shape[1] != 1:
            return False
        whole = model(tokens, cache=fresh_caches(model))
        return all(alike(spared[row, 0], whole[row, end]) for row, end in enumerate(TRIAL_ENDS))
    except Exception as error:  # noqa: BLE001 -- whatever its code stumbles over
        logger.info("This model computes logits of all tokens: %s.", error)
        return False


def alike(one: Any, other: Any) -> bool:
    """Whether logits are the same, but for rounding."""
    return bool((mx.abs(one - other).max() <= ROUNDING * mx.abs(other).max()).item())


@functools.cache
def _sparing(kind: type[nn.Module]) -> type[nn.Module]:
    """The class of a trunk that ends with what is wanted of it."""

    class Sparing(kind):  # type: ignore[misc, valid-type]
        spares_the_head = True

        def __call__(self, *given: Any, **named: Any) -> Any:
            hidden = super().__call__(*given, **named)
            caches = next((one for one in (*given, *named.values()) if isinstance(one, Wanting)), None)
            return hidden if caches is None else caches.wanted(hidden)

    functools.update_wrapper(Sparing, kind, updated=())
    return Sparing
