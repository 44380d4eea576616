"""Counts what comes of requests, for the status pages and for Prometheus. A few microseconds a request.

What is counted gathers in `pending` until it is taken away, to be added to what all processes have counted.
"""

from __future__ import annotations

import time
from functools import lru_cache
from hashlib import blake2b
from typing import TYPE_CHECKING

from endpoints.routing.snapshot import snapshot
from proxy.records.counts import (
    DURATION_BOUNDS,
    FIRST_TOKEN_BOUNDS,
    MAX_CALLERS,
    OVERHEAD_BOUNDS,
    PER_TOKEN_BOUNDS,
    POSITION_BOUNDS,
    TOKEN_BOUNDS,
    WAIT_BOUNDS,
    Counts,
    ModelCounts,
    OperationCounts,
)

if TYPE_CHECKING:
    from endpoints.routing.snapshot import Snapshot
    from proxy.answer.usage import Tokens
    from proxy.records.record import Outcome

FIRST_FAILED_STATUS = 500
# A name that a client made up must not become a label.
OTHER = "other"
MAX_MODELS = 1000
OPERATIONS = {
    "chat/completions": "chat",
    "messages": "chat",
    "responses": "chat",
    "completions": "text_completion",
    "embeddings": "embeddings",
    "rerank": "rerank",
}
CLASSES = ("none", "1xx", "2xx", "3xx", "4xx", "5xx")
# Fewer tokens say more of the first one than of the pace.
MIN_TIMED_TOKENS = 2


class Meter:
    """The counts of one process since they were last taken. For one event loop."""

    def __init__(self) -> None:
        self.started_at = time.time()
        self.pending = Counts(since=self.started_at)
        self._seen: Snapshot | None = None
        self._known: frozenset[str] = frozenset()
        self._found: dict[tuple[str | None, str], tuple[ModelCounts, OperationCounts]] = {}

    def take(self) -> Counts:
        self._found.clear()
        taken, self.pending = self.pending, Counts(since=self.started_at)
        return taken

    def waited(self, seconds: float, position: int) -> None:
        """A request got its place in the queue's turn. `position`: how many waited when it had come."""
        self.pending.queue_wait.observe(seconds, WAIT_BOUNDS)
        self.pending.queue_position.observe(position, POSITION_BOUNDS)
        self.pending.queue_wait_max = max(self.pending.queue_wait_max, seconds)

    def close(self, outcome: Outcome) -> None:
        """Count a request that is over."""
        pending = self.pending
        pending.requests += 1
        if outcome.client_left:
            pending.disconnects += 1
        code = outcome.error_code
        if code:
            pending.errors[code] = pending.errors.get(code, 0) + 1
        tried = len(outcome.attempts)
        if tried > 1:
            pending.failovers += tried - 1
        if outcome.overhead is not None:
            pending.overhead.observe(outcome.overhead, OVERHEAD_BOUNDS)
        if tried:
            self._count_model(outcome)

    def _count_model(self, outcome: Outcome) -> None:
        counts, operation = self._counts_of(outcome.served_model or outcome.model, outcome.route)
        status = outcome.status
        counts.requests += 1
        if not outcome.client_left:
            if status >= FIRST_FAILED_STATUS or status == 0 or outcome.error_code:
                counts.failures += 1
            else:
                counts.successes += 1
        counts.bytes_out += outcome.bytes_out
        counts.duration_sum += outcome.duration
        counts.durations.observe(outcome.duration)
        counts.last_at = time.time()
        if outcome.caller and len(counts.callers) < MAX_CALLERS:
            counts.callers.add(_anonymous(outcome.caller))
        if outcome.routing is not None:
            decision = outcome.routing[1]
            counts.routed += decision == "routed"
            counts.fallbacks += decision == "fallback"
        answer = CLASSES[status // 100]
        operation.answers[answer] = operation.answers.get(answer, 0) + 1
        operation.duration.observe(outcome.duration, DURATION_BOUNDS)
        if outcome.ttft is not None:
            counts.first_bytes.observe(outcome.ttft)
            if outcome.stream:
                operation.first_token.observe(outcome.ttft, FIRST_TOKEN_BOUNDS)
        if outcome.tokens is not None:
            _count_tokens(counts, operation, outcome, outcome.tokens)

    def _counts_of(self, model: str | None, route: str) -> tuple[ModelCounts, OperationCounts]:
        """Of a model, and of what is asked of it."""
        if snapshot() is not self._seen:
            self._found.clear()
        found = self._found.get((model, route))
        if found is None:
            counts = self._model(model)
            found = counts, self._operation(counts, route)
            if len(self._found) < MAX_MODELS:
                self._found[model, route] = found
        return found

    def _model(self, name: str | None) -> ModelCounts:
        now = snapshot()
        if now is not self._seen:
            self._seen = now
            self._known = frozenset().union(*(target.model_names for target in now.targets))
        models = self.pending.models
        if name not in self._known or (name not in models and len(models) >= MAX_MODELS):
            name = OTHER
        counts = models.get(name)
        if counts is None:
            counts = models[name] = ModelCounts()
        return counts

    @staticmethod
    def _operation(counts: ModelCounts, route: str) -> OperationCounts:
        name = operation_of(route)
        found = counts.operations.get(name)
        if found is None:
            found = counts.operations[name] = OperationCounts()
        return found


def operation_of(route: str) -> str:
    """What is asked for at a path, in the words of OpenTelemetry's conventions, such as `chat`."""
    return OPERATIONS.get(route.rstrip("/").rpartition("/v1/")[2], OTHER)


def _count_tokens(counts: ModelCounts, operation: OperationCounts, outcome: Outcome, tokens: Tokens) -> None:
    if tokens.prompt is not None:
        counts.prompt_tokens += tokens.prompt
        operation.input_tokens.observe(tokens.prompt, TOKEN_BOUNDS)
    if tokens.cached is not None:
        counts.cached_tokens += tokens.cached
    written = tokens.completion
    if written is None:
        return
    counts.completion_tokens += written
    operation.output_tokens.observe(written, TOKEN_BOUNDS)
    if outcome.stream and outcome.ttft is not None and written >= MIN_TIMED_TOKENS:
        # After the first token: what comes before it is the reading of the prompt.
        seconds = outcome.duration - outcome.ttft
        operation.per_token.observe(seconds / (written - 1), PER_TOKEN_BOUNDS)
        counts.timed_tokens += written - 1
        counts.writing_seconds += seconds


@lru_cache(maxsize=4096)
def _anonymous(caller: str) -> str:
    """Callers are only told apart, not kept."""
    return blake2b(caller.encode(), digest_size=6).hexdigest()
