"""Choosing the next token, as OpenAI defines it: penalties over the completion, temperature first, then
top_p.

Imports mlx: loaded by the model process only. Rows that ask for the same and give no seed share one
sampler, which then runs once for all of them; only rows that ask for penalties or biases pay for them.
"""

from __future__ import annotations

from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

import mlx.core as mx

if TYPE_CHECKING:
    from collections.abc import Callable

    from inference.schema import Sampling

    Sampler = Callable[[Any], Any]  # log probabilities [rows, vocabulary] -> token ids [rows]
    LogitsProcessor = Callable[[Any, Any], Any]  # tokens so far, logits [1, vocabulary] -> logits

NUCLEUS_LIMIT = 1024
"""top_p, top_k and min_p choose among this many of the likeliest tokens. Sorting the whole vocabulary
instead costs a third of a step for eight rows on a CPU, and the tokens behind the limit are noise."""
GREEDY_BELOW = 1e-4
"""A temperature this close to 0 means the likeliest token: dividing by it would overflow."""
SEED_MASK = 2**63 - 1


def greedy(logprobs: Any) -> Any:
    return mx.argmax(logprobs, axis=-1)


def sampler_for(sampling: Sampling, choice: int = 0, *, drawn: int = 0) -> Sampler:
    """The sampler of one row. `choice` is its place among the `n` answers, which share one `seed`; `drawn`
    is how many of its tokens were drawn before, by another sampler.
    """
    if sampling.temperature < GREEDY_BELOW or sampling.top_k == 1:
        return greedy
    shape = (sampling.temperature, sampling.top_p, sampling.top_k, sampling.min_p)
    if sampling.seed is None:
        return _shared_sampler(*shape)
    key = mx.random.key((sampling.seed & SEED_MASK) + choice)
    for _ in range(drawn):
        key, _now = mx.random.split(key)
    return SeededSampler(*shape, key=key)


@lru_cache(maxsize=256)
def _shared_sampler(temperature: float, top_p: float, top_k: int, min_p: float) -> Sampler:
    return partial(draw, temperature=temperature, top_p=top_p, top_k=top_k, min_p=min_p)


class SeededSampler:
    """Draws from a key of its own, so a seeded row says the same whoever its neighbours are."""

    def __init__(self, temperature: float, top_p: float, top_k: int, min_p: float, *, key: Any) -> None:
        self._draw = partial(draw, temperature=temperature, top_p=top_p, top_k=top_k, min_p=min_p)
        self._key = key

    def __call__(self, logprobs: Any) -> Any:
        self._key, now = mx.random.split(self._key)
        return self._draw(logprobs, key=now)


def draw(
    logprobs: Any, *, temperature: float, top_p: float, top_k: int, min_p: float, key: Any = None
) -> Any:
    """One token id per row of `logprobs` [rows, vocabulary], which are normalised."""
    scaled = logprobs.astype(mx.float32) * (1 / temperature)
    if top_p >= 1 and min_p <= 0 and top_k <= 0:
        return mx.random.categorical(scaled, key=key)
    kept = min(top_k or NUCLEUS_LIMIT, NUCLEUS_LIMIT, scaled.shape[-1])
    tokens, values = _likeliest(scaled, kept)
    total = 0.0 if temperature == 1 else mx.logsumexp(scaled, axis=-1, keepdims=True)
    values = _cut(values - total, top_p=top_p, min_p=min_p)
    chosen = mx.random.categorical(values, key=key)
    return mx.take_along_axis(tokens, chosen[:, None], axis=-1)[:, 0]


def top_tokens(logprobs: Any, count: int) -> tuple[Any, Any]:
    """The `count` likeliest tokens of one row [vocabulary] and their log probabilities, likeliest first."""
    tokens, values = _likeliest(logprobs[None], min(count, logprobs.shape[-1]))
    return tokens[0], values[0]


def _likeliest(values: Any, count: int) -> tuple[Any, Any]:
    """Ids and values of the `count` largest entries of each row, largest first, without sorting the rows."""
    if count < values.shape[-1]:
        tokens = mx.argpartition(-values, count - 1, axis=-1)[:, :count]
        top = mx.take_along_axis(values, tokens, axis=-1)
        order = mx.argsort(-top, axis=-1)
        return mx.take_along_axis(tokens, order, axis=-1), mx.take_along_axis(top, order, axis=-1)
    tokens = mx.argsort(-values, axis=-1)
    return tokens, mx.take_along_axis(values, tokens, axis=-1)


def _cut(values: Any, *, top_p: float, min_p: float) -> Any:
    """Descending log probabilities with those outside of the nucleus at minus infinity. The first always
    stays.
    """
    probabilities = mx.exp(values)
    before = mx.cumsum(probabilities, axis=-1) - probabilities
    keep = (before < top_p) & (probabilities >= min_p * probabilities[:, :1])
    keep = keep | (mx.arange(values.shape[-1]) == 0)
    return mx.where(keep, values, -mx.inf)


def processors_for(
    sampling: Sampling, *, prompt_length: int, min_tokens: int = 0, stop_tokens: tuple[int, ...] = ()
) -> list[LogitsProcessor]:
    """What changes a row's logits before its sampler: nothing, for most rows."""
    processors: list[LogitsProcessor] = []
    if sampling.repetition_penalty != 1:
        processors.append(_repetition(sampling.repetition_penalty))
    if sampling.frequency_penalty or sampling.presence_penalty:
        processors.append(_penalties(sampling.frequency_penalty, sampling.presence_penalty, prompt_length))
    if sampling.logit_bias:
        processors.append(_biases(sampling.logit_bias))
    if min_tokens and stop_tokens:
        processors.append(_not_yet(stop_tokens, prompt_length + min_tokens))
    return processors


def _penalties(frequency: float, presence: float, prompt_length: int) -> LogitsProcessor:
    """OpenAI's formula: logit - count * frequency - (count > 0) * presence, counted over the completion
    only.
    """

    def penalise(tokens: Any, logits: Any) -> Any:
        completion = tokens[prompt_length:]
        if completion.size == 0:
            return logits
        counts = mx.zeros(logits.shape[-1:], dtype=mx.float32).at[completion].add(1.0)
        return logits - counts * frequency - (counts > 0) * presence

    return penalise


def _repetition(penalty: float) -> LogitsProcessor:
    """The penalty of the CTRL paper, over prompt and completion: positive logits divided, negative ones
    multiplied.
    """

    def penalise(tokens: Any, logits: Any) -> Any:
        seen = logits[:, tokens]
        logits[:, tokens] = mx.where(seen > 0, seen / penalty, seen * penalty)
        return logits

    return penalise


def _biases(biases: tuple[tuple[int, float], ...]) -> LogitsProcessor:
    tokens = mx.array([token for token, _ in biases])
    values = mx.array([value for _, value in biases])
    return lambda _tokens, logits: logits.at[:, tokens].add(values)


def _not_yet(stop_tokens: tuple[int, ...], first_position: int) -> LogitsProcessor:
    """No stop token before the sequence has `first_position` tokens."""
    banned = mx.array(stop_tokens)

    def ban(tokens: Any, logits: Any) -> Any:
        return logits if tokens.size >= first_position else logits.at[:, banned].add(-mx.inf)

    return ban
