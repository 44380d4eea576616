"""What operators read: which version runs, how busy it is now, and everything it has counted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from inference.http.boundary import OK, Consumer
from ollaproject.wire.release import VERSION

if TYPE_CHECKING:
    from inference.engine import Engine

PROMETHEUS_TEXT = b"text/plain; version=0.0.4; charset=utf-8"


class Version(Consumer):
    route = "version"

    async def respond(self, body: bytes) -> None:  # noqa: ARG002
        await self.send_object(OK, {"version": VERSION})


class Status(Consumer):
    """How busy the engine is. It answers while the model loads or is stuck, too: then it says so."""

    route = "status"

    async def respond(self, body: bytes) -> None:  # noqa: ARG002
        engine, meter = self.serving.engine, self.serving.meter
        health = engine.health()
        payload: dict[str, Any] = {
            "status": health.status,
            "reason": health.reason or None,
            "model": engine.model_name,
            "uptime_s": round(meter.uptime_seconds, 1),
            "num_running": engine.running,
            "num_waiting": engine.waiting,
            "generation_tps": round(meter.tokens_per_second(), 1),
            "total_prompt_tokens": meter.prompt_tokens,
            "total_cached_tokens": meter.cached_tokens,
            "total_completion_tokens": meter.completion_tokens,
            "memory": engine.memory,
        }
        await self.send_object(OK, payload)


class Metrics(Consumer):
    route = "metrics"

    async def respond(self, body: bytes) -> None:  # noqa: ARG002
        exposition = self.serving.meter.exposition(_gauges(self.serving.engine))
        await self.send_text(exposition, content_type=PROMETHEUS_TEXT)


def _gauges(engine: Engine) -> dict[str, tuple[str, float]]:
    gauges: dict[str, tuple[str, float]] = {
        "olla_model_healthy": (
            "1 while the engine can generate, else 0.",
            float(engine.health().status == "healthy"),
        ),
        "olla_model_running": ("Answers that are being generated.", engine.running),
        "olla_model_waiting": ("Pieces of work that have not begun.", engine.waiting),
    }
    for name, count in engine.memory.items():
        gauges[f"olla_model_memory_{name}"] = ("Memory that MLX holds, as /v1/status names it.", count)
    return gauges
