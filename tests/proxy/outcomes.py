"""What became of a request, as the gateway notes it: one by a call."""

from __future__ import annotations

from typing import Any

from msgspec import structs

from ollaproject.wire import clock
from proxy.answer.usage import Tokens
from proxy.records.record import Attempt, Outcome


def outcome(number: int = 1, *, prompt: int = 5, **changes: Any) -> Outcome:
    """A request that failed over to its second endpoint and was answered there, but for `changes`."""
    made = Outcome(
        ended_at=clock.now(),
        request_id=f"req_{number}",
        method="POST",
        route="/olla/vllm-mlx/v1/chat/completions",
        caller="127.0.0.1",
        model="m1",
        endpoint="mini-2",
        attempts=(Attempt("mini-1", "refused the connection", 0, 0.002), Attempt("mini-2", None, 0.5, 0.25)),
        status=200,
        stream=True,
        ttft=0.25,
        duration=1.5,
        bytes_in=10,
        bytes_out=20,
        error_code=None,
        client_left=False,
        tokens=Tokens(prompt, 3, None),
    )
    return structs.replace(made, **changes)
