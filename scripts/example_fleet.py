"""The fleet in the pictures: endpoints in different states, with the rows that checks would have written."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from django.db import connection
from example_models import keep_alive

from endpoints.models import Endpoint, EndpointHealth, EndpointModel, HealthCheck, Transition
from endpoints.routing import revision
from ollaproject.wire.clock import now

if TYPE_CHECKING:
    import threading
    from datetime import datetime


@dataclass(frozen=True, slots=True)
class Example:
    """An endpoint of the example fleet. `age_seconds` is how long it has been in its status."""

    name: str
    host: str
    status: str
    reason: str
    age_seconds: int
    latency_seconds: float | None
    models: tuple[str, ...]
    mode: str = "active"
    type: str = "vllm-mlx"
    interval_seconds: float = 5


FLEET = (
    Example(
        name="mac-studio-1",
        host="192.168.1.20:8000",
        status="healthy",
        reason="",
        age_seconds=3 * 86400 + 4 * 3600,
        latency_seconds=0.009,
        models=(
            "mlx-community/Llama-3.3-70B-Instruct-4bit",
            "mlx-community/Qwen3-30B-A3B-4bit",
            "mlx-community/Qwen3-Embedding-0.6B-4bit",
            "mlx-community/gemma-3-27b-it-4bit",
            "mlx-community/whisper-large-v3-turbo",
        ),
    ),
    Example(
        name="mac-mini-1",
        host="192.168.1.31:8000",
        status="healthy",
        reason="",
        age_seconds=7 * 3600 + 12 * 60,
        latency_seconds=0.012,
        models=("mlx-community/Llama-3.2-3B-Instruct-4bit",),
    ),
    Example(
        name="mac-mini-2",
        host="192.168.1.32:8000",
        status="offline",
        reason="connection refused",
        age_seconds=4 * 60 + 11,
        latency_seconds=None,
        models=("mlx-community/Llama-3.2-3B-Instruct-4bit",),
    ),
    Example(
        name="mac-mini-3",
        host="192.168.1.33:8000",
        status="warming",
        reason="the model is loading",
        age_seconds=19,
        latency_seconds=0.031,
        models=("mlx-community/Qwen3-8B-4bit",),
        interval_seconds=2,
    ),
    Example(
        name="mac-mini-4",
        host="192.168.1.34:8000",
        status="healthy",
        reason="",
        age_seconds=7 * 3600 + 12 * 60,
        latency_seconds=0.011,
        models=("mlx-community/Qwen3-8B-4bit",),
    ),
    Example(
        name="rack-gateway",
        host="llm.example.net",
        status="healthy",
        reason="",
        age_seconds=26 * 60,
        latency_seconds=0.048,
        models=("openai/gpt-oss-120b", "Qwen/Qwen3-Coder-30B-A3B-Instruct"),
        mode="draining",
        type="openai-compatible",
        interval_seconds=30,
    ),
)


def fill(examples: tuple[Example, ...]) -> None:
    """Rows as the checks would have written them."""
    for example in examples:
        scheme = "https" if example.type == "openai-compatible" else "http"
        endpoint = Endpoint(
            name=example.name,
            url=f"{scheme}://{example.host}",
            type=example.type,
            mode=example.mode,
            check_interval_seconds=example.interval_seconds,
            check_timeout_seconds=1.5,
        )
        endpoint.full_clean()
        endpoint.save()
        EndpointHealth.objects.filter(endpoint=endpoint).update(status=example.status, reason=example.reason)
        add_history(endpoint, example)


def add_history(endpoint: Endpoint, example: Example) -> None:
    at = now()
    since = at - timedelta(seconds=example.age_seconds)
    EndpointHealth.objects.filter(endpoint=endpoint).update(
        since=since,
        latency_seconds=example.latency_seconds,
        checked_at=at,
        next_check_at=at + timedelta(seconds=5),
    )
    for name in example.models:
        EndpointModel.objects.create(
            endpoint=endpoint, name=name, created=0, first_seen_at=since, last_seen_at=at
        )
    add_transitions(endpoint, example, since=since)
    add_latency(endpoint, example, at=at)
    for number in range(20):
        HealthCheck.objects.create(
            endpoint=endpoint,
            at=at - timedelta(seconds=number * example.interval_seconds),
            status=example.status,
            reason=example.reason,
            latency_seconds=example.latency_seconds and example.latency_seconds * (1 + number % 5 / 10),
        )


def add_transitions(endpoint: Endpoint, example: Example, *, since: datetime) -> None:
    """Eleven good days, with an outage some hours before what the endpoint is now."""
    start = since - timedelta(hours=8, minutes=len(example.name) * 7)
    story = [
        (start - timedelta(days=11), "unknown", "healthy", ""),
        (start, "healthy", "offline", "no answer within 1.5 s"),
        (start + timedelta(minutes=len(example.host)), "offline", "healthy", ""),
    ]
    if example.status != "healthy":
        story.append((since, "healthy", example.status, example.reason))
    for at, old, new, reason in story:
        Transition.objects.create(endpoint=endpoint, at=at, old_status=old, new_status=new, reason=reason)


def add_latency(endpoint: Endpoint, example: Example, *, at: datetime) -> None:
    """A check in every half hour of the day, faster and slower as the hours go."""
    for number in range(1, 48):
        wave = 1 + 0.25 * math.sin(number / 3) + (number * 7 % 5) / 15
        HealthCheck.objects.create(
            endpoint=endpoint,
            at=at - timedelta(minutes=30 * number),
            status="healthy",
            latency_seconds=(example.latency_seconds or 0.012) * wave,
        )


def keep_checking(stop: threading.Event) -> None:
    """Move the times of the checks on, as a worker does, so that no page says that checks have stopped."""

    while not stop.wait(0.5):
        keep_alive()
        for health in EndpointHealth.objects.select_related("endpoint").filter(next_check_at__lt=now()):
            interval = timedelta(seconds=health.endpoint.check_interval_seconds)
            EndpointHealth.objects.filter(pk=health.pk).update(
                checked_at=health.next_check_at, next_check_at=health.next_check_at + interval
            )
            revision.bump(routing=False)
    connection.close()
