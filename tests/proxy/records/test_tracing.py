"""Traces as a collector on loopback receives them: one span a request, one for each endpoint tried."""

from __future__ import annotations

import gzip
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from ollaproject.telemetry import traces_wanted
from proxy.records.tracing import Tracing
from tests.fakes import answers
from tests.fakes.answers import CLOSE
from tests.proxy.conftest import CHAT, chat_body, gateway_with, target_for
from tests.proxy.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from proxy.gateway import Gateway
    from tests.fakes.upstream import FakeUpstream
    from tests.proxy.conftest import Served

TRACE_ID, PARENT_ID = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SECRET = "the prompt that nobody else is to read"


class Collector(ThreadingHTTPServer):
    """What a person runs at OTEL_EXPORTER_OTLP_ENDPOINT."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Receive)
        self.bodies: list[bytes] = []

    @property
    def requests(self) -> list[ExportTraceServiceRequest]:
        return [ExportTraceServiceRequest.FromString(body) for body in self.bodies]

    @property
    def spans(self) -> list[Span]:
        """In the order in which they began."""
        found = [
            span
            for request in self.requests
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]
        return sorted(found, key=lambda span: span.start_time_unix_nano)


class _Receive(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        assert self.path == "/v1/traces"
        self.server.bodies.append(
            gzip.decompress(body) if self.headers["Content-Encoding"] == "gzip" else body
        )
        told = ExportTraceServiceResponse().SerializeToString()
        self.send_response(200)
        self.send_header("Content-Length", str(len(told)))
        self.end_headers()
        self.wfile.write(told)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    with Collector() as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.02,))
        thread.start()
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{running.server_port}")
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
        monkeypatch.setenv("NO_PROXY", "*")
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture
def tracing(collector: Collector) -> Iterator[Tracing]:
    made = Tracing()
    yield made
    made.close()


@pytest.fixture
def traced(serve: Callable[[Gateway], Served], tracing: Tracing) -> Iterator[httpx.Client]:
    served = serve(gateway_with(tracing=tracing))
    with httpx.Client(base_url=served.url, timeout=20, trust_env=False) as client:
        yield client


def attributes(span: Span) -> dict[str, Any]:
    values = {each.key: each.value for each in span.attributes}
    return {key: getattr(value, str(value.WhichOneof("value"))) for key, value in values.items()}


def test_a_request_that_fails_over_is_told_with_every_attempt(
    traced: httpx.Client,
    collector: Collector,
    table: Callable[..., None],
    upstreams: Callable[..., FakeUpstream],
) -> None:
    broken, good = upstreams("m1"), upstreams("m1")
    broken.answer("/v1/chat/completions", answers.raw(CLOSE))
    table(target_for(broken), target_for(good, number=2, priority=1))
    sent = {"traceparent": f"00-{TRACE_ID}-{PARENT_ID}-01", "tracestate": "vendor=1", "X-Request-ID": "r-1"}
    body = chat_body(messages=[{"role": "user", "content": SECRET}])

    assert traced.post(CHAT, json=body, headers=sent).status_code == 200
    wait_for(lambda: len(collector.spans) == 3)

    request, first, second = collector.spans
    assert {span.trace_id.hex() for span in collector.spans} == {TRACE_ID}
    assert request.parent_span_id.hex() == PARENT_ID
    assert first.parent_span_id == second.parent_span_id == request.span_id
    assert [span.name for span in collector.spans] == ["chat m1"] * 3
    assert [span.kind for span in collector.spans] == [Span.SPAN_KIND_SERVER, *[Span.SPAN_KIND_CLIENT] * 2]
    assert [span.status.code for span in collector.spans] == [0, Status.STATUS_CODE_ERROR, 0]
    told = attributes(request)
    assert (told["olla.request_id"], told["olla.attempts"], told["http.response.status_code"]) == (
        "r-1",
        2,
        200,
    )
    assert (told["gen_ai.usage.input_tokens"], told["gen_ai.usage.output_tokens"]) == (5, 3)
    assert "closed" in attributes(first)["error.type"]
    answered = attributes(second)
    assert (answered["gen_ai.provider.name"], answered["olla.endpoint"]) == ("vllm-mlx", "mini-2")
    assert (answered["gen_ai.operation.name"], answered["gen_ai.usage.output_tokens"]) == ("chat", 3)
    assert request.end_time_unix_nano >= second.end_time_unix_nano >= second.start_time_unix_nano

    # Each endpoint was given the span of its own attempt, and nobody was given what was said.
    for span, upstream in ((first, broken), (second, good)):
        seen = upstream.requests[0]
        assert seen.header("traceparent") == f"00-{TRACE_ID}-{span.span_id.hex()}-01"
        assert seen.header("tracestate") == "vendor=1"
    assert SECRET.encode() not in b"".join(collector.bodies)
    assert b"MLX is fast" not in b"".join(collector.bodies)


def test_a_trace_begins_here_when_the_client_has_none(
    traced: httpx.Client,
    collector: Collector,
    table: Callable[..., None],
    upstream: FakeUpstream,
) -> None:
    table(target_for(upstream))

    assert traced.post(CHAT, json=chat_body(stream=True)).status_code == 200
    assert traced.post(CHAT, json=chat_body("nobody's")).status_code == 404
    assert traced.get("/v1/models", headers={"X-Forwarded-For": "10.0.0.1"}).status_code == 401
    wait_for(lambda: len(collector.spans) == 3)

    request, attempt, refused = collector.spans
    assert request.parent_span_id == b""
    sent_on = str(upstream.requests[0].header("traceparent"))
    assert sent_on.startswith(f"00-{request.trace_id.hex()}-{attempt.span_id.hex()}-0")
    assert attributes(request)["gen_ai.response.time_to_first_chunk"] > 0
    assert attributes(refused)["error.type"] == "model_not_found"
    resource = {
        each.key: each.value.string_value
        for request in collector.requests
        for spans in request.resource_spans
        for each in spans.resource.attributes
    }
    assert resource["service.name"] == "ollaproject"
    # Which library it was, and which of several web processes.
    assert resource["telemetry.sdk.language"] == "python"
    assert resource["service.instance.id"]


def test_the_environment_names_the_service(
    monkeypatch: pytest.MonkeyPatch,
    serve: Callable[[Gateway], Served],
    collector: Collector,
    table: Callable[..., None],
) -> None:
    table()
    monkeypatch.setenv("OTEL_SERVICE_NAME", "gateway-of-ours")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
    tracing = Tracing()
    served = serve(gateway_with(tracing=tracing))

    assert httpx.get(f"{served.url}/v1/models", trust_env=False).status_code == 200
    tracing.close()

    (request,) = collector.requests
    told = {each.key: each.value.string_value for each in request.resource_spans[0].resource.attributes}
    assert told["service.name"] == "gateway-of-ours"
    assert told["deployment.environment.name"] == "test"
    # A request for no model is called by its method, as OpenTelemetry's conventions have it.
    assert [span.name for span in collector.spans] == ["GET"]


@pytest.mark.parametrize(
    ("variables", "wanted"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x:4318"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://x:4318/v1/traces"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x:4318", "OTEL_TRACES_EXPORTER": "none"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x:4318", "OTEL_SDK_DISABLED": "true"}, False),
    ],
)
def test_traces_are_wanted_when_there_is_a_collector(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], *, wanted: bool
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    assert traces_wanted() is wanted


def test_a_web_process_without_traces_loads_nothing_of_them() -> None:
    """But for what redis-py loads of OpenTelemetry's metrics wherever it is installed."""
    code = (
        "import sys, ollaproject.asgi\n"
        "traces = ('opentelemetry.sdk.trace', 'opentelemetry.exporter')\n"
        "print([name for name in sys.modules if name.startswith(traces)])"
    )

    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    assert loaded.strip() == "[]"
