"""vLLM's parameters beside OpenAI's: read, and told in the model's own tokens.

`bad_words`, `thinking_token_budget` and what a prompt is cut to depend on the tokenizer. So does what XTC,
which is mlx-lm's, leaves alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, cast

from inference.http.far_too_long import MANY_CHARACTERS
from inference.http.fields import Fields, check_strings, invalid_type, invalid_value, unsupported
from inference.work import ThoughtLimit

if TYPE_CHECKING:
    from collections.abc import Callable

    from inference.backend import Backend
    from inference.http.schema import Generating
    from inference.work import Sampling

    Side = Literal["left", "right"]

MAX_BAD_WORDS = 1000
MAX_BAD_WORD_CHARACTERS = 1000
MAX_PROMPT_LOGPROBS = 20
"""What vLLM allows, too, unless its operator says otherwise."""
WHATEVER_FITS = -1
MARGIN_TOKENS = 64


@dataclass(frozen=True, slots=True)
class OfVllm:
    """`prompt_logprobs` None: none are wanted. `thinking_tokens` None: thoughts may be of any length."""

    bad_words: tuple[str, ...] = ()
    includes_stop: bool = False
    shows_special: bool = False
    returns_ids: bool = False
    names_by_ids: bool = False
    prompt_logprobs: int | None = None
    thinking_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Truncation:
    """To how many tokens a prompt is cut, None for what fits, and on which side of them something goes."""

    tokens: int | None
    side: Side

    def size(self, most: int) -> int:
        """How many tokens are left of a long prompt. `most` fit into the context beside the answer."""
        return max(most if self.tokens is None else self.tokens, 1)

    def cut(self, tokens: list[int], *, most: int) -> list[int]:
        size = self.size(most)
        return tokens[-size:] if self.side == "left" else tokens[:size]

    def read(self, text: str, encode: Callable[[str], list[int]], *, most: int) -> list[int]:
        """The tokens that are left of `text`. Of a very long one only the part is tokenised that holds them,
        with a little more, because where a text is cut its tokens are others.
        """
        enough = self.size(most) + MARGIN_TOKENS
        characters = enough * MANY_CHARACTERS
        while characters < len(text):
            tokens = encode(text[-characters:] if self.side == "left" else text[:characters])
            if len(tokens) >= enough:
                return self.cut(tokens, most=most)
            characters *= 2
        return self.cut(encode(text), most=most)


def read_of_vllm(fields: Fields, *, stream: bool) -> OfVllm:
    """Raises ApiError with the field named."""
    fields.boolean("spaces_between_special_tokens")  # the tokenizers served here put none there
    budget = fields.integer("thinking_token_budget", low=-1)
    scores = fields.integer("prompt_logprobs", low=0, high=MAX_PROMPT_LOGPROBS)
    if scores and stream:
        raise unsupported("prompt_logprobs", "'prompt_logprobs' cannot go with 'stream'.")
    return OfVllm(
        bad_words=_bad_words(fields),
        includes_stop=fields.boolean("include_stop_str_in_output"),
        shows_special=not fields.boolean("skip_special_tokens", default=True),
        returns_ids=fields.boolean("return_token_ids"),
        names_by_ids=fields.boolean("return_tokens_as_token_ids"),
        prompt_logprobs=None if stream else scores,
        thinking_tokens=None if budget == WHATEVER_FITS else budget,
    )


def read_truncation(fields: Fields) -> Truncation | None:
    """`truncate_prompt_tokens` and `truncation_side`; None when nothing is to be cut."""
    side = fields.get("truncation_side") or "left"
    if side not in ("left", "right"):
        raise invalid_value("truncation_side", f"'truncation_side' must be 'left' or 'right', not {side!r}.")
    tokens = fields.integer("truncate_prompt_tokens", low=-1)
    if tokens is None:
        return None
    if tokens == 0:
        message = "'truncate_prompt_tokens' must leave at least one token."
        raise invalid_value("truncate_prompt_tokens", message)
    return Truncation(None if tokens == WHATEVER_FITS else tokens, cast("Side", side))


def refuse_to_cut(tokens: list[int], truncation: Truncation | None) -> None:
    """ApiError when a conversation would have to be cut: it would begin in the middle of a message."""
    if truncation is None or truncation.tokens is None or len(tokens) <= truncation.tokens:
        return
    name = "truncate_prompt_tokens"
    message = (
        f"These messages are {len(tokens)} tokens, and cut to '{name}', which is {truncation.tokens}, they "
        "would begin or end in the middle of one. Send fewer messages."
    )
    raise invalid_value(name, message)


def sampling_of(backend: Backend, generating: Generating) -> Sampling:
    """The request's, with what only the model's tokenizer knows. ApiError when nothing may be said."""
    sampling = generating.sampling
    if sampling.xtc_probability:
        sampling = replace(sampling, xtc_special_tokens=backend.xtc_special_tokens)
    if generating.of_vllm.bad_words:
        sampling = replace(sampling, bad_words=_tokens_of_words(backend, generating.of_vllm.bad_words))
    if sampling.allowed_token_ids is not None:
        _check_something_is_left(backend, generating, sampling)
    return sampling


def thought_limit_of(backend: Backend, generating: Generating) -> ThoughtLimit | None:
    """None for a model that does not think, too: there is nothing to be limited."""
    tokenizer, most = backend.chat.tokenizer, generating.of_vllm.thinking_tokens
    if most is None or not tokenizer.has_thinking:
        return None
    start, end = tuple(tokenizer.think_start_tokens), tuple(tokenizer.think_end_tokens)
    return ThoughtLimit(most, start, end) if start and end else None


def _bad_words(fields: Fields) -> tuple[str, ...]:
    words = fields.get("bad_words")
    if words is None:
        return ()
    if not isinstance(words, list):
        raise invalid_type("bad_words", "an array of strings", words)
    check_strings("bad_words", words)
    if len(words) > MAX_BAD_WORDS:
        message = f"'bad_words' may hold at most {MAX_BAD_WORDS} words, not {len(words)}."
        raise invalid_value("bad_words", message)
    for place, word in enumerate(words):
        if not 0 < len(word.lstrip()) <= len(word) <= MAX_BAD_WORD_CHARACTERS:
            name = f"bad_words[{place}]"
            most = MAX_BAD_WORD_CHARACTERS
            raise invalid_value(name, f"'{name}' must have 1 to {most} characters, and more than spaces.")
    return tuple(words)


def _tokens_of_words(backend: Backend, words: tuple[str, ...]) -> tuple[tuple[int, ...], ...]:
    """vLLM's rule: a word as it stands at the beginning of a text, and behind a space, where that is another
    first token and no more of them.
    """
    found: dict[tuple[int, ...], None] = {}
    for word in words:
        plain, spaced = (
            tuple(backend.chat.tokenizer.encode(text, add_special_tokens=False))
            for text in (word.lstrip(), f" {word.lstrip()}")
        )
        if not plain:
            raise invalid_value("bad_words", f"'bad_words' has {word!r}, which is no token of this model.")
        found[plain] = None
        if len(spaced) == len(plain) and spaced[0] != plain[0]:
            found[spaced] = None
    return tuple(found)


def _check_something_is_left(backend: Backend, generating: Generating, sampling: Sampling) -> None:
    never = {word[0] for word in sampling.bad_words if len(word) == 1}  # of others it depends on what is said
    left = set(sampling.allowed_token_ids or ()) - never
    if not left:
        raise invalid_value("bad_words", "'bad_words' leaves nothing to be said of 'allowed_token_ids'.")
    stops = {*generating.stop_tokens, *(() if generating.ignore_eos else backend.stop_tokens)}
    if generating.min_tokens and left <= stops:
        message = "'min_tokens' leaves nothing to be said of 'allowed_token_ids', which end the answer."
        raise invalid_value("min_tokens", message)
