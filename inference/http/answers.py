"""Tokens to text: the choices of one request as they grow, on the event loop.

Here tokens become characters, stop strings end a choice, and tokens are counted. The wire shapes are in
shapes.py, and the engine knows nothing of either.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, NamedTuple

from inference.errors import TooManyAnswers
from inference.http.fields import invalid_value
from inference.http.speech import Said, Speech
from inference.http.stops import StopMatcher
from inference.work import Row, Step, Token

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from inference.backend import Backend
    from inference.engine import Engine
    from inference.http.meter import Meter
    from inference.http.prompts import Prompts
    from inference.http.schema import Generating
    from inference.http.speech import Manner, ToolCall
    from ollaproject.wire.openai_errors import ApiError


class ShownToken(NamedTuple):
    """A token whose text is being shown, for logprobs. `offset` is where it begins in the choice's text."""

    token: Token
    offset: int


class Piece(NamedTuple):
    """What a choice has grown by. `tokens` is empty unless logprobs were asked for, and `ids` unless they
    were: those of all tokens that have come since the last piece, whatever they have become.
    """

    choice: Choice
    text: str
    tokens: list[ShownToken]
    finish_reason: str | None
    reasoning: str = ""
    calls: tuple[ToolCall, ...] = ()
    ids: tuple[int, ...] = ()


class Choice:
    """One answer in the making. `index` is its place in the response."""

    def __init__(
        self, row: Row, generating: Generating, backend: Backend, *, index: int, manner: Manner | None
    ) -> None:
        self.row = row
        self.index = index
        self.completion_tokens = 0
        self.reasoning_tokens: int | None = None if manner is None or manner.thought is None else 0
        """Of the completion tokens those of thoughts and their ends. None of a model that does not think."""
        self.finish_reason: str | None = None
        self._vocabulary = backend.vocabulary
        self._marks = manner.marks if manner is not None else frozenset()
        self._speech = Speech(manner) if manner is not None else None
        self._detokenizer = backend.vocabulary.detokenizer()
        self._asked = generating.of_vllm
        self._stops = StopMatcher(generating.stops, shows_match=self._asked.includes_stop)
        self._stop_tokens = generating.stop_tokens
        self._min_tokens = generating.min_tokens
        self._stop_token: int | None = None
        self._with_tokens = generating.top_logprobs is not None
        self._pending: list[ShownToken] = []
        self._ids: list[int] = []
        self._read = 0  # characters that the tokens have said
        self._shown = 0  # characters given out

    def grow(self, step: Step) -> Piece | None:
        """What the step adds to what is shown; None when nothing yet. Raises the error that ended the row."""
        if step.error is not None:
            raise step.error
        self.completion_tokens += step.token is not None or step.stop_token is not None
        if step.stop_token in self._stop_tokens:
            self._stop_token = step.stop_token
        text = self._say(step.token) if step.token is not None else ""
        if step.stop_token is not None and self._asked.includes_stop:
            text += self._text_of(step.stop_token)
        if self._asked.returns_ids:
            self._ids += [step.token.id] if step.token else []
            self._ids += [] if step.stop_token is None else [step.stop_token]
        if step.finish_reason is not None:
            text += self._detokenizer.flush()
        said = self._understand(text, step)
        shown = self._stops.feed(said.content, may_end=self.completion_tokens > self._min_tokens)
        self.finish_reason = self._reason_to_finish(step, said)
        if self.finish_reason is not None and self._stops.matched is None:
            shown += self._stops.flush()
        self._shown += len(shown)
        tokens = self._tokens_shown()
        if shown or tokens or said.reasoning or said.calls or self.finish_reason:
            ids, self._ids = tuple(self._ids), []
            return Piece(self, shown, tokens, self.finish_reason, said.reasoning, said.calls, ids)
        return None

    @property
    def stop_string(self) -> str | None:
        """The one that has ended it."""
        return self._stops.matched

    @property
    def stop_reason(self) -> str | int | None:
        """Which of the request's stop strings or stop tokens has ended it."""
        return self._stop_token if self.stop_string is None else self.stop_string

    def _understand(self, text: str, step: Step) -> Said:
        if self._speech is None:
            return Said(text)
        is_last, is_cut = step.finish_reason is not None, step.finish_reason == "length"
        was_thinking = self._speech.is_thinking
        said = self._speech.feed(text, last=is_last, is_cut=is_cut)
        if self.reasoning_tokens is not None and step.token is not None:
            self.reasoning_tokens += was_thinking or self._speech.is_thinking
        return said

    def _reason_to_finish(self, step: Step, said: Said) -> str | None:
        if self._stops.matched is not None:
            return "stop"
        if said.is_over:
            return "tool_calls"
        if step.finish_reason == "stop" and self._speech is not None and self._speech.has_called:
            return "tool_calls"
        return step.finish_reason

    def _say(self, token: Token) -> str:
        if self._with_tokens:
            self._pending.append(ShownToken(token, self._read))
        said = self._text_of(token.id)
        self._read += len(said)
        return said

    def _text_of(self, token: int) -> str:
        """Special tokens are not text, unless thoughts and calls are made of them, or they are asked for."""
        is_mark = token in self._marks or (self._speech is not None and self._speech.is_calling)
        if (is_mark or self._asked.shows_special) and self._vocabulary.is_special(token):
            return self._detokenizer.flush() + self._vocabulary.text_of(token)
        return self._detokenizer.add(token)

    def _tokens_shown(self) -> list[ShownToken]:
        """Tokens come with the first of their characters; those of a stop string never do."""
        ended_by_itself = self.finish_reason is not None and self._stops.matched is None
        passed = self._shown + (self._speech.elsewhere if self._speech is not None else 0)
        shown = [one for one in self._pending if ended_by_itself or one.offset < passed]
        self._pending = self._pending[len(shown) :]
        return shown


