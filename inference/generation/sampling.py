"""Choosing the next tokens of a whole batch, as OpenAI defines it: temperature first, then top_p.

Imports mlx: loaded by the model process only. Rows may ask for different things and still be drawn
together. Every token of every row is drawn with a number of its own, made of the row's seed and the token's
place, so it depends neither on the neighbours nor on how the row came to this place. The vocabulary is not
sorted, but for rows that want typical tokens (see truncation.py), and rows pay only for what they ask for.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any, NamedTuple

import mlx.core as mx

from inference.generation.truncation import cut
from inference.hardware.on_cpu import logsumexp

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from inference.work import Sampling

NUCLEUS_LIMIT = 1024
"""top_p, top_k and min_p choose among this many of the likeliest tokens. Sorting the whole vocabulary
instead costs a third of a step for eight rows on a CPU, and the tokens behind the limit are noise."""
GREEDY_BELOW = 1e-4
"""A temperature this close to 0 means the likeliest token: dividing by it would overflow."""
SEED_BITS = 64
SEED_MASK = 2**SEED_BITS - 1
COIN = 0x51F15EED0C01
"""What makes of a token's number another one, for what is tossed and not drawn."""
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
    def top_k(self) -> int:
        return self.sampling.top_k or NO_LIMIT

    @property
    def is_greedy(self) -> bool:
        return self.sampling.temperature < GREEDY_BELOW or (self.sampling.top_k == 1 and not self.is_cut)

    @property
    def is_free(self) -> bool:
        """Whether top_p, min_p and top_k leave every token of the vocabulary."""
        return self.sampling.top_p >= 1 and self.sampling.min_p <= 0 and self.sampling.top_k <= 0

    @property
    def is_cut(self) -> bool:
        """Whether there is more that may not come."""
        asked = self.sampling
        return asked.typical_p < 1 or asked.top_a > 0 or asked.min_tokens_to_keep > 1 or self.excludes

    @property
    def excludes(self) -> bool:
        """Whether XTC leaves out the likeliest tokens here: that is tossed for each token of the answer."""
        share = self.sampling.xtc_probability
        return share > 0 and _mixed(_mixed(self.seed + self.place) ^ COIN) < share * (SEED_MASK + 1)


def seed_of(sampling: Sampling, choice: int = 0) -> int:
    """The seed of one row. `choice` is its place among the `n` answers, which share the request's seed."""
    if sampling.seed is None:
        return secrets.randbits(SEED_BITS)
    return _mixed(_mixed(sampling.seed & SEED_MASK) + choice)


def draw(logits: Any, draws: Sequence[Draw]) -> Any:
    """One token id per row of `logits` [rows, vocabulary], as uint32 [rows]; nothing is computed yet."""
    kinds = [_kind_of(one) for one in draws]
    drawn: list[Any] = []
    places: list[int] = []
    for kind in (_greedy, _free, _nucleus, _cut, _cut_nucleus):
        rows = [place for place, one in enumerate(kinds) if one is kind]
        if rows:
            theirs = logits if len(rows) == len(draws) else logits[mx.array(rows)]
            drawn.append(kind(theirs, [draws[row] for row in rows]))
            places += rows
    if len(drawn) == 1:
        return drawn[0]
    order = sorted(range(len(places)), key=places.__getitem__)
    return mx.concatenate(drawn)[mx.array(order)]


def _kind_of(one: Draw) -> Callable[[Any, Sequence[Draw]], Any]:
    if one.is_greedy:
        return _greedy
    if one.is_cut:
        return _cut if one.is_free else _cut_nucleus
    return _free if one.is_free else _nucleus


def _greedy(logits: Any, draws: Sequence[Draw]) -> Any:  # noqa: ARG001 -- all kinds are called alike
    return mx.argmax(logits, axis=-1)


def _free(logits: Any, draws: Sequence[Draw]) -> Any:
    return mx.argmax(_scaled(logits, draws) + _noise(draws, logits.shape[-1]), axis=-1)


def _cut(logits: Any, draws: Sequence[Draw]) -> Any:
    scores = cut(_scaled(logits, draws), mx.arange(logits.shape[-1])[None], draws)
    return mx.argmax(scores + _noise(draws, logits.shape[-1]), axis=-1)


def _nucleus(logits: Any, draws: Sequence[Draw]) -> Any:
    tokens, values, probabilities = _candidates(logits, draws)
    rank = mx.arange(values.shape[-1])
    keep = _is_in_top_p(probabilities, draws)
    keep = keep & (probabilities >= _column([one.sampling.min_p for one in draws]) * probabilities[:, :1])
    keep = keep & (rank < _column([one.top_k for one in draws]))
    return _chosen(mx.where(keep | (rank == 0), values, -mx.inf), tokens, draws)  # the first always stays


def _cut_nucleus(logits: Any, draws: Sequence[Draw]) -> Any:
    """Where XTC leaves tokens out, `top_k` counts those that are left, as in mlx-lm."""
    tokens, values, probabilities = _candidates(logits, draws)
    rank = mx.arange(values.shape[-1])
    least = _column([one.sampling.min_p for one in draws]) * probabilities[:, :1]
    spared = rank < _column([one.sampling.min_tokens_to_keep for one in draws])
    keep = _is_in_top_p(probabilities, draws) & ((probabilities >= least) | spared)
    keep = keep & (rank < _column([NO_LIMIT if one.excludes else one.top_k for one in draws]))
    scores = cut(mx.where(keep | (rank == 0), values, -mx.inf), tokens, draws)
    left = mx.cumsum((scores > -mx.inf).astype(mx.int32), axis=-1) <= _column([one.top_k for one in draws])
    return _chosen(mx.where(left, scores, -mx.inf), tokens, draws)


def _candidates(logits: Any, draws: Sequence[Draw]) -> tuple[Any, Any, Any]:
    """The likeliest tokens of each row, likeliest first, their log probabilities and their probabilities."""
    scaled = _scaled(logits, draws)
    tokens, values = _likeliest(scaled, min(NUCLEUS_LIMIT, scaled.shape[-1]))
    values = values - logsumexp(scaled)
    return tokens, values, mx.exp(values)


def _is_in_top_p(probabilities: Any, draws: Sequence[Draw]) -> Any:
    before = mx.cumsum(probabilities, axis=-1) - probabilities
    return before < _column([one.sampling.top_p for one in draws])


def _chosen(scores: Any, tokens: Any, draws: Sequence[Draw]) -> Any:
    chosen = mx.argmax(scores + _noise_of(draws, tokens), axis=-1)
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
    logprobs = mx.maximum(logits - logsumexp(logits), LEAST_LOGPROB)
    return mx.where(logits > -mx.inf, logprobs, LEAST_LOGPROB)  # a number even where nothing may come


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
