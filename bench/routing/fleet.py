"""Fleets that exist in memory only."""

from __future__ import annotations

from endpoints.choices import Mode, Status
from endpoints.snapshot import ServedModel, Snapshot, Target


def target(number: int, models: tuple[str, ...], *, max_concurrent: int = 20) -> Target:
    return Target(
        id=number,
        name=f"mac-{number:04}",
        type="vllm-mlx",
        url=f"http://127.0.0.1:{number}",
        priority=85,
        status=Status.HEALTHY,
        reason="",
        mode=Mode.ACTIVE,
        models=tuple(ServedModel(name, 0, None) for name in models),
        preserve_path=False,
        connect_timeout_seconds=1.0,
        first_byte_timeout_seconds=1.0,
        idle_timeout_seconds=1.0,
        max_concurrent=max_concurrent,
    )


def spread(endpoints: int, models: int, *, each: int) -> Snapshot:
    """Every endpoint serves `each` of the models, and beside them the one called `everywhere`."""
    targets = [
        target(number, ("everywhere", *(f"model-{(number * each + n) % models}" for n in range(each))))
        for number in range(endpoints)
    ]
    return Snapshot(revision=1, targets=tuple(targets))
