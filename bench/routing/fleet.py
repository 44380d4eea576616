"""Fleets that exist in memory only."""

from __future__ import annotations

from typing import Any

from endpoints.choices import Mode, Status
from endpoints.routing.snapshot import ServedModel, Snapshot, Target


def target(number: int, *models: str, **changes: Any) -> Target:
    """A healthy endpoint that serves these models, as the routing table has it, but for the `changes`."""
    usual: dict[str, Any] = {
        "id": number,
        "name": f"mini-{number}",
        "type": "vllm-mlx",
        "url": f"http://127.0.0.1:{number}",
        "priority": 85,
        "status": Status.HEALTHY,
        "reason": "",
        "mode": Mode.ACTIVE,
        "models": tuple(ServedModel(name, 0, None) for name in models),
        "preserve_path": False,
        "connect_timeout_seconds": 2.0,
        "first_byte_timeout_seconds": 10.0,
        "idle_timeout_seconds": 10.0,
        "max_concurrent": 20,
    }
    return Target(**{**usual, **changes})


def spread(endpoints: int, models: int, *, each: int) -> Snapshot:
    """Every endpoint serves `each` of the models, and beside them the one called `everywhere`."""
    targets = [
        target(number, "everywhere", *(f"model-{(number * each + n) % models}" for n in range(each)))
        for number in range(endpoints)
    ]
    return Snapshot(revision=1, targets=tuple(targets))
