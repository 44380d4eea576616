"""A thousand requests at once over every surface: all that counts them agrees with what the fakes saw."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections import Counter
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from django.db.models import Sum
from prometheus_client.parser import text_string_to_metric_families

from endpoints.models import Endpoint
from proxy.models import RequestRecord, UsageTotal
from proxy.records.ledger import Ledger
from proxy.records.shared_counts import stop_sharing
from tests.fakes import answers
from tests.fakes.answers import CLOSE, Pause
from tests.proxy.conftest import gateway_with, target_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from proxy.gateway import Gateway
    from tests.fakes.upstream import FakeUpstream
    from tests.proxy.conftest import Served

    Table = Callable[..., None]
    Serve = Callable[[Gateway], Served]

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(180)]

REQUESTS = 1000
AT_ONCE = 250
# Kind → path, model, whether it streams, and the status that its client has to see.
KINDS: dict[str, tuple[str, str, bool, int]] = {
    "plain": ("/olla/vllm-mlx/v1/chat/completions", "m1", False, 200),
    "stream": ("/v1/chat/completions", "m1", True, 200),
    "completion": ("/olla/openai/v1/completions", "m1", False, 200),
    "embeddings": ("/olla/proxy/v1/embeddings", "m1", False, 200),
    "rerank": ("/v1/rerank", "m1", False, 200),
    "messages": ("/olla/anthropic/v1/messages", "m1", False, 200),
    "messages told": ("/olla/anthropic/v1/messages", "m4", False, 200),
    "messages told stream": ("/olla/anthropic/v1/messages", "m4", True, 200),
    "response": ("/v1/responses", "m1", False, 200),
    "response told": ("/olla/proxy/v1/responses", "m4", False, 200),
    "leave": ("/v1/chat/completions", "m1", True, 200),
    "refused": ("/v1/chat/completions", "m1", False, 400),
    "failing": ("/v1/chat/completions", "m2", False, 500),
    "broken": ("/v1/chat/completions", "m2", False, 502),
    "nobody's": ("/v1/chat/completions", "m3", False, 404),
}
REACHED = [kind for kind in KINDS if kind != "nobody's"]
COUNTED = [kind for kind, (_, _, _, status) in KINDS.items() if status == 200 and kind != "leave"]
SILENT = ("embeddings", "rerank")
PATHS = ("chat/completions", "completions", "embeddings", "rerank", "messages", "responses")


def prompt_tokens(number: int) -> int:
    return number % 7 + 1


def completion_tokens(number: int, kind: str) -> int:
    return 0 if kind in SILENT else number % 5 + 1


def answer(request: answers.SeenRequest) -> Iterable[answers.Step]:
    """What the request asks for by its kind, with tokens by its number."""
    kind, _, digits = (request.header("x-asks-for") or "").rpartition(" ")
    number = int(digits)
    used = {"prompt_tokens": prompt_tokens(number), "completion_tokens": completion_tokens(number, kind)}
    if kind == "broken":
        return answers.raw(b"HTTP/1.1 200 OK\r\n", CLOSE)(request)
    if kind == "failing":
        return answers.error(500, "out of memory")(request)
    if kind == "refused":
        return answers.error(400, "too hot")(request)
    if kind == "leave":
        return answers.sse([answers.event({"choices": []})] * 500, between=Pause(0.05))(request)
    if kind in ("stream", "messages told stream"):
        pieces = answers.chat_events("m1", ["MLX", " is", " fast."])
        return answers.sse([*pieces[:-1], answers.event({"choices": [], "usage": used}), pieces[-1]])(request)
    if kind in ("messages", "response"):
        used = {"input_tokens": used["prompt_tokens"], "output_tokens": used["completion_tokens"]}
    choices = [{"message": {"role": "assistant", "content": "Hi."}, "finish_reason": "stop"}]
    return answers.respond({"choices": choices, "usage": used}, before=[Pause(0.002)])(request)


async def ask(client: httpx.AsyncClient, number: int, kind: str, gate: asyncio.Semaphore) -> int:
    """One request. Returns the status that its client saw."""
    path, model, streams, _ = KINDS[kind]
    words = [{"role": "user", "content": "Hi"}]
    asked = {"input": words} if path.endswith("/responses") else {"messages": words, "max_tokens": 5}
    body = {"model": model, "stream": streams, **asked}
    told = {"X-Asks-For": f"{kind} {number}"}
    async with gate, client.stream("POST", path, json=body, headers=told) as got:
        if kind != "leave":
            await got.aread()
        return got.status_code


async def crowd(url: str, kinds: list[str]) -> list[int]:
    gate = asyncio.Semaphore(AT_ONCE)
    # A connection that lies idle is not used again just when the server closes it.
    limits = httpx.Limits(max_connections=None, keepalive_expiry=1)
    async with httpx.AsyncClient(base_url=url, timeout=60, limits=limits, trust_env=False) as client:
        return await asyncio.gather(*(ask(client, number, kind, gate) for number, kind in enumerate(kinds)))


def metric(text: str, name: str, **labels: str) -> float:
    samples = [each for family in text_string_to_metric_families(text) for each in family.samples]
    return sum(each.value for each in samples if each.name == name and labels.items() <= each.labels.items())


def settled(client: httpx.Client) -> str:
    """The metrics, when the last client's leaving was noticed."""
    for _ in range(200):
        text = client.get("/metrics").text
        over = metric(text, "olla_requests_total")
        if over == REQUESTS and metric(text, "olla_requests_in_flight") == 0:
            return text
    raise AssertionError(f"{over} of {REQUESTS} requests are over")


