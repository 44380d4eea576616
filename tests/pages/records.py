"""Rows of requests for the pages' tests."""

from __future__ import annotations

from datetime import timedelta
from itertools import count
from typing import Any

from ollaproject.wire.clock import now
from proxy.models import Came, RequestRecord

numbers = count(1)


def record(*, age_seconds: float = 0, **fields: Any) -> RequestRecord:
    """A stored request that was answered well unless `fields` say otherwise."""
    number = next(numbers)
    known = {
        "request_id": f"req_{number}",
        "method": "POST",
        "route": "/v1/chat/completions",
        "model": "m1",
        "endpoint": "mini-1",
        "status": 200,
        "stream": True,
        "attempts": [["mini-1", None, 0, 120]],
        "ttft_ms": 120.0,
        "duration_ms": 1120.0,
        "bytes_in": 500,
        "bytes_out": 4000,
        "prompt_tokens": 20,
        "completion_tokens": 41,
        "outcome": Came.OK,
    }
    return RequestRecord.objects.create(at=now() - timedelta(seconds=age_seconds), **{**known, **fields})
