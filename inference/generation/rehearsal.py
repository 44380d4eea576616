"""A first run of a model that nobody waits for: what a GPU does once, it does here and not for a client.

Imports mlx: loaded by the model process only. On a GPU kernels are compiled or loaded when they are first
used, one by one, and a step in which that happens takes a hundred times as long. So rows of all kinds join,
decode together, read a long prompt beside each other and leave, before the server is ready. What reading
costs on this machine is known then, too, so the first long prompt is read in chunks of the right size.

An NVIDIA card has kernels of its own for many sizes of matrices, and to load one takes as long as half a
step: so as many rows join there as may, and prompts of odd lengths are read as those of clients will be.
"""

from __future__ import annotations

import logging
import time
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import mlx.core as mx

from inference.cache.kept_state import keeps_every_token
from inference.cache.prompt_cache import PromptCache
from inference.generation.pace import SMALLEST_CHUNK_TOKENS, Pace
from inference.generation.scheduler import Scheduler
from inference.hardware.on_cpu import computes_on_cpu
from inference.work import Row, Sampling

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from contextlib import AbstractContextManager

    from inference.generation.pace import Sizes
    from inference.generation.room import Limits

    FewRows = Callable[[Pace], AbstractContextManager["_Rows"]]

logger = logging.getLogger(__name__)

MOST_SECONDS = 120.0
"""A model gets no further, and starts with what is ready by then. To compile kernels takes about a minute
on an NVIDIA card that has never run any; the next start finds them on the disk, and takes 12 to 19 s.
"""
MOST_SECONDS_COMPILED = 20.0
"""The same where kernels come compiled, as MLX's for Metal: all that is to be done is to learn what reading
costs, and whoever has woken the model waits meanwhile.
"""
CHUNKS_OF_A_SIZE = 3
"""What happens in the first one says nothing of what the others cost."""
FEW_APART = 64, 256
"""Passes of their own, where all sizes are multiplied by the same kernels."""
STEPS_BETWEEN = 4
MOST_TOGETHER = 32
"""So many rows at the most meet each other."""
ODD_TOKENS = 601, 1310, 2717, 4003
"""A conversation that grows: what was read before, and what is new, ends anywhere within a kernel's tile."""
SHORT_TOKENS = 3, 40, 24, 9
"""Prompts of rows that join one after the other."""
KINDS: tuple[dict[str, Any], ...] = (
    {"sampling": Sampling(temperature=0)},
    {"sampling": Sampling(seed=1)},
    {"sampling": Sampling(temperature=0.8, top_p=0.9, top_k=40, min_p=0.01, seed=1), "top_logprobs": 2},
    {
        "sampling": Sampling(frequency_penalty=0.1, repetition_penalty=1.1, logit_bias=((1, 1.0),), seed=1),
        "min_tokens": 2,
        "stop_tokens": (0,),
    },
)
"""Every way in which tokens are drawn."""
CACHE_BYTES = 256 * 1024**2


def known_pace(model: Any, limits: Limits, *, context_length: int) -> Pace | None:
    """That of a rehearsal, where the model computes on a GPU. None on a processor: nothing is known yet."""
    return None if computes_on_cpu() else rehearse(model, limits, context_length=context_length)


def rehearse(model: Any, limits: Limits, *, context_length: int) -> Pace:
    """Run it once. What is known afterwards of how long steps and reading take. Never raises."""
    pace = Pace(limits.chunks)
    began = time.monotonic()
    compiles = limits.chunks.are_few
    until = began + (MOST_SECONDS if compiles else MOST_SECONDS_COMPILED)
    logger.info(
        "The model is run once.%s",
        " Where it never ran before, to compile its kernels may take two minutes." if compiles else "",
    )
    few_rows = partial(_few_rows, model, limits, context_length=context_length, until=until)
    try:
        if compiles:  # which says nothing of what reading costs later
            first = Pace(limits.chunks)
            _read_every_size(few_rows, limits, learns=first)
            _meet_clients(few_rows, first)
        _read_every_size(few_rows, limits, learns=pace)
    except Exception:
        logger.exception("The first run of the model failed. The server starts all the same.")
        pace = Pace(limits.chunks)
    finally:
        mx.reset_peak_memory()  # what it has used stays at hand: a GPU takes milliseconds to give more
    logger.info("The model's kernels are warm: that took %.1f s.", time.monotonic() - began)
    return pace


def _read_every_size(few_rows: FewRows, limits: Limits, *, learns: Pace) -> None:
    every_size = EverySize(limits.chunks, learns)
    with few_rows(every_size) as rows:
        for begin, (size, beside) in enumerate(_sizes(limits)):
            every_size.size, every_size.is_beside = size, beside
            rows.read(CHUNKS_OF_A_SIZE * size, begin=begin)


