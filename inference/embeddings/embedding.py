"""Embedding jobs on the engine thread: one bounded pass per step, so that streams go on in between.

A pass takes inputs of like length from all jobs that wait, so that small requests share it, and little of it
is padding. The job that it is for is by turns the oldest one and the one with the fewest inputs left: a small
one does not wait for a large one, and the large one gets on.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from itertools import chain, groupby, islice
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from inference.errors import GenerationFailed
from inference.work import EmbeddingJob, Message, Vectors

if TYPE_CHECKING:
    from collections.abc import Sequence

    from inference.embeddings.encoder import Encoder

logger = logging.getLogger(__name__)

MOST_CANDIDATES = 4096
"""Of so many waiting inputs the next pass is made. To look at more would cost more than it saves."""
FAILED = "The embedding model failed while it was working on this request. Try again."


@dataclass(slots=True, eq=False)
class Progress:
    """A job, its vectors so far, and the places of the inputs that are left, the longest first."""

    job: EmbeddingJob
    vectors: Any
    left: list[int]
    error: GenerationFailed | None = None


class Input(NamedTuple):
    of: Progress
    place: int

    @property
    def tokens(self) -> list[int]:
        return self.of.job.inputs[self.place]


def _inputs_left(progress: Progress) -> list[Input]:
    return [Input(progress, place) for place in progress.left]


class EmbeddingQueue:
    """Jobs in, vectors out. Many small jobs may end in one step, and a small one before a large one."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self._waiting: list[Progress] = []  # the oldest first
        self._oldest_next = True
        self.in_doubt = False
        """Whether a job has failed, and nobody has looked since whether the model can do anything."""

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def add(self, job: EmbeddingJob) -> None:
        vectors = np.empty((len(job.inputs), self._encoder.dimensions), dtype=np.float32)
        by_length = sorted(range(len(job.inputs)), key=lambda place: len(job.inputs[place]), reverse=True)
        self._waiting.append(Progress(job, vectors, by_length))

    def clear(self) -> None:
        self._waiting.clear()

    def step(self) -> list[Message]:
        """Encode one pass. Never raises: a job that the model cannot encode fails, and it alone."""
        self._waiting = [one for one in self._waiting if not one.job.cancelled]
        chosen = self._next_pass()
        try:
            self._encode(chosen)
        except Exception:
            logger.exception("A pass of the embedding model failed. Its requests are tried one by one.")
            for _, theirs in groupby(chosen, key=lambda one: one.of):
                self._encode_alone([*theirs])
        ended = [one for one in self._waiting if one.error is not None or not one.left]
        self._waiting = [one for one in self._waiting if one not in ended]
        return [
            (one.job, Vectors(one.vectors) if one.error is None else Vectors(error=one.error))
            for one in ended
        ]

    def examine(self) -> None:
        """Have the model read a token. Raises what it raises; if nothing, it is in doubt no more."""
        self._encoder.encode([[0]])
        self.in_doubt = False

    def _next_pass(self) -> list[Input]:
        """The longest input of the job whose turn it is, and the longest ones of all jobs that are no longer
        than that one and fit into the pass; those of a job together.
        """
        if not self._waiting:
            return []
        self._oldest_next = not self._oldest_next
        fewest = min(self._waiting, key=lambda one: len(one.left))
        anchor = fewest if self._oldest_next else self._waiting[0]
        first = Input(anchor, anchor.left[0])
        longest = len(first.tokens)
        everything = chain.from_iterable(map(_inputs_left, [anchor, *self._waiting]))
        others = [
            one for one in islice(everything, MOST_CANDIDATES) if len(one.tokens) <= longest and one != first
        ]
        others.sort(key=lambda one: len(one.tokens), reverse=True)
        chosen = dict.fromkeys([first, *others])  # the anchor's stand there twice
        count = max(1, self._encoder.tokens_per_pass // longest)
        return sorted(islice(chosen, count), key=lambda one: id(one.of))

    def _encode(self, chosen: Sequence[Input]) -> None:
        if not chosen:
            return
        found = self._encoder.encode([one.tokens for one in chosen])
        for one, vector in zip(chosen, found, strict=True):
            one.of.vectors[one.place] = vector
            one.of.left.remove(one.place)

    def _encode_alone(self, theirs: Sequence[Input]) -> None:
        try:
            self._encode(theirs)
        except Exception:
            logger.exception("An embedding request failed.")
            self.in_doubt = True
            theirs[0].of.error = GenerationFailed(FAILED)
