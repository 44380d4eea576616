"""Embedding jobs on the engine thread: a bounded batch per step, so that streams go on in between."""

from __future__ import annotations

import logging
from collections import deque
from typing import TYPE_CHECKING, Any

import numpy as np

from inference.errors import GenerationFailed
from inference.work import EmbeddingJob, Message, Vectors

if TYPE_CHECKING:
    from inference.encoder import Encoder

logger = logging.getLogger(__name__)

TOKENS_PER_STEP = 512
"""Padded tokens in one batch. A single longer input is a batch of its own."""


class EmbeddingQueue:
    """Jobs in, vectors out, in the order they came."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self._jobs: deque[EmbeddingJob] = deque()
        self._done: list[Any] = []  # vectors of the first job's inputs so far
        self._inputs_done = 0

    @property
    def waiting(self) -> int:
        return len(self._jobs)

    def add(self, job: EmbeddingJob) -> None:
        self._jobs.append(job)

    def clear(self) -> None:
        self._jobs.clear()
        self._done, self._inputs_done = [], 0

    def step(self) -> list[Message]:
        """Encode one batch. Never raises: a job that the model cannot encode fails, the next ones do not."""
        if not self._jobs:
            return []
        job = self._jobs[0]
        if job.cancelled:
            self._next_job()
            return []
        try:
            self._encode_batch(job)
        except Exception:
            logger.exception("An embedding batch failed. Its request is lost.")
            self._next_job()
            error = GenerationFailed(
                "The embedding model failed while it was working on this request. Try again."
            )
            return [(job, Vectors(error=error))]
        if self._inputs_done < len(job.inputs):
            return []
        vectors = np.concatenate(self._done)
        self._next_job()
        return [(job, Vectors(vectors))]

    def _encode_batch(self, job: EmbeddingJob) -> None:
        batch = _next_batch(job.inputs, self._inputs_done)
        self._done.append(self._encoder.encode(batch))
        self._inputs_done += len(batch)

    def _next_job(self) -> None:
        self._jobs.popleft()
        self._done = []
        self._inputs_done = 0


def _next_batch(inputs: list[list[int]], start: int) -> list[list[int]]:
    """The inputs from `start` on that fit into one padded batch; at least one."""
    longest = 0
    for end in range(start, len(inputs)):
        longest = max(longest, len(inputs[end]))
        if end > start and longest * (end - start + 1) > TOKENS_PER_STEP:
            return inputs[start:end]
    return inputs[start:]
