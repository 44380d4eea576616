"""Choosing the next tokens of a whole batch, as OpenAI defines it: penalties over the completion, temperature
first, then top_p.

Imports mlx: loaded by the model process only. Rows may ask for different things and still be drawn
together. Every token of every row is drawn with a number of its own, made of the row's seed and the token's
place, so it depends neither on the neighbours nor on how the row came to this place. The vocabulary is never
sorted, and only rows that ask for penalties or biases pay for them.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any, NamedTuple

import mlx.core as mx

from inference.hardware.on_cpu import logsumexp

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from inference.work import Sampling

    LogitsProcessor = Callable[[Any, Any], Any]  # tokens so far, logits [1, vocabulary] -> logits

NUCLEUS_LIMIT = 1024
"""top_p, top_k and min_p choose among this many of the likeliest tokens. Sorting the whole vocabulary
instead costs a third of a step for eight rows on a CPU, and the tokens behind the limit are noise."""
GREEDY_BELOW = 1e-4
"""A temperature this close to 0 means the likeliest token: dividing by it would overflow."""
SEED_BITS = 64
SEED_MASK = 2**SEED_BITS - 1
KEY_MASK = 2**32 - 1
NO_LIMIT = 2**31 - 1
LEAST_LOGPROB = -9999.0
"""What OpenAI says of a token that is next to impossible. JSON knows no infinity."""


class Draw(NamedTuple):
    """What to draw for one row: the `place`-th token of its answer, from 0, as `sampling` asks for it."""

    sampling: Sampling
    seed: int
    place: int

    @property
    def is_greedy(self) -> bool:
        return self.sampling.temperature < GREEDY_BELOW or self.sampling.top_k == 1

    @property
    def is_free(self) -> bool:
        """Whether any token of the vocabulary may come."""
        return self.sampling.top_p >= 1 and self.sampling.min_p <= 0 and self.sampling.top_k <= 0


def seed_of(sampling: Sampling, choice: int = 0) -> int:
    """The seed of one row. `choice` is its place among the `n` answers, which share the request's seed."""
    if sampling.seed is None:
        return secrets.randbits(SEED_BITS)
    return _mixed(_mixed(sampling.seed & SEED_MASK) + choice)


def draw(logits: Any, draws: Sequence[Draw]) -> Any:
    """One token id per row of `logits` [rows, vocabulary], as uint32 [rows]; nothing is computed yet."""
    kinds = [_greedy if one.is_greedy else _free if one.is_free else _nucleus for one in draws]
    drawn: list[Any] = []
    places: list[int] = []
    for kind in (_greedy, _free, _nucleus):
        rows = [place for place, one in enumerate(kinds) if one is kind]
        if rows:
            theirs = logits if len(rows) == len(draws) else logits[mx.array(rows)]
            drawn.append(kind(theirs, [draws[row] for row in rows]))
            places += rows
    if len(drawn) == 1:
        return drawn[0]
    order = sorted(range(len(places)), key=places.__getitem__)
    return mx.concatenate(drawn)[mx.array(order)]


def _greedy(logits: Any, draws: Sequence[Draw]) -> Any:  # noqa: ARG001 -- all kinds are called alike
    return mx.argmax(logits, axis=-1)


def _free(logits: Any, draws: Sequence[Draw]) -> Any:
    return mx.argmax(_scaled(logits, draws) + _noise(draws, logits.shape[-1]), axis=-1)


def _nucleus(logits: Any, draws: Sequence[Draw]) -> Any:
    scaled = _scaled(logits, draws)
    tokens, values = _likeliest(scaled, min(NUCLEUS_LIMIT, scaled.shape[-1]))
    values = values - logsumexp(scaled)
    probabilities = mx.exp(values)
    before = mx.cumsum(probabilities, axis=-1) - probabilities
    rank = mx.arange(values.shape[-1])
    keep = before < _column([one.sampling.top_p for one in draws])
    keep = keep & (probabilities >= _column([one.sampling.min_p for one in draws]) * probabilities[:, :1])
    keep = keep & (rank < _column([one.sampling.top_k or NO_LIMIT for one in draws]))
    values = mx.where(keep | (rank == 0), values, -mx.inf)  # the first one always stays
    chosen = mx.argmax(values + _noise_of(draws, tokens), axis=-1)
    return mx.take_along_axis(tokens, chosen[:, None], axis=-1)[:, 0]


def _scaled(logits: Any, draws: Sequence[Draw]) -> Any:
    return logits.astype(mx.float32) * _column([1 / one.sampling.temperature for one in draws])


def _column(values: list[float]) -> Any:
    return mx.array(values)[:, None]


def _noise(draws: Sequence[Draw], width: int) -> Any:
    """Gumbel noise [rows, width]: the largest of scores and noise is a draw from the scores' softmax."""
    keys = mx.array([_key(one) for one in draws], dtype=mx.uint32)
    return mx.vmap(lambda key: mx.random.gumbel((width,), key=key))(keys)


def _noise_of(draws: Sequence[Draw], tokens: Any) -> Any:
    """Gumbel noise of `tokens` [rows, count], each token's its own whatever its place in the row.

    Logits differ in their last bits with the size of the batch. By rank, two tokens that are nearly as
    likely would change their numbers then, and a seed would not give the same answer again.
    """
    keys = mx.array([_key(one) for one in draws], dtype=mx.uint32)
    places = mx.broadcast_to(keys[:, None, :1], (*tokens.shape, 1))
    keys = mx.concatenate([places, keys[:, None, 1:] ^ tokens[..., None].astype(mx.uint32)], axis=-1)
    noise = mx.vmap(lambda key: mx.random.gumbel((1,), key=key))(keys.reshape(-1, 2))
    return noise.reshape(tokens.shape)


def _key(one: Draw) -> tuple[int, int]:
    mixed = _mixed(one.seed + one.place)
    return mixed >> 32, mixed & KEY_MASK


def _mixed(number: int) -> int:
    """A number of 64 bits that looks nothing like its neighbours': the finaliser of splitmix64."""
    number = (number * 0x9E3779B97F4A7C15 + 0x9E3779B97F4A7C15) & SEED_MASK
    number = ((number ^ (number >> 30)) * 0xBF58476D1CE4E5B9) & SEED_MASK
    number = ((number ^ (number >> 27)) * 0x94D049BB133111EB) & SEED_MASK
    return number ^ (number >> 31)


def logprobs_of(logits: Any) -> Any:
    """Log probabilities, float32, of `logits` [rows, vocabulary]; of what may not come the least there is."""
    logits = logits.astype(mx.float32)
    return mx.maximum(logits - logsumexp(logits), LEAST_LOGPROB)


def top_tokens(logprobs: Any, count: int) -> tuple[Any, Any]:
    """The `count` likeliest tokens of each row [rows, vocabulary] and their values, likeliest first."""
    return _likeliest(logprobs, min(count, logprobs.shape[-1]))


def _likeliest(values: Any, count: int) -> tuple[Any, Any]:
    """Ids and values of the `count` largest entries of each row, largest first, without sorting the rows."""
    if count < values.shape[-1]:
        tokens = mx.argpartition(-values, count - 1, axis=-1)[:, :count]
        top = mx.take_along_axis(values, tokens, axis=-1)
        order = mx.argsort(-top, axis=-1)
        return mx.take_along_axis(tokens, order, axis=-1), mx.take_along_axis(top, order, axis=-1)
    tokens = mx.argsort(-values, axis=-1)
    return tokens, mx.take_along_axis(values, tokens, axis=-1)


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
