"""What Prometheus reads: the counts of all web processes and the state of the fleet, in its text format.

Names, units and labels follow Prometheus' rules, the `gen_ai_` ones OpenTelemetry's semantic conventions. A
label is a name of the operator's, or one of a few words of ours: a model that nobody serves is `other`.
"""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    SummaryMetricFamily,
)
from prometheus_client.exposition import choose_encoder

from endpoints.choices import Status
from ollaproject.wire.release import VERSION
from proxy.records.counts import (
    DURATION_BOUNDS,
    FIRST_TOKEN_BOUNDS,
    OVERHEAD_BOUNDS,
    PER_TOKEN_BOUNDS,
    POSITION_BOUNDS,
    TOKEN_BOUNDS,
    WAIT_BOUNDS,
    Histogram,
    OperationCounts,
)
from proxy.status.version import COMMIT

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from prometheus_client.core import Metric

    from proxy.records.shared_counts import Traffic
    from proxy.status.status import EndpointState

ENDPOINT = ("endpoint", "type")
MODEL = ("model",)
GEN_AI = ("gen_ai_request_model", "gen_ai_operation_name")
# How each of an operation's histograms is called, what it says, where its buckets end.
OPERATION_HISTOGRAMS = (
    (
        "duration",
        "gen_ai_server_request_duration_seconds",
        "From a request's arrival to its answer's end",
        DURATION_BOUNDS,
    ),
    (
        "first_token",
        "gen_ai_server_time_to_first_token_seconds",
        "From a request's arrival to the first byte of its stream",
        FIRST_TOKEN_BOUNDS,
    ),
    (
        "per_token",
        "gen_ai_server_time_per_output_token_seconds",
        "Between two tokens of a stream, after the first one",
        PER_TOKEN_BOUNDS,
    ),
)


class _Found(CollectorRegistry):
    """What was found now, for the library's encoder."""

    def __init__(self, states: Sequence[EndpointState], traffic: Traffic) -> None:
        super().__init__(auto_describe=False)
        self._metrics = list(collect(states, traffic))

    def collect(self) -> Iterable[Metric]:
        return self._metrics


def render(states: Sequence[EndpointState], traffic: Traffic, *, accept: str) -> tuple[bytes, str]:
    """The text, and its content type: OpenMetrics for who asks for it, else Prometheus' own format."""
    encode, content_type = choose_encoder(accept)
    return encode(_Found(states, traffic)), content_type


def collect(states: Sequence[EndpointState], traffic: Traffic) -> Iterator[Metric]:
    yield from _processes(traffic)
    yield from _requests(traffic)
    yield from _models(traffic)
    yield from _operations(traffic)
    yield from _traffic_of_endpoints(states, traffic)
    yield from _fleet(states)


def _processes(traffic: Traffic) -> Iterator[Metric]:
    build = InfoMetricFamily("olla_build", "Which gateway this is")
    build.add_metric([], {"version": VERSION, "commit": COMMIT, "python_version": platform.python_version()})
    yield build
    yield _gauge("olla_web_processes", "Web processes that live", traffic.processes)
    started = traffic.started_at.timestamp()
    yield _gauge("olla_start_time_seconds", "When the eldest of them started, Unix time", started)
    yield _gauge(
        "olla_counting_since_seconds", "When the counters were at zero, Unix time", traffic.counts.since
    )


def _requests(traffic: Traffic) -> Iterator[Metric]:
    counts = traffic.counts
    yield _counter("olla_requests", "Requests to the API that are over", counts.requests)
    yield _gauge(
        "olla_requests_in_flight", "Requests under way at endpoints", sum(traffic.in_flight.values())
    )
    yield _counter(
        "olla_client_disconnects", "Clients that left before their answer's end", counts.disconnects
    )
    yield _counter("olla_failovers", "Attempts that were followed by another endpoint's", counts.failovers)
    errors = CounterMetricFamily(
        "olla_request_errors", "Requests that ended with an error of the gateway's", labels=["code"]
    )
    for code, number in sorted(counts.errors.items()):
        errors.add_metric([code], number)
    yield errors
    yield _histogram(
        "olla_proxy_overhead_seconds",
        "From a request's arrival to its first attempt, without its time in the queue",
        (),
        [((), counts.overhead, OVERHEAD_BOUNDS)],
    )
    yield _gauge("olla_queue_waiting", "Requests in the queue", traffic.waiting)
    yield _histogram(
        "olla_queue_wait_seconds",
        "How long requests that got a place had waited for it",
        (),
        [((), counts.queue_wait, WAIT_BOUNDS)],
    )
    yield _histogram(
        "olla_queue_position",
        "How many requests waited when one came that got a place later, itself among them",
        (),
        [((), counts.queue_position, POSITION_BOUNDS)],
    )


