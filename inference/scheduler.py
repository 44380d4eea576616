"""Which rows the model works on: they wait, join, leave and fail here, around mlx-lm's continuous batch.

Imports mlx: loaded by the model process only, and everything here runs on the engine thread. Prompts are
read in chunks between the decoding steps of the others, so the chunk is what a long prompt costs everybody
else.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import mlx.core as mx
from mlx_lm.generate import BatchGenerator, StopSequences

from inference.errors import GenerationFailed
from inference.guide import Guide
from inference.kept_state import reads_alone
from inference.pace import SMALLEST_CHUNK_TOKENS, Pace
from inference.prompt_cache import SHORTEST_REUSE_TOKENS
from inference.sampling import greedy, processors_for, sampler_for, top_tokens
from inference.suspects import Suspects
from inference.work import Row, Step, Token

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from inference.prompt_cache import PromptCache

logger = logging.getLogger(__name__)

PROMPTS_AT_ONCE = 4
"""How many prompts may share a chunk that is too small for them. More would make each of many long prompts
wait for all of them."""
SMALLEST_SHARE_TOKENS = SMALLEST_CHUNK_TOKENS // PROMPTS_AT_ONCE
WORTH_WAITING_TOKENS = 64
"""A row begins after another one that is reading the same, if that saves it at least so many tokens."""


class Scheduler:
    """Rows in, steps out. `chunk_tokens` is how much of prompts may be read between two steps of running
    rows.
    """

    def __init__(self, model: Any, *, prompt_cache: PromptCache, max_rows: int, chunk_tokens: int) -> None:
        self._model = model
        self._prompt_cache = prompt_cache
        self._max_rows = max_rows
        self._most_prompts = 1 if reads_alone(model) else max_rows
        self._pace = Pace(most_tokens=chunk_tokens)
        self._waiting: deque[Row] = deque()
        self._running: dict[int, Row] = {}  # by the generator's id
        self._reading: dict[int, int] = {}  # tokens of their prompts that running rows have yet to read
        self._finished: list[tuple[list[int], list[Any]]] = []  # tokens and caches, to be kept
        self._suspects = Suspects()
        self._generator = self._new_generator()

    @property
    def waiting(self) -> int:
        return len(self._waiting) + self._suspects.waiting

    @property
    def running(self) -> int:
        return len(self._running)

    @property
    def has_work(self) -> bool:
        return bool(self._running or self.waiting or self._finished)

    def add(self, row: Row) -> None:
        self._waiting.append(row)

    def step(self) -> list[tuple[Row, Step]]:
        """One step of the model for all rows: each decodes a token, waiting ones join, prompts are read on.

        Never raises. When the model does, the row that made it fail is looked for and fails alone; the
        others go on from what they had said.
        """
        self._keep_finished()
        self._drop_cancelled()
        steps = self._join()
        if not self._running:
            return steps
        try:
            for response in self._advance():
                steps.append(self._step_of(response))  # one by one: those before a failure stay
        except Exception:
            logger.exception("A step of the model failed.")
            steps += self._recover()
        return steps

    def close(self) -> None:
        self._running.clear()
        self._waiting.clear()
        self._suspects.clear()
        self._finished.clear()
        self._prompt_cache.clear()
        self._generator.close()

    def _new_generator(self) -> BatchGenerator:
        return BatchGenerator(
            self._model,
            sampler=greedy,
            completion_batch_size=self._max_rows,
            prefill_batch_size=min(PROMPTS_AT_ONCE, self._most_prompts),
        )

    def _advance(self) -> list[Any]:
        """Let the model work, and learn from how long it took."""
        decoding = len(self._running) > len(self._reading)
        self._share_out(self._pace.chunk_tokens(decoding=decoding))
        began = time.monotonic()
        prompts, tokens = self._generator.next()
        seconds = time.monotonic() - began
        if not any(prompt.end_of_prompt for prompt in prompts):  # to begin an answer takes a step of its own
            read = sum(self._reading[prompt.uid] - _unread(prompt) for prompt in prompts)
            self._pace.note(seconds, decoding=decoding, read_tokens=read)
        self._note_reading(prompts)
        return list(tokens)

    def _share_out(self, budget: int) -> None:
        """How many prompts the next step reads, in their order, and how much of each: together one chunk.

        As many short ones as fit are read at once; long ones share the chunk among a few.
        """
        prompts, longest = 0, 0
        for unread in self._reading.values():
            longest = max(longest, unread)
            if prompts == self._most_prompts:
                break
            if prompts >= PROMPTS_AT_ONCE and longest * (prompts + 1) > budget:
                break
            prompts += 1
        self._generator.prefill_batch_size = max(prompts, 1)
        self._generator.prefill_step_size = max(budget // max(prompts, 1), SMALLEST_SHARE_TOKENS)

    def _drop_cancelled(self) -> None:
        if any(row.cancelled for row in self._waiting):
            self._waiting = deque(row for row in self._waiting if not row.cancelled)
        left = [uid for uid, row in self._running.items() if row.cancelled]
        if left:
            read = self._generator.remove(left, return_prompt_caches=True)
            self._finished += [(tokens, caches) for caches, tokens in read.values()]
            self._forget(left)

    def _join(self) -> list[tuple[Row, Step]]:
        """Rows that wait join while there is room. One that the generator refuses fails alone."""
        failed = []
        while len(self._running) < self._max_rows and (row := self._next_to_join()):
            try:
                uid, known_tokens = self._insert(row)
            except Exception as error:
                logger.exception("A request could not be started.")
                self._suspects.forget(row)
                failed.append(
                    (row, Step(error=GenerationFailed(f"This request could not be started: {error}.")))
                )
                continue
            self._running[uid] = row
            self._reading[uid] = len(row.tokens) - known_tokens
        return failed

    def _next_to_join(self) -> Row | None:
        if self._suspects:
            return self._suspects.next_row()
        row = next((row for row in self._waiting if not self._is_being_read(row.prompt)), None)
        if row is not None:
            self._waiting.remove(row)
        return row

    def _is_being_read(self, prompt: Sequence[int]) -> bool:
        """Whether a running row is reading what this prompt can then have from the cache."""
        for uid, unread in self._reading.items():
            other = self._running[uid]
            needed = len(other.prompt) - 1
            if self._prompt_cache.cuts_anywhere:
                needed = min(needed, other.cached_tokens + WORTH_WAITING_TOKENS)
            saved = needed - other.cached_tokens
            if unread > 1 and saved >= WORTH_WAITING_TOKENS and other.prompt[:needed] == prompt[:needed]:
                return bool(self._prompt_cache.max_bytes)
        return False

    def _insert(self, row: Row) -> tuple[int, int]:
        """The generator's id for the row, and how many of its tokens need not be read."""
        tokens = row.tokens
        with mx.stream(self._generator.stream):
            known = self._prompt_cache.fetch(tokens)
        processors = processors_for(
            row.sampling,
            prompt_length=len(row.prompt),
            min_tokens=row.min_tokens,
            stop_tokens=row.stop_tokens,
        )
        if row.matcher is not None:
            processors.append(Guide(row, row.matcher))  # the last, so that nothing opens what it has closed
        begin, parting = known.length, known.parting or known.length
        (uid,) = self._generator.insert_segments(
            [[tokens[begin:parting], tokens[parting:]]],
            max_tokens=[row.max_tokens - len(row.said)],
            caches=None if known.caches is None else [known.caches],
            all_tokens=[tokens[:begin]],
            samplers=[sampler_for(row.sampling, row.choice, drawn=len(row.said))],
            logits_processors=[processors],
            stop_sequences=[_stop_sequences(row.stop_tokens)],
        )
        if not row.said:
            row.cached_tokens = known.length
        return int(uid), known.length

    def _note_reading(self, prompts: Iterable[Any]) -> None:
        for prompt in prompts:
            _, length = prompt.progress
            if prompt.end_of_segment and not prompt.end_of_prompt and length >= SHORTEST_REUSE_TOKENS:
                self._keep_prompt(prompt.uid)
            if prompt.end_of_prompt:
                del self._reading[prompt.uid]
            else:
                self._reading[prompt.uid] = _unread(prompt)

    def _step_of(self, response: Any) -> tuple[Row, Step]:
        row = self._running[response.uid]
        self._suspects.note_step(row)
        if row.stuck is not None and response.finish_reason is None:
            self._generator.remove([response.uid])
            self._forget([response.uid])
            return row, Step(error=GenerationFailed(row.stuck))
        if response.finish_reason is not None:
            self._forget([response.uid])
            self._finished.append((response.all_tokens, response.prompt_cache))
        if response.finish_reason == "stop":
            return row, Step(finish_reason="stop", stop_token=response.token)
        token = _token(row, response)
        row.said.append(token.id)
        return row, Step(token, response.finish_reason)

    def _keep_prompt(self, uid: int) -> None:
        """Now, not when the answer is finished: others may be waiting for it."""
        with mx.stream(self._generator.stream):
            caches, tokens = self._generator.extract_cache([uid])[uid]
        self._keep(tokens, caches)

    def _keep_finished(self) -> None:
        """One step after the rows ended, so that their last tokens do not wait for it."""
        for tokens, caches in self._finished:
            self._keep(tokens, caches)
        self._finished.clear()

    def _keep(self, tokens: Sequence[int], caches: Sequence[Any]) -> None:
        try:
            with mx.stream(self._generator.stream):
                self._prompt_cache.store(tokens, caches)
        except Exception:  # such as a lack of memory: then the cache is the first thing to go
            logger.exception("What was read could not be kept. The prompt cache is emptied.")
            self._prompt_cache.clear()

    def _recover(self) -> list[tuple[Row, Step]]:
        """Begin a new batch. The end of the rows that must be given up."""
        running = list(self._running.values())
        guilty, innocent = self._suspects.accuse(running)
        logger.error("%d requests were in it. %d of them fail now.", len(running), len(guilty))
        self._running.clear()
        self._reading.clear()
        self._waiting.extendleft(reversed(innocent))
        self._generator.close()
        self._generator = self._new_generator()
        mx.clear_cache()
        error = GenerationFailed("The model failed while it was working on this request. Try again.")
        return [(row, Step(error=error)) for row in guilty]

    def _forget(self, uids: Iterable[int]) -> None:
        for uid in uids:
            self._suspects.forget(self._running.pop(uid))
            self._reading.pop(uid, None)


def _unread(prompt: Any) -> int:
    read, length = prompt.progress
    return int(length - read)


@lru_cache(maxsize=64)
def _stop_sequences(stop_tokens: tuple[int, ...]) -> StopSequences:
    return StopSequences([[token] for token in stop_tokens])


def _token(row: Row, response: Any) -> Token:
    if row.top_logprobs is None:
        return Token(response.token)
    logprob = response.logprobs[response.token].item()
    if row.top_logprobs == 0:
        return Token(response.token, logprob)
    tokens, values = top_tokens(response.logprobs, row.top_logprobs)
    return Token(response.token, logprob, tuple(zip(tokens.tolist(), values.tolist(), strict=True)))
