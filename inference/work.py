"""What the event loop asks of the engine thread, and what comes back.

The loop makes a Row or an EmbeddingJob and may mark it cancelled; the thread reads it and sends messages
back, which are handed to its `deliver` on the loop. Before the first of them it writes down how much of a
Row's prompt it knew already, and how likely its tokens were. Nothing else is shared.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from llguidance import LLMatcher

    from inference.errors import EngineError

    FinishReason = Literal["stop", "length"]


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the next token is chosen. The defaults are OpenAI's.

    A `..._context_size` is how many of the last tokens of prompt and completion its penalty looks at, 0 for
    all; None: those of the completion, but for repetitions all. `bad_words` are the tokens of each.
    """

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    min_tokens_to_keep: int = 1
    top_a: float = 0.0
    typical_p: float = 1.0
    xtc_probability: float = 0.0
    xtc_threshold: float = 0.1
    xtc_special_tokens: tuple[int, ...] = ()
    seed: int | None = None
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    repetition_penalty: float = 1.0
    frequency_context_size: int | None = None
    presence_context_size: int | None = None
    repetition_context_size: int | None = None
    logit_bias: tuple[tuple[int, float], ...] = ()
    allowed_token_ids: tuple[int, ...] | None = None
    bad_words: tuple[tuple[int, ...], ...] = ()


class ThoughtLimit(NamedTuple):
    """How many tokens a thought may have between its two markers, which are tokens."""

    tokens: int
    start: tuple[int, ...]
    end: tuple[int, ...]


class Token(NamedTuple):
    """A token that was generated, or one of the prompt. `logprob` and `likeliest` (id and log probability)
    only when the row asked for them. `rank` is its place among all tokens, of the likeliest 1, and likewise.
    """

    id: int
    logprob: float | None = None
    likeliest: tuple[tuple[int, float], ...] = ()
    rank: int | None = None


class Step(NamedTuple):
    """What one step made of a row: a token, its end, or its failure. A stop token is not shown, so not a
    token.
    """

    token: Token | None = None
    finish_reason: FinishReason | None = None
    stop_token: int | None = None
    error: EngineError | None = None

    @property
    def is_last(self) -> bool:
        return self.finish_reason is not None or self.error is not None


class Vectors(NamedTuple):
    """What became of an EmbeddingJob: float32 [inputs, dimensions], or why not."""

    vectors: Any = None
    error: EngineError | None = None

    @property
    def is_last(self) -> bool:
        return True


@dataclass(slots=True, eq=False, kw_only=True)
class Row:
    """One answer to generate: one choice of one prompt. `max_tokens` fits into the model's context; 0 of them
    judge the prompt and say nothing.
    """

    prompt: list[int]
    max_tokens: int
    sampling: Sampling
    stop_tokens: tuple[int, ...]
    deliver: Callable[[Any], None]  # takes Steps
    choice: int = 0
    min_tokens: int = 0
    top_logprobs: int | None = None
    prompt_logprobs: int | None = None
    """Whether the prompt's own tokens are to be judged as well, and with how many alternatives."""
    ranks_prompt: bool = False
    prompt_odds: list[Token] = field(default_factory=list)
    """Kept on the engine thread until the first message: the prompt's tokens, judged. Nothing comes before
    the first one, so it has no probability."""
    matcher: LLMatcher | None = None
    """The grammar that the answer must follow, at its beginning; to be copied, not moved on."""
    guided_after: tuple[int, ...] = ()
    """The tokens behind which the grammar begins, such as the end of a thought."""
    guided_again: bool = False
    """Whether the grammar, once it has come to its end, begins anew behind the next of these tokens."""
    thought_limit: ThoughtLimit | None = None
    cancelled: bool = False
    said: list[int] = field(default_factory=list)
    """Kept on the engine thread: the tokens that were delivered. With the prompt they are all that another
    batch needs to go on."""
    seed: int | None = None
    """Kept on the engine thread: what its tokens are drawn with, so that it says the same after a restart."""
    restarts: int = 0
    stuck: str | None = None
    """Set on the engine thread: why the grammar cannot be followed any further."""
    cached_tokens: int = 0  # of the prompt, which did not have to be read

    @property
    def tokens(self) -> list[int]:
        return self.prompt + self.said

    @property
    def must_be_judged(self) -> bool:
        """Whether its prompt has to be read from its beginning, because its tokens are to be judged."""
        return self.prompt_logprobs is not None and len(self.prompt_odds) < len(self.prompt)

    def fail(self, error: EngineError) -> None:
        self.deliver(Step(error=error))


@dataclass(slots=True, eq=False, kw_only=True)
class EmbeddingJob:
    """Token lists to turn into vectors, in their order. None is empty, and each fits into the encoder."""

    inputs: list[list[int]]
    deliver: Callable[[Any], None]  # takes Vectors
    cancelled: bool = False

    def fail(self, error: EngineError) -> None:
        self.deliver(Vectors(error=error))


Work = Row | EmbeddingJob
Message = tuple[Work, Step | Vectors]