def _meet_clients(few_rows: FewRows, pace: Pace) -> None:
    with few_rows(pace) as rows:
        for length in ODD_TOKENS:
            rows.read(length)
        rows.crowd(MOST_TOGETHER)


def _sizes(limits: Limits) -> list[tuple[int, bool]]:
    """Of chunks to meet, and whether they are read beside rows."""
    chunks = limits.chunks
    doublings = range((chunks.most // chunks.least).bit_length() if limits.reads_beside else 0)
    apart = chunks.choice(chunks.most_apart) if chunks.are_few else FEW_APART
    return [(chunks.least << doubling, True) for doubling in doublings] + [
        (size, False) for size in apart if SMALLEST_CHUNK_TOKENS <= size <= chunks.most_apart
    ]


class EverySize(Pace):
    """Chunks of a `size` that somebody chooses, however long they take; another pace `learns` how long."""

    def __init__(self, sizes: Sizes, learns: Pace) -> None:
        super().__init__(sizes)
        self._learns = learns
        self.size, self.is_beside = sizes.least, False

    def looks(self) -> bool:
        return False

    def beside(self, rows: int) -> int:
        return max(self.size - rows, 1) if self.is_beside else 0

    def apart(self, unread: int) -> int:
        return min(self.size, unread)

    def has_time(self, tokens: int, *, layers: int, seconds: float) -> bool:  # noqa: ARG002
        return True

    def note(self, seconds: float, *, read_tokens: int = 0) -> None:
        self._learns.note(seconds, read_tokens=read_tokens)

    def note_layers(self, tokens: int, *, layers: float, seconds: float) -> None:
        self._learns.note_layers(tokens, layers=layers, seconds=seconds)

    def note_slice(self, seconds: float, tokens: int, *, layers: float) -> None:
        self._learns.note_slice(seconds, tokens, layers=layers)


@contextmanager
def _few_rows(
    model: Any, limits: Limits, pace: Pace, *, context_length: int, until: float
) -> Generator[_Rows]:
    """They say something as long as this lasts, and leave then."""
    cache = PromptCache(max_bytes=CACHE_BYTES, cuts_anywhere=keeps_every_token(model))
    scheduler = Scheduler(model, prompt_cache=cache, limits=limits, pace=pace)
    rows = _Rows(scheduler, context_length=context_length, until=until)
    try:
        rows.begin()
        yield rows
        rows.end()
    finally:
        scheduler.close()


class _Rows:
    def __init__(self, scheduler: Scheduler, *, context_length: int, until: float) -> None:
        self._scheduler = scheduler
        self._context_length = context_length
        self._until = until
        self._rows: list[Row] = []

    @property
    def _is_over(self) -> bool:
        return time.monotonic() >= self._until

    def begin(self) -> None:
        """As many as may run beside a long prompt, or one after the other."""
        most = self._scheduler.max_rows
        for length, kind in [*zip(SHORT_TOKENS, KINDS, strict=True)][: most - 1 or None]:
            self._add(_row(range(length), self._context_length - length if most > 1 else STEPS_BETWEEN, kind))

    def crowd(self, most: int) -> None:
        """Others join them, one by one, until they are so many, and leave."""
        length, others = SHORT_TOKENS[0], []
        for _ in range(min(most, self._scheduler.max_rows) - len(self._rows)):
            others.append(_row(range(length), self._context_length - length, KINDS[0]))
            self._begin(others[-1], steps=0)
        for row in others:
            row.cancelled = True
        self._steps(STEPS_BETWEEN)

    def read(self, tokens: int, *, begin: int = 0) -> None:
        """Beside them, a prompt of so many tokens. The prompt cache knows those that begin like it."""
        self._steps(STEPS_BETWEEN)  # what they take has to be known, to tell what reading does
        length = min(tokens, self._context_length - 1)
        self._begin(_row(range(begin, begin + length), 1, KINDS[0]))

    def end(self) -> None:
        for row in self._rows:  # the others go on without it
            row.cancelled = True
            self._steps(STEPS_BETWEEN)

    def _add(self, row: Row) -> None:
        self._rows.append(row)
        self._begin(row)

    def _begin(self, row: Row, *, steps: int = STEPS_BETWEEN) -> None:
        """Until it has said something, and then some steps."""
        self._scheduler.add(row)
        while not row.said and not self._is_over:
            self._steps(1)
        self._steps(steps)

    def _steps(self, count: int) -> None:
        for _ in range(count):
            if self._is_over:
                return
            for _, step in self._scheduler.step():
                if step.error is not None:
                    raise step.error


def _row(prompt: range, max_tokens: int, kind: dict[str, Any]) -> Row:
    tokens = [1 + token % 97 for token in prompt]  # any, in any vocabulary
    return Row(**{"stop_tokens": (), **kind}, prompt=tokens, max_tokens=max_tokens, deliver=lambda _: None)
