"""Traces for an OpenTelemetry collector: a span for each request, and one below it for each endpoint tried.

The spans carry GenAI attributes and no content. Imported only when traces are wanted (see
`ollaproject.telemetry`): OpenTelemetry's own variables then say where they go, and how many of them.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind, Status, StatusCode, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from ollaproject.wire.release import VERSION
from proxy.records.meter import OTHER, operation_of
from proxy.records.record import FIRST_FAILED_STATUS

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Span, Tracer

    from proxy.call import Call
    from proxy.records.record import Outcome
    from proxy.request.headers import Pair
    from proxy.routing.admission import Slot

    Value = str | int | float | bool

SERVICE_NAME = "ollaproject"
TRACE_HEADERS = frozenset({b"traceparent", b"tracestate"})
_propagator = TraceContextTextMapPropagator()


class AttemptTrace:
    """The span of one endpoint that is tried. It ends with its answer, and is sent with the request's."""

    __slots__ = ("_context", "_ended_at", "reason", "span")

    def __init__(self, span: Span) -> None:
        self.span = span
        self.reason: str | None = None
        self._ended_at = 0
        self._context = set_span_in_context(span)

    def headers(self, pairs: list[Pair]) -> list[Pair]:
        """A request's headers as this endpoint gets them: its work belongs below this span."""
        carrier: dict[str, str] = {}
        _propagator.inject(carrier, self._context)
        kept = [pair for pair in pairs if pair[0] not in TRACE_HEADERS]
        return kept + [(name.encode(), value.encode("latin-1")) for name, value in carrier.items()]

    def ended(self, reason: str | None) -> None:
        """Its answer has come to its end, or it failed for `reason`."""
        self.reason, self._ended_at = reason, time.time_ns()

    def close(self) -> None:
        self.span.end(self._ended_at or None)


class RequestTrace:
    """The spans of one request."""

    __slots__ = ("_attempts", "_call", "_context", "_span", "_tracer")

    def __init__(self, tracer: Tracer, call: Call) -> None:
        self._call = call
        self._tracer = tracer
        self._attempts: list[AttemptTrace] = []
        self._span = tracer.start_span(
            call.method,
            context=_sent_context(call),
            kind=SpanKind.SERVER,
            attributes={
                "http.request.method": call.method,
                "url.path": call.path.decode("latin-1"),
                "olla.request_id": call.request_id,
            },
        )
        self._context = set_span_in_context(self._span)

    def attempt(self, slot: Slot) -> AttemptTrace:
        """A request is about to go to the endpoint of `slot`."""
        target, call = slot.target, self._call
        model = slot.candidate.model or call.model
        attributes: dict[str, Value] = {
            "gen_ai.operation.name": operation_of(call.path.decode("latin-1")),
            "gen_ai.provider.name": target.type,
            "gen_ai.request.stream": call.stream,
            "olla.endpoint": target.name,
            "olla.queue.seconds": slot.waited,
        }
        if model is not None:
            attributes["gen_ai.request.model"] = model
        made = AttemptTrace(
            self._tracer.start_span(
                _name(str(attributes["gen_ai.operation.name"]), model),
                context=self._context,
                kind=SpanKind.CLIENT,
                attributes=attributes,
            )
        )
        self._attempts.append(made)
        return made

    def end(self, outcome: Outcome) -> None:
        """The request is over: what came of it is told, and its spans are on their way."""
        of_answer = _tokens(outcome)
        if outcome.stream and outcome.ttft is not None:
            of_answer["gen_ai.response.time_to_first_chunk"] = outcome.ttft
        for attempt in self._attempts:
            if attempt.reason is not None:
                attempt.span.set_attribute("error.type", attempt.reason)
                attempt.span.set_status(Status(StatusCode.ERROR, attempt.reason))
            else:
                attempt.span.set_attributes(of_answer)
            attempt.close()
        operation = operation_of(outcome.route)
        if outcome.model is not None or operation != OTHER:  # else its method is all there is to say
            self._span.update_name(_name(operation, outcome.model))
        self._span.set_attributes({**_of_request(outcome, operation), **of_answer})
        if outcome.status >= FIRST_FAILED_STATUS or (outcome.error_code and outcome.attempts):
            self._span.set_status(Status(StatusCode.ERROR, outcome.error_code))
        self._span.end()


class Tracing:
    """The tracer of one process, and what sends its spans: a thread, with a bounded queue before it."""

    def __init__(self) -> None:
        resource = Resource.create({"service.name": SERVICE_NAME, "service.version": VERSION})
        # What the environment says of the service counts above what we say of it.
        self._provider = TracerProvider(resource=resource.merge(OTELResourceDetector().detect()))
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer(SERVICE_NAME, VERSION)

    def request(self, call: Call) -> RequestTrace:
        """A request has come in."""
        return RequestTrace(self._tracer, call)

    def close(self) -> None:
        """Send what waits. Blocks, at most for as long as OTEL_EXPORTER_OTLP_TIMEOUT says."""
        self._provider.shutdown()


def _sent_context(call: Call) -> Context:
    """The client's own span, which ours goes below."""
    sent = {name: value.decode("latin-1") for name in TRACE_HEADERS if (value := call.head.named.get(name))}
    return _propagator.extract({name.decode(): value for name, value in sent.items()})


def _name(operation: str, model: str | None) -> str:
    return operation if model is None else f"{operation} {model}"


def _of_request(outcome: Outcome, operation: str) -> dict[str, Value]:
    found: dict[str, Value | None] = {
        "gen_ai.operation.name": operation,
        "gen_ai.request.model": outcome.model,
        "gen_ai.response.model": outcome.served_model or (outcome.model if outcome.endpoint else None),
        "gen_ai.request.stream": outcome.stream,
        "http.response.status_code": outcome.status or None,
        "error.type": outcome.error_code,
        "olla.endpoint": outcome.endpoint,
        "olla.attempts": len(outcome.attempts),
        "olla.client_left": outcome.client_left,
    }
    return {name: value for name, value in found.items() if value is not None}


def _tokens(outcome: Outcome) -> dict[str, Value]:
    if outcome.tokens is None:
        return {}
    found = {
        "gen_ai.usage.input_tokens": outcome.tokens.prompt,
        "gen_ai.usage.output_tokens": outcome.tokens.completion,
        "gen_ai.usage.cache_read.input_tokens": outcome.tokens.cached,
    }
    return {name: count for name, count in found.items() if count is not None}
