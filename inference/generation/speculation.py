"""Guessing what a row will say, so that one pass of the model gives several tokens.

Imports mlx: loaded by the model process only, and everything here runs on the engine thread. A guess is
checked by drawing every token as if nothing had been guessed, with the same numbers, and comparing: the
answer is the one that it would have been, for sampled rows too. Guesses come from what the prompt and the
answer have said before, or from a smaller model. They are made for a row that decodes alone: in a full batch
a pass is used well already. While guesses cost more time than they save, they are left out.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Protocol

import mlx.core as mx

from inference.cache.kept_state import fresh_caches

if TYPE_CHECKING:
    from inference.generation.batch import Batch, Made
    from inference.generation.seat import Seat

LONGEST_GUESS = 8
FIRST_GUESS = 3
NGRAM_TOKENS = (3, 2)
"""How much of the end of a text must have come before, the better first, to guess that what followed follows
again."""
NEWS_SHARE = 0.25
TRIALS = 4
"""After so many guesses it is known whether they pay."""
FIRST_PAUSE_TOKENS, LONGEST_PAUSE_TOKENS = 32, 512
"""How long no guesses are made when they did not pay. Texts change, so they are tried again."""


class Source(Protocol):
    """Where guesses come from, for one row."""

    def may_guess(self, tokens: list[int]) -> bool:
        """Whether it is likely to know what comes behind the token that follows `tokens`."""

    def guess(self, tokens: list[int], count: int) -> list[int]:
        """At most `count` tokens that may follow `tokens`."""


class Lookup:
    """Guesses that the text repeats itself: what followed these last tokens before."""

    def __init__(self) -> None:
        self._tokens: list[int] = []
        self._followed: dict[tuple[int, ...], int] = {}  # n-grams, and where the latest one of each ended

    def may_guess(self, tokens: list[int]) -> bool:
        self._learn(tokens)
        return self._place(tokens) is not None

    def guess(self, tokens: list[int], count: int) -> list[int]:
        self._learn(tokens)
        place = self._place(tokens)
        return [] if place is None else tokens[place : place + count]

    def _learn(self, tokens: list[int]) -> None:
        """Note the n-grams of what is new; the last ones only when something follows them."""
        for end in range(max(len(self._tokens), 1), len(tokens)):
            for length in NGRAM_TOKENS:
                if end >= length:
                    self._followed[tuple(tokens[end - length : end])] = end
        self._tokens = tokens

    def _place(self, tokens: list[int]) -> int | None:
        for length in NGRAM_TOKENS:
            place = self._followed.get(tuple(tokens[-length:]))
            if place is not None:
                return place
        return None


class Draft:
    """Guesses that a smaller model with the same vocabulary would say."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._caches = fresh_caches(model)
        self._held: list[int] = []

    def may_guess(self, tokens: list[int]) -> bool:  # noqa: ARG002 -- it always has something to say
        return True

    def guess(self, tokens: list[int], count: int) -> list[int]:
        self._rewind_to(tokens)
        unread = tokens[len(self._held) :]
        logits = self._model(mx.array([unread]), cache=self._caches)
        said = [mx.argmax(logits[:, -1], axis=-1)]
        for _ in range(count - 1):
            logits = self._model(said[-1][:, None], cache=self._caches)
            said.append(mx.argmax(logits[:, -1], axis=-1))
        guessed: list[int] = mx.concatenate(said).tolist()  # type: ignore[assignment]
        self._held = [*tokens, *guessed[:-1]]
        return guessed

    def _rewind_to(self, tokens: list[int]) -> None:
        """Forget what was guessed wrongly, and the last token, which has to be read to go on."""
        most = min(len(self._held), len(tokens) - 1)
        pairs = zip(self._held[:most], tokens, strict=False)
        shared = next((place for place, (a, b) in enumerate(pairs) if a != b), most)
        for cache in self._caches:
            cache.trim(len(self._held) - shared)
        del self._held[shared:]


class Speculation:
    """Guesses for whichever row is alone, from a `draft` model if there is one."""

    def __init__(self, draft: Any = None) -> None:
        self._draft = draft
        self._plain_seconds = 0.0  # of a step that gives one token
        self._plain_steps = 0
        self._pause = 0  # tokens for which no guesses are made
        self._source: Source = Lookup()
        self._begin(None)

    def step(self, batch: Batch, *, is_undisturbed: bool) -> list[Made]:
        """A step of the batch, in which a row that is alone may get several tokens. How long it takes says
        whether guesses pay, if it `is_undisturbed` by other work.
        """
        seat = self._row_of(batch)
        began = time.monotonic()
        if seat is None or self._count(seat) < 1 or not self._source.may_guess(seat.tokens):
            batch.dispatch()
            made = batch.read()
            if seat is not None and is_undisturbed and batch.took is not None and not batch.took.read_tokens:
                self._plain_seconds = _blend(self._plain_seconds, batch.took.seconds)
                self._plain_steps += 1
                self._pause = max(self._pause - 1, 0)
            return made
        count = self._count(seat)
        pending = batch.peek()
        guess: list[int] = []
        if pending not in seat.row.stop_tokens and batch.can_leap(count + 1):
            guess = self._source.guess([*seat.tokens, pending], count)
        made = batch.leap(pending, guess)
        if guess:
            self._learn_length(len(guess), right=len(made) - 1)
            if is_undisturbed:
                self._learn_cost(time.monotonic() - began, len(made))
        return made

    def _row_of(self, batch: Batch) -> Seat | None:
        """The row that is alone and may be guessed for."""
        seat = batch.alone
        if seat is None or not seat.has_begun or not seat.is_plain or seat.row.top_logprobs is not None:
            seat = None
        if seat is not self._seat:
            self._begin(seat)
        return seat

    def _begin(self, seat: Seat | None) -> None:
        self._seat = seat
        self._source = Lookup() if self._draft is None else Draft(self._draft)
        self._length, self._pause, self._next_pause = FIRST_GUESS, 0, FIRST_PAUSE_TOKENS
        self._trials, self._token_seconds = 0, 0.0

    def _count(self, seat: Seat) -> int:
        """How many tokens to guess now; none while it does not pay, or it is not known what it saves."""
        if self._pause or self._plain_steps < TRIALS:
            return 0
        return min(self._length, seat.row.max_tokens - len(seat.row.said) - 1)

    def _learn_length(self, guessed: int, *, right: int) -> None:
        self._length = min(self._length + 1, LONGEST_GUESS) if right == guessed else max(right, 1) + 1

    def _learn_cost(self, seconds: float, made: int) -> None:
        self._trials += 1
        self._token_seconds = _blend(self._token_seconds, seconds / made)
        if self._trials < TRIALS:
            return
        if self._token_seconds > self._plain_seconds:
            self._pause = self._next_pause
            self._next_pause = min(self._next_pause * 2, LONGEST_PAUSE_TOKENS)
            self._trials, self._token_seconds, self._length = 0, 0.0, FIRST_GUESS
        else:
            self._next_pause = FIRST_PAUSE_TOKENS


def _blend(known: float, news: float) -> float:
    return known + NEWS_SHARE * (news - known) if known else news
