"""The requests in the pictures: two busy hours of the example fleet, with what goes wrong now and then."""

from __future__ import annotations

import random
from datetime import timedelta
from typing import TYPE_CHECKING

from ollaproject.wire.clock import now
from proxy.models import Came, RequestRecord

if TYPE_CHECKING:
    from datetime import datetime

PEOPLE = (("ada", "laptop", 1), ("grace", "ci", 2), ("alan", "Open WebUI", 3), ("", "", 0))
# Model, endpoint, tokens per second, seconds to the first token.
PLACES = (
    ("mlx-community/Llama-3.3-70B-Instruct-4bit", "mac-studio-1", 11.5, 1.4),
    ("mlx-community/Qwen3-30B-A3B-4bit", "mac-studio-1", 62.0, 0.31),
    ("mlx-community/Llama-3.2-3B-Instruct-4bit", "mac-mini-1", 58.0, 0.12),
    ("mlx-community/Qwen3-8B-4bit", "mac-mini-4", 34.0, 0.22),
)
COUNT = 900
SPAN_SECONDS = 7200


def fill(count: int = COUNT, span_seconds: float = SPAN_SECONDS) -> None:
    """Rows as proxy.records.ledger would have written them."""
    dice = random.Random(4)  # noqa: S311 - the pictures are to be the same each time
    at = now()
    ages = sorted((dice.random() ** 1.6 * span_seconds for _ in range(count)), reverse=True)
    rows = [row(dice, at - timedelta(seconds=age), number) for number, age in enumerate(ages)]
    RequestRecord.objects.bulk_create(rows, batch_size=500)


def row(dice: random.Random, at: datetime, number: int) -> RequestRecord:
    model, endpoint, speed, first = dice.choice(PLACES)
    user, key, user_id = dice.choice(PEOPLE)
    written = int(dice.lognormvariate(5.2, 0.8)) + 2
    prompt = int(dice.lognormvariate(6.4, 1.0))
    ttft = first * 1000 * (0.7 + dice.random())
    made = RequestRecord(
        at=at,
        request_id=f"req_{dice.getrandbits(96):024x}",
        caller=f"{dice.getrandbits(64):016x}",
        method="POST",
        route="/v1/chat/completions",
        model=model,
        endpoint=endpoint,
        status=200,
        outcome=Came.OK,
        stream=True,
        attempts=[[endpoint, None, 0.1, round(ttft, 1)]],
        ttft_ms=ttft,
        duration_ms=ttft + written / speed * 1000,
        bytes_in=prompt * 5,
        bytes_out=written * 210,
        prompt_tokens=prompt,
        completion_tokens=written,
        cached_tokens=int(prompt * dice.random()),
        user_name=user,
        user_id=user_id,
        key_name=key,
        key_id=user_id,
        team_name="research" if user else "",
        routing="strict routed model_found",
    )
    return misfortune(made, number)


def misfortune(made: RequestRecord, number: int) -> RequestRecord:
    if number % 41 == 0:
        made.attempts = [["mac-mini-2", "refused the connection", 0.1, 2.4], *made.attempts]
    if number % 67 == 0:
        made.outcome, made.status, made.error_code = Came.FAILED, 502, "upstream_error"
        made.attempts = [["mac-mini-2", "refused the connection", 0.1, 2.4]]
        made.endpoint, made.ttft_ms, made.duration_ms = "", None, 4.0
        made.prompt_tokens = made.completion_tokens = made.cached_tokens = None
    elif number % 53 == 0:
        made.outcome, made.client_left = Came.LEFT, True
    elif number % 71 == 0:
        made.outcome, made.status, made.error_code = Came.REFUSED, 429, "rate_limit_exceeded"
        made.attempts, made.endpoint, made.ttft_ms, made.duration_ms = [], "", None, 1.0
        made.prompt_tokens = made.completion_tokens = made.cached_tokens = None
    return made
