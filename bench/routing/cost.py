"""What a choice costs: a plan is made, an endpoint chosen, its place taken and left again."""

from __future__ import annotations

import json
import time
from itertools import cycle
from statistics import median, quantiles
from typing import TYPE_CHECKING

from bench.routing.fleet import spread
from endpoints.routing.snapshot import install
from endpoints.routing.strategies import STRATEGIES
from proxy.request import intake
from proxy.request.paths import surface_for
from proxy.routing.admission import Admission, Slot
from proxy.routing.plan import Plan
from proxy.routing.routing import Question, Router

if TYPE_CHECKING:
    from collections.abc import Sequence

    from proxy.request.prefix import Prompt

ENDPOINTS, MODELS, MODELS_EACH = 1000, 5000, 15
CHOICES = 20_000
# So many requests are always under way.
UNDER_WAY = 2000
TURNS = 10
BODIES = 500


def report() -> None:
    install(spread(ENDPOINTS, MODELS, each=MODELS_EACH))
    print(
        f"Choosing among {ENDPOINTS} endpoints with {MODELS} models, {UNDER_WAY} requests under way, in µs:"
    )
    print(f"{'strategy':20} {'model on 3':>12} {'p99':>8} {'model on all':>14} {'p99':>8}")
    prompts = [_prompt(number) for number in range(BODIES)]
    few = [f"model-{number}" for number in range(MODELS)]
    for name in STRATEGIES:
        cells = [_measured(name, models, prompts) for models in (few, ["everywhere"])]
        (few_median, few_p99), (all_median, all_p99) = cells
        print(f"{name:20} {few_median:12.1f} {few_p99:8.1f} {all_median:14.1f} {all_p99:8.1f}")


def _measured(name: str, models: Sequence[str], prompts: Sequence[Prompt]) -> tuple[float, float]:
    """Median and 99th percentile, without the first choice of each model, which fills a table."""
    surface = surface_for("vllm-mlx")
    if surface is None:
        raise LookupError("vllm-mlx")
    router, admission = Router(STRATEGIES[name]()), Admission(max_waiting=100, max_wait=1.0)
    for model in models:
        router.route(Question(surface, model))
    under_way: list[Slot] = []
    took: list[float] = []
    for number, model, prompt in zip(range(CHOICES), cycle(models), cycle(prompts), strict=False):
        started_at = time.perf_counter()
        slot = _entered(router, admission, Question(surface, model), prompt)
        took.append((time.perf_counter() - started_at) * 1e6)
        under_way.append(slot)
        if len(under_way) > UNDER_WAY:
            under_way[number % UNDER_WAY].leave(0.1)
            under_way[number % UNDER_WAY] = under_way.pop()
    return median(took), quantiles(took, n=100)[-1]


def _entered(router: Router, admission: Admission, question: Question, prompt: Prompt) -> Slot:
    plan = Plan(router, question, prompt)
    try:
        admission.enter(plan, "127.0.0.1").send(None)
    except StopIteration as done:
        slot: Slot = done.value
        return slot
    raise RuntimeError("The fleet is full: nothing can be measured.")


def _prompt(number: int) -> Prompt:
    """A chat of ten turns, about 4 KB."""
    turns = [
        {"role": "user" if turn % 2 == 0 else "assistant", "content": f"{number} {turn} " + "word " * 75}
        for turn in range(TURNS)
    ]
    body = json.dumps({"model": "m", "messages": turns}).encode()
    asked = intake.read(body, inference=True, content_type=b"", encoded=False)
    if asked.prompt is None:
        raise LookupError("prompt")
    return asked.prompt
