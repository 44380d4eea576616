"""The local models in the pictures: one in each state, with the rows that a supervisor would have written."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

from django.conf import settings

from inference.local.choices import State, Wanted
from inference.models import LocalModel, LocalModelEvent, LocalModelStatus, ModelHost
from ollaproject.wire.clock import now

GIGABYTE = 10**9
HOST = "studio-1"
DAMAGED = (
    "/models/Mistral-7B/model.safetensors is damaged: it has 4102840320 bytes and should have 4138270720. "
    "Delete model.safetensors, and download the model again."
)
LOG = """2026-11-25 14:15:50 INFO    model {name}: inference.server: Loading. /health says when it is ready.
2026-11-25 14:15:50 INFO    model {name}: inference.server: MLX multiplies matrices with Metal.
2026-11-25 14:16:02 INFO    model {name}: inference.server: Ready after 11.8 s.
"""
MODELS: tuple[tuple[str, State, Wanted, dict[str, Any]], ...] = (
    (
        "mlx-community/Llama-3.2-3B-Instruct-4bit",
        State.READY,
        Wanted.RUNNING,
        {"memory_bytes": 3_400_000_000, "load_seconds": 11.8, "commit": "3f2a9c1e77d0"},
    ),
    (
        "mlx-community/Qwen2.5-7B-Instruct-4bit",
        State.DOWNLOADING,
        Wanted.RUNNING,
        {"done": 1_900_000_000, "total": 4_280_000_000, "bytes_per_second": 38_000_000.0},
    ),
    ("sentence-transformers/all-MiniLM-L6-v2", State.UNLOADED, Wanted.UNLOADED, {"load_seconds": 1.9}),
    ("Mistral-7B", State.FAILED, Wanted.RUNNING, {"reason": DAMAGED, "log_tail": DAMAGED}),
)


def fill_models() -> None:
    ModelHost.objects.create(name=HOST, seen_at=now(), memory_total=32 * GIGABYTE, memory_free=18_700_000_000)
    for age, (name, state, wanted, status) in enumerate(MODELS, start=1):
        since = now() - timedelta(minutes=7 * age)
        source = name if "/" in name else f"/models/{name}"
        kind = "embedding" if "MiniLM" in name else "chat"
        model = LocalModel.objects.create(name=name, source=source, kind=kind, wanted=wanted)
        facts = {"chat": {"weight_bytes": 1_800_000_000, "dense_bytes": 3_000_000_000, "kv_values": 57344}}
        LocalModelStatus.objects.create(
            model=model, state=state, since=since, host=HOST, last_used_at=since, facts=facts, **status
        )
        for new, seconds in ((State.DOWNLOADING, 90), (State.LOADING, 12), (state, 0)):
            at = since - timedelta(seconds=seconds)
            reason = status.get("reason", "") if new == state else ""
            LocalModelEvent.objects.create(
                model=model, at=at, old_state=State.STOPPED, new_state=new, reason=reason
            )
        log = Path(settings.OLLA_HOME) / "logs" / f"model-{model.pk}.log"
        log.parent.mkdir(exist_ok=True)
        log.write_text(LOG.format(name=name))


def keep_alive() -> None:
    """The machine was seen just now, as long as the pictures are taken."""
    ModelHost.objects.update(seen_at=now())
