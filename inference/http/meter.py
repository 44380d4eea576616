"""What the server counts: tokens, requests, and how long people wait. Read by /metrics and /v1/status.

Touched on the event loop only. Labels are few and bounded: a path that nobody serves counts as `other`.
"""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

if TYPE_CHECKING:
    from inference.http.answers import Answer

RATE_WINDOW_SECONDS = 10.0
"""Tokens per second are those of the last seconds, so that the figure is about now."""
SECONDS_TO_FIRST_TOKEN = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
SECONDS_PER_TOKEN = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)
SECONDS_OF_A_REQUEST = (0.01, 0.05, 0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)


class Meter:
    """The counts of one server since it began."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._in_use, self._last_use = 0, self._began
        self._recent: deque[tuple[float, int]] = deque()
        self.registry = CollectorRegistry()
        self.prompt_tokens = 0
        self.cached_tokens = 0
        self.completion_tokens = 0
        self._requests = Counter(
            "olla_model_requests",
            "Requests that were answered, by route and status.",
            ("route", "status"),
            registry=self.registry,
        )
        self._prompt_tokens = self._counter("olla_model_prompt_tokens", "Tokens of prompts.")
        self._cached_tokens = self._counter(
            "olla_model_cached_tokens", "Tokens of prompts that did not have to be read again."
        )
        self._completion_tokens = self._counter("olla_model_completion_tokens", "Tokens generated.")
        self._seconds = self._histogram(
            "olla_model_request_seconds", "From a request to the end of its answer.", SECONDS_OF_A_REQUEST
        )
        self._to_first_token = self._histogram(
            "olla_model_time_to_first_token_seconds",
            "From a request to the first token of its answer.",
            SECONDS_TO_FIRST_TOKEN,
        )
        self._per_token = self._histogram(
            "olla_model_time_per_output_token_seconds",
            "Between the tokens of a choice, on average over the choice.",
            SECONDS_PER_TOKEN,
        )

    @property
    def uptime_seconds(self) -> float:
        return time.monotonic() - self._began

    @property
    def idle_seconds(self) -> float:
        """How long nobody has used the model: since the last request for it ended, or since the start."""
        return 0.0 if self._in_use else time.monotonic() - self._last_use

    def begin_use(self) -> None:
        self._in_use += 1

    def end_use(self) -> None:
        self._in_use -= 1
        self._last_use = time.monotonic()

    def count_request(self, route: str, status: int, seconds: float) -> None:
        self._requests.labels(route, str(status)).inc()
        self._seconds.observe(seconds)

    def count_tokens(self, tokens: int) -> None:
        """Tokens that were generated just now, for all choices of an answer together."""
        now = time.monotonic()
        self.completion_tokens += tokens
        self._completion_tokens.inc(tokens)
        self._recent.append((now, tokens))
        self._forget_before(now - RATE_WINDOW_SECONDS)

    def count_answer(self, answer: Answer) -> None:
        """An answer that has ended, well or not."""
        self.prompt_tokens += answer.prompt_tokens
        self._prompt_tokens.inc(answer.prompt_tokens)
        self.cached_tokens += answer.cached_tokens
        self._cached_tokens.inc(answer.cached_tokens)
        if answer.first_token_at is None:
            return
        self._to_first_token.observe(answer.first_token_at - answer.began)
        longest = max(choice.completion_tokens for choice in answer.choices)
        if longest > 1:
            self._per_token.observe((time.monotonic() - answer.first_token_at) / (longest - 1))

    def tokens_per_second(self) -> float:
        """Of all answers together, over the last seconds."""
        self._forget_before(time.monotonic() - RATE_WINDOW_SECONDS)
        seconds = max(min(RATE_WINDOW_SECONDS, self.uptime_seconds), 1e-3)
        return sum(tokens for _, tokens in self._recent) / seconds

    def exposition(self, gauges: dict[str, tuple[str, float]]) -> bytes:
        """Everything as Prometheus reads it. `gauges` are figures of this moment: help text and value."""
        now = CollectorRegistry()
        for name, (text, value) in gauges.items():
            Gauge(name, text, registry=now).set(value)
        return generate_latest(self.registry) + generate_latest(now)

    def _forget_before(self, moment: float) -> None:
        while self._recent and self._recent[0][0] < moment:
            self._recent.popleft()

    def _counter(self, name: str, text: str) -> Counter:
        return Counter(name, text, registry=self.registry)

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...]) -> Histogram:
        return Histogram(name, text, buckets=buckets, registry=self.registry)