@pytest.fixture(autouse=True)
def _ends(transactional_db: None) -> Iterator[None]:
    """What writes counts in the background ends before the database does."""
    yield
    stop_sharing()


def fleet(table: Table, upstreams: Callable[..., FakeUpstream]) -> dict[str, FakeUpstream]:
    """Endpoints by their names; `plain` speaks neither Anthropic's messages nor Responses."""
    models = {"mini-1": "m1", "mini-2": "m1", "lonely": "m2", "plain": "m4"}
    fakes = {name: upstreams(model) for name, model in models.items()}
    for each, path in itertools.product(fakes.values(), PATHS):
        each.answer(f"/v1/{path}", answer)
    rows = [Endpoint.objects.create(name=name, url=each.url) for name, each in fakes.items()]
    types = {"plain": "mlx-lm"}
    table(
        *(
            target_for(
                fakes[row.name],
                number=row.pk,
                name=row.name,
                type=types.get(row.name, "vllm-mlx"),
                max_concurrent=500,
                connect_timeout_seconds=60.0,  # this process may stand still on a busy machine
            )
            for row in rows
        )
    )
    return fakes


def translators_agree(
    told: list[dict[str, Any]], fakes: dict[str, FakeUpstream], by_kind: Counter[str]
) -> None:
    """What was passed on in its own format and what was told in chat, as the fakes saw it at their routes."""
    at = Counter(request.path for each in fakes.values() for request in each.requests)
    shown = {each["translator_name"]: each for each in told}
    assert shown["anthropic"]["passthrough_requests"] == at["/v1/messages"] == by_kind["messages"]
    assert shown["openai-responses"]["passthrough_requests"] == at["/v1/responses"] == by_kind["response"]
    assert shown["anthropic"]["streaming_requests"] == by_kind["messages told stream"]
    assert shown["openai-responses"]["translation_requests"] == by_kind["response told"]
    assert sum(each["translation_requests"] for each in told) == len(fakes["plain"].requests)
    assert sum(each["successful_requests"] for each in told) == sum(each["total_requests"] for each in told)


def test_every_counter_agrees(serve: Serve, table: Table, upstreams: Callable[..., FakeUpstream]) -> None:
    fakes = fleet(table, upstreams)
    ledger = Ledger(addresses="none", interval=0.1)
    served = serve(gateway_with(ledger=ledger, share_counts=True))
    kinds = [list(KINDS)[number % len(KINDS)] for number in range(REQUESTS)]
    random.Random(7).shuffle(kinds)  # noqa: S311

    statuses = asyncio.run(crowd(served.url, kinds))

    assert [KINDS[kind][3] for kind in kinds] == statuses
    with httpx.Client(base_url=served.url, timeout=30, trust_env=False) as client:
        text = settled(client)
        status = client.get("/internal/status").json()
        translators = client.get("/internal/stats/translators").json()["translators"]
        stats = {each["name"]: each for each in client.get("/internal/stats/models").json()["models"]}
    by_kind = Counter(kinds)
    reached = sum(by_kind[kind] for kind in REACHED)
    prompt = sum(prompt_tokens(number) for number, kind in enumerate(kinds) if kind in COUNTED)
    completion = sum(completion_tokens(number, kind) for number, kind in enumerate(kinds) if kind in COUNTED)

    # What each fake saw is what is counted of its endpoint, on every surface.
    seen = {name: len(each.requests) for name, each in fakes.items()}
    assert sum(seen.values()) == reached == metric(text, "olla_endpoint_requests_total")
    for shown in status["endpoints"]:
        assert shown["requests"] == seen[shown["name"]]
        assert metric(text, "olla_endpoint_requests_total", endpoint=shown["name"]) == seen[shown["name"]]
    assert status["system"]["total_requests"] == reached
    assert status["system"]["total_failures"] == by_kind["failing"] + by_kind["broken"]

    translators_agree(translators, fakes, by_kind)

    # Models, tokens, errors, those who left.
    assert sum(each["total_requests"] for each in stats.values()) == reached
    assert metric(text, "olla_model_requests_total") == reached
    assert stats["m2"]["failed_requests"] == by_kind["failing"] + by_kind["broken"]
    assert sum(each["prompt_tokens"] or 0 for each in stats.values()) == prompt
    assert sum(each["completion_tokens"] or 0 for each in stats.values()) == completion
    assert metric(text, "olla_tokens_total", kind="prompt") == prompt
    assert metric(text, "gen_ai_client_token_usage_sum", gen_ai_token_type="output") == completion
    assert metric(text, "gen_ai_server_request_duration_seconds_count") == reached
    assert metric(text, "olla_client_disconnects_total") == by_kind["leave"]
    assert metric(text, "olla_request_errors_total", code="model_not_found") == by_kind["nobody's"]
    assert metric(text, "olla_request_errors_total", code="upstream_error") == by_kind["broken"]

    # The rows of the history, and the totals of the day.
    ledger.stop()
    assert RequestRecord.objects.count() == REQUESTS
    assert RequestRecord.objects.filter(client_left=True).count() == by_kind["leave"]
    sums = ("prompt_tokens", "completion_tokens")
    of_rows = RequestRecord.objects.aggregate(*map(Sum, sums))
    assert tuple(of_rows.values()) == (prompt, completion)
    assert UsageTotal.objects.aggregate(*map(Sum, sums)) == of_rows
    assert UsageTotal.objects.aggregate(all=Sum("requests"))["all"] == REQUESTS
    assert ledger.lost == 0