def _models(traffic: Traffic) -> Iterator[Metric]:
    models = sorted(traffic.counts.models.items())
    answers = CounterMetricFamily(
        "olla_model_requests",
        "Requests that reached an endpoint, by the class of the answer's status",
        labels=["model", "operation", "status"],
    )
    tokens = CounterMetricFamily(
        "olla_tokens",
        "Tokens as the endpoints count them; cached ones are among those of the prompt",
        labels=["model", "kind"],
    )
    failures = CounterMetricFamily(
        "olla_model_failures", "Requests that reached an endpoint and failed", labels=MODEL
    )
    for model, counts in models:
        failures.add_metric([model], counts.failures)
        for operation, each in sorted(counts.operations.items()):
            for status, number in sorted(each.answers.items()):
                answers.add_metric([model, operation, status], number)
        tokens.add_metric([model, "prompt"], counts.prompt_tokens)
        tokens.add_metric([model, "completion"], counts.completion_tokens)
        tokens.add_metric([model, "cached"], counts.cached_tokens)
    yield from (answers, failures, tokens)


def _operations(traffic: Traffic) -> Iterator[Metric]:
    found = [
        ((model, name), counts)
        for model, of_model in sorted(traffic.counts.models.items())
        for name, counts in sorted(of_model.operations.items())
    ]
    for field, name, words, bounds in OPERATION_HISTOGRAMS:
        series = [(labels, getattr(counts, field), bounds) for labels, counts in found]
        yield _histogram(name, words, GEN_AI, series)
    yield _histogram(
        "gen_ai_client_token_usage",
        "Tokens of a request",
        (*GEN_AI, "gen_ai_token_type"),
        [one for labels, counts in found for one in _token_series(labels, counts)],
    )


def _token_series(
    labels: tuple[str, ...], counts: OperationCounts
) -> Iterator[tuple[tuple[str, ...], Histogram, tuple[float, ...]]]:
    yield (*labels, "input"), counts.input_tokens, TOKEN_BOUNDS
    yield (*labels, "output"), counts.output_tokens, TOKEN_BOUNDS


def _traffic_of_endpoints(states: Sequence[EndpointState], traffic: Traffic) -> Iterator[Metric]:
    attempts = CounterMetricFamily("olla_endpoint_requests", "Attempts that have begun", labels=ENDPOINT)
    failures = CounterMetricFamily("olla_endpoint_failures", "Attempts that failed", labels=ENDPOINT)
    sent = CounterMetricFamily("olla_endpoint_response_bytes", "Bytes of answers passed on", labels=ENDPOINT)
    latency = SummaryMetricFamily(
        "olla_endpoint_latency_seconds", "From an attempt's begin to its answer", labels=ENDPOINT
    )
    running = GaugeMetricFamily("olla_endpoint_requests_in_flight", "Attempts under way", labels=ENDPOINT)
    for state in states:
        counts, labels = traffic.of(state.id), (state.name, state.type)
        attempts.add_metric(labels, counts.requests)
        failures.add_metric(labels, counts.failures)
        sent.add_metric(labels, counts.bytes_out)
        latency.add_metric(labels, counts.answered, counts.latency_sum)
        running.add_metric(labels, traffic.in_flight_at(state.id))
    yield from (attempts, failures, sent, latency, running)


def _fleet(states: Sequence[EndpointState]) -> Iterator[Metric]:
    up = GaugeMetricFamily("olla_endpoint_up", "Whether it may get requests", labels=ENDPOINT)
    status = GaugeMetricFamily(
        "olla_endpoint_status", "1 for the status that it has", labels=[*ENDPOINT, "status"]
    )
    check = GaugeMetricFamily(
        "olla_endpoint_check_duration_seconds", "How long its last check took", labels=ENDPOINT
    )
    models = GaugeMetricFamily("olla_endpoint_models", "Models that it serves", labels=ENDPOINT)
    for state in states:
        labels = (state.name, state.type)
        up.add_metric(labels, state.routable)
        for word in Status.values:
            status.add_metric([*labels, word], state.status == word)
        if state.latency_seconds is not None:
            check.add_metric(labels, state.latency_seconds)
        models.add_metric(labels, state.model_count)
    yield from (up, status, check, models)


def _gauge(name: str, words: str, value: float) -> Metric:
    return GaugeMetricFamily(name, words, value=value)


def _counter(name: str, words: str, value: float) -> Metric:
    return CounterMetricFamily(name, words, value=value)


def _histogram(
    name: str,
    words: str,
    labels: Sequence[str],
    series: Iterable[tuple[Sequence[str], Histogram, tuple[float, ...]]],
) -> Metric:
    """One without labels is there from the start; of those with labels, the ones that have seen something."""
    family = HistogramMetricFamily(name, words, labels=labels)
    for values, histogram, bounds in series:
        if labels and not histogram:
            continue
        family.add_metric(values, _cumulated(histogram, bounds), histogram.total)
    return family


def _cumulated(histogram: Histogram, bounds: tuple[float, ...]) -> list[Any]:
    counts = histogram.counts or [0] * (len(bounds) + 1)
    names = [*map(str, map(float, bounds)), "+Inf"]
    seen = 0
    found = []
    for name, number in zip(names, counts, strict=True):
        seen += number
        found.append((name, seen))
    return found