class Answer:
    """All choices of one request. Leaving its `with` block early tells the engine that nobody waits."""

    def __init__(self, engine: Engine, meter: Meter, *, generating: Generating, ready: Prompts) -> None:
        self._engine = engine
        self._meter = meter
        self._queue: asyncio.Queue[tuple[int, Step]] = asyncio.Queue()
        self.prompt_tokens = sum(map(len, ready.tokens))
        self._choices_per_prompt = generating.n
        self.began = time.monotonic()
        self.first_token_at: float | None = None
        self.choices = [
            self._choice(generating, ready, index) for index in range(len(ready.tokens) * generating.n)
        ]
        try:
            engine.submit([choice.row for choice in self.choices])
        except TooManyAnswers as error:
            raise _too_many(error, prompts=len(ready.tokens), n=generating.n) from None

    def __enter__(self) -> Answer:
        return self

    def __exit__(self, *_: object) -> None:
        self._engine.cancel([choice.row for choice in self.choices if choice.finish_reason is None])
        self._meter.count_answer(self)

    @property
    def cached_tokens(self) -> int:
        """How many of the prompts' tokens did not have to be read, because an earlier request had them."""
        n = self._choices_per_prompt
        return sum(
            min(choice.row.cached_tokens for choice in self.choices[place : place + n])
            for place in range(0, len(self.choices), n)
        )

    @property
    def completion_tokens(self) -> int:
        return sum(choice.completion_tokens for choice in self.choices)

    @property
    def reasoning_tokens(self) -> int | None:
        """How many of them were thoughts. None of a model that does not think."""
        known = [choice.reasoning_tokens for choice in self.choices if choice.reasoning_tokens is not None]
        return sum(known) if known else None

    async def pieces(self) -> AsyncIterator[list[Piece]]:
        """What has grown since the last time, until every choice has its end. Raises EngineError."""
        unfinished = len(self.choices)
        while unfinished:
            batch = [await self._queue.get()]
            while not self._queue.empty():
                batch.append(self._queue.get_nowait())
            before = self.completion_tokens
            grown = [self._grow(self.choices[index], step) for index, step in batch]
            self._count(self.completion_tokens - before)
            pieces = [piece for piece in grown if piece is not None]
            unfinished -= sum(piece.finish_reason is not None for piece in pieces)
            if pieces:
                yield pieces

    def _count(self, tokens: int) -> None:
        if tokens and self.first_token_at is None:
            self.first_token_at = time.monotonic()
        self._meter.count_tokens(tokens)

    def _grow(self, choice: Choice, step: Step) -> Piece | None:
        if choice.finish_reason is not None:
            return None  # the engine was one step ahead of a stop string
        piece = choice.grow(step)
        if piece is not None and piece.finish_reason is not None and not step.is_last:
            self._engine.cancel([choice.row])
        return piece

    def _choice(self, generating: Generating, ready: Prompts, index: int) -> Choice:
        backend = self._engine.backend
        place, choice = divmod(index, generating.n)
        stop_tokens = () if generating.ignore_eos else backend.stop_tokens
        row = Row(
            prompt=ready.tokens[place],
            max_tokens=ready.room[place],
            sampling=ready.sampling,
            stop_tokens=(*stop_tokens, *generating.stop_tokens),
            choice=choice,
            min_tokens=generating.min_tokens,
            top_logprobs=generating.top_logprobs,
            prompt_logprobs=_prompt_logprobs(generating, is_echoed=ready.echoes[place] is not None),
            ranks_prompt=generating.of_vllm.prompt_logprobs is not None,
            matcher=ready.matcher,
            guided_after=ready.guided_after,
            guided_again=ready.guided_again,
            thought_limit=ready.thought_limit,
            deliver=lambda step: self._queue.put_nowait((index, step)),
        )
        return Choice(row, generating, backend, index=index, manner=ready.manner)


def _prompt_logprobs(generating: Generating, *, is_echoed: bool) -> int | None:
    """With how many alternatives the prompt's tokens are judged, if they are."""
    asked = [generating.of_vllm.prompt_logprobs, generating.top_logprobs if is_echoed else None]
    return max((count for count in asked if count is not None), default=None)


def _too_many(error: TooManyAnswers, *, prompts: int, n: int) -> ApiError:
    """The refusal of a request that asks for more answers than can ever be taken, by what it asks with."""
    if prompts == 1:
        return invalid_value("n", f"{error} 'n' is {n}.")
    return invalid_value("prompt", f"{error} There are {prompts} prompts, and 'n' is {n}.")
