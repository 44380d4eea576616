"""Passes of the model that read prompts: a chunk of one, its end, or the ends of several.

Imports mlx: loaded by the model process only, and everything here runs on the engine thread, possibly in
slices (see slices.py). So a prompt counts as read when its pass is over, and not before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import mlx.core as mx
import numpy as np

from inference.cache.kept_state import room_for
from inference.generation.batch import Group, shared
from inference.generation.head import wanting_ends
from inference.generation.pace import SMALLEST_CHUNK_TOKENS
from inference.generation.sampling import logprobs_of, top_tokens
from inference.generation.slices import compute
from inference.work import Token

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from inference.generation.reader import Keep
    from inference.generation.reading import Reading
    from inference.generation.seat import Seat

MOST_PADDING = 2
"""A prompt is padded to at most so many times its length, to be read together with a longer one."""


def read_alone(model: Any, one: Reading, count: int) -> None:
    """The next so many tokens of a prompt."""
    with room_for(one.caches, len(one.unread) + 1):
        logits = model(mx.array([one.unread[:count]]), cache=one.caches)
    compute([cache.state for cache in one.caches])
    chunk = one.take(count)
    if one.seat.row.must_be_judged:
        _judge(one, chunk, logits[0])


def read_end(model: Any, one: Reading) -> None:
    """All that is left of a prompt, and what follows it."""
    tokens = one.rest
    with room_for(one.caches, len(tokens) + 1):
        logits = model(mx.array([tokens]), cache=wanting_ends(one.caches, [len(tokens) - 1]))
    one.logits = logits[:, 0]
    compute([one.logits, *(cache.state for cache in one.caches)])
    one.take_rest()


def read_together(model: Any, some: Sequence[Reading], *, keep: Keep) -> Group:
    """Read several prompts to their ends, padded on the right to the length of the longest."""
    caches = shared([one.caches for one in some])
    lengths = [len(one.rest) for one in some]
    tokens = np.zeros((len(some), max(lengths)), dtype=np.int32)
    for row, one in enumerate(some):
        tokens[row, : lengths[row]] = one.rest
    padding = [max(lengths) - length for length in lengths]
    if any(padding):
        for cache in caches:
            cache.prepare(lengths=lengths, right_padding=padding)
    with room_for(caches, max(lengths) + 1):
        ends = wanting_ends(caches, [length - 1 for length in lengths])
        logits = model(mx.array(tokens), cache=ends)
    if any(padding):
        for cache in caches:
            cache.finalize()
    logits = logits[:, 0] if some[0].draws_at_once else None
    compute([cache.state for cache in caches] + ([] if logits is None else [logits]))
    for place, one in enumerate(some):
        one.take_rest()
        keep(one.seat.tokens, [cache.extract(place) for cache in caches])
    return Group([one.seat for one in some], caches, [one.last for one in some], logits)


def without(group: Group, gone: Callable[[Seat], bool]) -> Group | None:
    """The rows that are left of it, if any are. Its caches must not be used any more."""
    keep = [place for place, seat in enumerate(group.seats) if not gone(seat)]
    if len(keep) == len(group.seats) or not keep:
        return group if keep else None
    if len(keep) == 1:
        caches = [cache.extract(keep[0]) for cache in group.caches]
    else:
        caches = group.caches
        for cache in caches:
            cache.filter(mx.array(keep))
    seats, last = [group.seats[place] for place in keep], [group.last[place] for place in keep]
    return Group(seats, caches, last, None if group.logits is None else group.logits[mx.array(keep)])


def which_together(ending: Sequence[Reading]) -> list[list[Reading]]:
    """Which of the prompts that end now to read together: those of like length."""
    passes: list[list[Reading]] = []
    for one in sorted(ending, key=lambda one: len(one.unread), reverse=True):
        longest = len(passes[-1][0].unread) if passes else 0
        if passes and longest <= MOST_PADDING * len(one.unread) + SMALLEST_CHUNK_TOKENS:
            passes[-1].append(one)
        else:
            passes.append([one])
    return passes


def _judge(one: Reading, chunk: list[int], logits: Any) -> None:
    """Note how likely the tokens that follow those of `chunk` were, by its `logits` [tokens, vocabulary]."""
    row = one.seat.row
    following = [*chunk[1:], *one.unread[:1]] if one.unread else [*chunk[1:], one.last]
    following = following[: len(row.prompt) - len(row.prompt_odds)]  # not what the answer has said already
    logprobs = logprobs_of(logits[: len(following)])
    chosen: Any = mx.take_along_axis(logprobs, mx.array(following)[:, None], axis=-1)[:, 0]
    likeliest: list[tuple[tuple[int, float], ...]] = [()] * len(following)
    if row.prompt_logprobs:
        ids, values = top_tokens(logprobs, row.prompt_logprobs)
        pairs = zip(ids.tolist(), values.tolist(), strict=True)
        likeliest = [tuple(zip(*pair, strict=True)) for pair in pairs]
    ranks: list[int | None] = [None] * len(following)
    if row.ranks_prompt:
        ranks = (logprobs >= chosen[:, None]).sum(axis=-1).tolist()
    row.prompt_odds += map(Token, following, chosen.tolist(), likeliest, ranks)
