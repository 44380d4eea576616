"""What is measured: each phase is a load, bounded in count and time, for every target in every round."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

MODEL = "bench-model"  # as wire.h has it
MICROSECONDS = 1_000_000
QUICK_SHARE = 0.35
PROMPT = (
    "You are a helpful AI assistant. Explain in two sentences what the MLX framework is, for whom it was "
    "made, and what unified memory means for a language model that runs on a laptop."
)


@dataclass(frozen=True, slots=True)
class Phase:
    """One load.

    Closed phases keep `connections` busy with one request after another for `seconds`. Those with `once` open
    `connections` streams over `ramp_seconds`, each of which lasts `seconds`.
    """

    name: str
    connections: int
    seconds: float
    once: bool = False
    ramp_seconds: float = 0.0
    chunks_per_second: int = 0
    chunks_per_stream: int = 0

    @property
    def streams(self) -> bool:
        return self.chunks_per_second > 0 or self.chunks_per_stream > 0

    @property
    def chunks(self) -> int:
        """How many chunks one stream has."""
        return self.chunks_per_stream or int(self.chunks_per_second * self.seconds)

    def body(self) -> str:
        """A chat completion request of about 0.3 KB. `interval_us` is the stub's own field, not OpenAI's."""
        request: dict[str, object] = {
            "model": MODEL,
            "messages": [{"role": "user", "content": PROMPT}],
            "temperature": 0.7,
            "max_tokens": self.chunks or 300,
            "stream": self.streams,
        }
        if self.chunks_per_second:
            request["interval_us"] = MICROSECONDS // self.chunks_per_second
        return json.dumps(request, separators=(",", ":"))

    def shortened(self) -> Phase:
        return replace(self, seconds=self.seconds * QUICK_SHARE, ramp_seconds=self.ramp_seconds * QUICK_SHARE)


PLAIN = tuple(Phase(f"plain-{count}", connections=count, seconds=2.0) for count in (1, 8, 16, 32, 64))
FIRST_TOKEN = Phase("first-token", connections=1, seconds=2.0, chunks_per_second=200, chunks_per_stream=10)
FULL_SPEED = Phase("full-speed", connections=16, seconds=2.0, chunks_per_stream=256)
STEADY = Phase("steady-40", connections=40, seconds=5.0, once=True, ramp_seconds=0.5, chunks_per_second=50)
SLOW = tuple(
    Phase(f"slow-{count}", connections=count, seconds=8.0, once=True, ramp_seconds=2.0, chunks_per_second=20)
    for count in (200, 1000)
)
ALL = (*PLAIN, FIRST_TOKEN, FULL_SPEED, STEADY, *SLOW)


def chosen(names: list[str], *, quick: bool) -> tuple[Phase, ...]:
    """The phases that are named, in full or by how their names start; all when no name is given."""
    found = [phase for phase in ALL if not names or any(_is_meant(phase, name) for name in names)]
    return tuple(phase.shortened() if quick else phase for phase in found)


def _is_meant(phase: Phase, name: str) -> bool:
    if name in (known.name for known in ALL):
        return phase.name == name
    return phase.name.startswith(name)
