"""What changes a row's logits before anything is drawn from them: penalties, biases, and tokens that may not
come.

Imports mlx: loaded by the model process only. Rows that ask for nothing have no processors.
"""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any

import mlx.core as mx

if TYPE_CHECKING:
    from collections.abc import Callable

    from inference.work import Sampling

    LogitsProcessor = Callable[[Any, Any], Any]  # tokens so far, logits [1, vocabulary] -> logits
    Window = Callable[[Any], Any]  # tokens so far -> those that a penalty looks at


def processors_for(
    sampling: Sampling, *, prompt_length: int, min_tokens: int = 0, stop_tokens: tuple[int, ...] = ()
) -> list[LogitsProcessor]:
    """For most rows none. What they ban comes last, so that nothing opens it again."""
    processors: list[LogitsProcessor] = []
    if sampling.repetition_penalty != 1:
        window = _latest(sampling.repetition_context_size or 0)
        processors.append(_repetition(sampling.repetition_penalty, window))
    processors += _penalties(sampling, prompt_length)
    if sampling.logit_bias:
        processors.append(_biases(sampling.logit_bias))
    if sampling.allowed_token_ids is not None:
        processors.append(_only(sampling.allowed_token_ids))
    if sampling.bad_words:
        processors.append(_without_words(sampling.bad_words, prompt_length))
    if min_tokens and stop_tokens:
        processors.append(_not_yet(stop_tokens, prompt_length + min_tokens))
    return processors


def _latest(count: int) -> Window:
    """The last so many of prompt and completion, or all of them for 0: so mlx-lm has it."""
    return lambda tokens: tokens[-count:] if count else tokens


def _penalties(sampling: Sampling, prompt_length: int) -> list[LogitsProcessor]:
    frequency, presence = sampling.frequency_penalty, sampling.presence_penalty
    if not frequency and not presence:
        return []

    def window(size: int | None) -> Window:
        return (lambda tokens: tokens[prompt_length:]) if size is None else _latest(size)

    sizes = sampling.frequency_context_size, sampling.presence_context_size
    if sizes[0] == sizes[1]:
        return [_counting(frequency, presence, window(sizes[0]))]
    apart = [(frequency, 0.0, sizes[0]), (0.0, presence, sizes[1])]
    return [_counting(often, ever, window(size)) for often, ever, size in apart if often or ever]


def _counting(frequency: float, presence: float, window: Window) -> LogitsProcessor:
    """OpenAI's formula: logit - count * frequency - (count > 0) * presence."""

    def penalise(tokens: Any, logits: Any) -> Any:
        seen = window(tokens)
        if seen.size == 0:
            return logits
        counts = mx.zeros(logits.shape[-1:], dtype=mx.float32).at[seen].add(1.0)
        return logits - counts * frequency - (counts > 0) * presence

    return penalise


def _repetition(penalty: float, window: Window) -> LogitsProcessor:
    """The penalty of the CTRL paper, over prompt and completion: positive logits divided, negative ones
    multiplied.
    """

    def penalise(tokens: Any, logits: Any) -> Any:
        seen = window(tokens)
        before = logits[:, seen]
        logits[:, seen] = mx.where(before > 0, before / penalty, before * penalty)
        return logits

    return penalise


def _biases(biases: tuple[tuple[int, float], ...]) -> LogitsProcessor:
    tokens = mx.array([token for token, _ in biases])
    values = mx.array([value for _, value in biases])
    return lambda _tokens, logits: logits.at[:, tokens].add(values)


def _only(allowed: tuple[int, ...]) -> LogitsProcessor:
    tokens = mx.array(allowed)

    def ban(_tokens: Any, logits: Any) -> Any:
        is_allowed = mx.zeros(logits.shape[-1:], dtype=mx.bool_)
        is_allowed[tokens] = True
        return mx.where(is_allowed, logits, -mx.inf)

    return ban


def _without_words(words: tuple[tuple[int, ...], ...], prompt_length: int) -> LogitsProcessor:
    """vLLM's rule: the last token of a word may not come where the completion ends with those before it."""
    groups = [
        (length, mx.array([word[:-1] for word in group]), mx.array([word[-1] for word in group]))
        for length, group in (
            (length, [*same]) for length, same in groupby(sorted(words, key=len), lambda word: len(word) - 1)
        )
    ]

    def ban(tokens: Any, logits: Any) -> Any:
        completion = tokens[prompt_length:]
        for length, beginnings, ends in groups:
            if not length:
                logits = logits.at[:, ends].add(-mx.inf)
            elif length <= completion.size:
                is_begun = (completion[-length:] == beginnings).all(axis=-1)
                logits = logits.at[:, ends].add(mx.where(is_begun, -mx.inf, 0.0))
        return logits

    return ban


def _not_yet(stop_tokens: tuple[int, ...], first_position: int) -> LogitsProcessor:
    """No stop token before the sequence has `first_position` tokens."""
    banned = mx.array(stop_tokens)

    def ban(tokens: Any, logits: Any) -> Any:
        return logits if tokens.size >= first_position else logits.at[:, banned].add(-mx.inf)

    return ban
