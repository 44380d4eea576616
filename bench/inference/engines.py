"""Engines inside this process, without HTTP: ours, mlx-lm's, and the model's bare step, the ceiling of both.

Needs mlx, mlx-lm, numpy, psutil and greenlet, and nothing else: neither Django nor a model folder.
"""

from __future__ import annotations

import time
from typing import Any, Protocol

import mlx.core as mx
import numpy as np
from mlx_lm.generate import BatchGenerator
from mlx_lm.models.cache import BatchKVCache, KVCache
from mlx_lm.sample_utils import make_sampler

from inference.cache.prompt_cache import PromptCache
from inference.generation.limits import limits_of
from inference.generation.rehearsal import known_pace
from inference.generation.scheduler import Scheduler
from inference.work import Row, Sampling

PROMPT_TOKENS = 128
ENDLESS_TOKENS = 100_000
WARM_UP_STEPS = 8
MAX_ROWS = 128
PROMPT_CACHE_BYTES = 4 * 1024**3


class Engine(Protocol):
    """Prompts in, tokens out. `step` returns the number of each prompt that got a token."""

    name: str

    def add(self, prompt: list[int], max_tokens: int) -> int: ...

    def step(self) -> list[int]: ...

    def close(self) -> None: ...


class Ours:
    """The scheduler of `serve_model`. It guesses nothing ahead: random weights repeat themselves too well."""

    name = "ours"

    def __init__(self, model: Any, *, sampled: bool) -> None:
        self._sampling = Sampling(temperature=0.8, top_p=0.9) if sampled else Sampling(temperature=0)
        self._numbers: dict[Row, int] = {}
        limits = limits_of(model, max_rows=MAX_ROWS)
        self._scheduler = Scheduler(
            model,
            prompt_cache=PromptCache(max_bytes=PROMPT_CACHE_BYTES, cuts_anywhere=True),
            limits=limits,
            pace=known_pace(model, limits, context_length=ENDLESS_TOKENS),
        )

    def add(self, prompt: list[int], max_tokens: int) -> int:
        row = Row(
            prompt=prompt,
            max_tokens=max_tokens,
            sampling=self._sampling,
            stop_tokens=(),
            deliver=lambda _: None,
        )
        self._scheduler.add(row)
        return self._numbers.setdefault(row, len(self._numbers))

    def step(self) -> list[int]:
        steps = self._scheduler.step()
        for _, step in steps:
            if step.error is not None:
                raise step.error
        return [self._numbers[row] for row, _ in steps]

    def close(self) -> None:
        self._scheduler.close()


class MlxLm:
    """mlx-lm's generator as mlx_lm.server runs it, with its own sizes and a sampler for each request."""

    name = "mlx-lm"

    def __init__(self, model: Any, *, sampled: bool) -> None:
        self._sampled = sampled
        self._generator = BatchGenerator(model, completion_batch_size=128)

    def add(self, prompt: list[int], max_tokens: int) -> int:
        sampler = make_sampler(temp=0.8, top_p=0.9) if self._sampled else make_sampler(temp=0)
        (number,) = self._generator.insert([prompt], max_tokens=[max_tokens], samplers=[sampler])
        return int(number)

    def step(self) -> list[int]:
        _, tokens = self._generator.next()
        return [token.uid for token in tokens]

    def close(self) -> None:
        self._generator.close()


def random_prompt(length: int, vocabulary: int, seed: int) -> list[int]:
    return [int(token) for token in np.random.default_rng(seed).integers(0, vocabulary, length)]


def bare_rate(model: Any, rows: int, steps: int) -> float:
    """Tokens per second of the model's step alone: greedy, the next one begun before the last one is read."""
    caches = [KVCache() if rows == 1 else BatchKVCache([0] * rows) for _ in model.layers]
    prompts = mx.array([random_prompt(PROMPT_TOKENS, 500, row) for row in range(rows)])
    tokens = mx.argmax(model(prompts, cache=caches)[:, -1], axis=-1)
    mx.eval(tokens, [cache.state for cache in caches])
    began = 0.0
    for step in range(-WARM_UP_STEPS, steps):
        if step == 0:
            began = time.perf_counter()
        following = mx.argmax(model(tokens[:, None], cache=caches)[:, -1], axis=-1)
        mx.async_eval(following)
        tokens.tolist()
        tokens = following
    return rows * steps / (time.perf_counter() - began)


def rate(engine: Engine, rows: int, steps: int, *, vocabulary: int, seed: int) -> float:
    """Tokens per second of so many rows that all decode."""
    for row in range(rows):
        prompt = random_prompt(PROMPT_TOKENS, vocabulary, seed * 1000 + row)
        engine.add(prompt, ENDLESS_TOKENS)  # those that began first must not be the first to leave
    while len(set(engine.step())) < rows:
        pass
    for _ in range(WARM_UP_STEPS):
        engine.step()
    began, tokens = time.perf_counter(), 0
    while tokens < rows * steps:
        tokens += len(engine.step())
    return tokens / (time.perf_counter() - began)


def first_token_seconds(engine: Engine, prompt: list[int]) -> float:
    """From a prompt to the first token of its answer, nothing else running."""
    began = time.perf_counter()
    number = engine.add(prompt, 2)
    while number not in engine.step():
        pass
    seconds = time.perf_counter() - began
    while engine.step():  # the second token, so that nothing is left
        pass
    return seconds


def gap_in_steps(
    engine: Engine, *, rows: int, long_tokens: int, vocabulary: int, seed: int
) -> dict[str, float]:
    """Rows decode and a long prompt comes: the longest that they stand still, in seconds and in usual steps,
    and how long the long one waits for its first token.
    """
    for row in range(rows):
        engine.add(random_prompt(PROMPT_TOKENS, vocabulary, seed * 1000 + row), ENDLESS_TOKENS)
    while len(set(engine.step())) < rows:
        pass
    usual = [_timed_step(engine)[0] for _ in range(3 * WARM_UP_STEPS)][WARM_UP_STEPS:]
    began = time.perf_counter()
    number = engine.add(random_prompt(long_tokens, vocabulary, seed), 4)
    gaps, last = [], began
    while True:
        _, numbers = _timed_step(engine)
        now = time.perf_counter()
        if any(one != number for one in numbers):
            gaps.append(now - last)
            last = now
        if number in numbers:
            break
    step = float(np.median(usual))
    return {"worst": max(gaps), "steps": max(gaps) / step, "first": time.perf_counter() - began}


def _timed_step(engine: Engine) -> tuple[float, list[int]]:
    began = time.perf_counter()
    numbers = engine.step()
    return time.perf_counter() - began, numbers
