"""`/internal/status/models` and `/internal/stats/…`: what is served, and how it is used (contract, 6)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from django.db.models import Max

from endpoints.models import EndpointModel
from endpoints.routing.snapshot import snapshot
from ollaproject.wire import clock
from proxy.formats.translators import TranslatorFigures, figures_in
from proxy.records.counts import ModelCounts, add
from proxy.status import figures
from proxy.status.model_catalogue import known_models
from proxy.status.status import stamp

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from proxy.records.shared_counts import Traffic
    from proxy.status.model_catalogue import Known

RECENT_MODELS = 10


def last_seen() -> dict[str, datetime]:
    """When each model was in a list for the last time. Reads the database."""
    rows = EndpointModel.objects.values("name").annotate(at=Max("last_seen_at"))
    return dict(rows.values_list("name", "at"))


def models(seen: Mapping[str, datetime], *, detailed: bool, grouped: bool) -> dict[str, Any]:
    """`/internal/status/models`. `detailed` shows all models, not the ten seen last."""
    now = clock.now()
    known = known_models()
    families: dict[str, list[str]] = {}
    for model in known:
        families.setdefault(model.family, []).append(model.name)
    newest = sorted(known, key=lambda model: (seen.get(model.name, now), model.name), reverse=True)
    payload: dict[str, Any] = {
        "timestamp": stamp(now),
        "total_models": len(known),
        "total_families": len(families),
        "total_endpoints": len(snapshot().targets),
        "models_by_family": dict(sorted(families.items())),
        "recent_models": [
            _seen(model, seen.get(model.name), now)
            for model in (newest if detailed else newest[:RECENT_MODELS])
        ],
    }
    if grouped:
        payload["model_groups"] = [_group(name, known) for name in sorted(families)]
    return payload


def _seen(model: Known, at: datetime | None, now: datetime) -> dict[str, Any]:
    size = next((m.details.size_bytes for _, m in model.places if m.details and m.details.size_bytes), 0)
    return {
        "name": model.name,
        "type": model.places[0][0].type,
        "family": model.family,
        "size": figures.size(size) if size else "",
        "params": model.detail("parameter_size") or "",
        "quant": model.detail("quantization") or "",
        "last_seen": figures.ago(at, now),
        "last_seen_at": stamp(at),
        "endpoints": [target.name for target, _ in model.places],
        "endpoint_ids": [str(target.id) for target, _ in model.places],
        "aliases": model.aliases,
        "capabilities": model.capabilities,
    }


def _group(family: str, known: Iterable[Known]) -> dict[str, Any]:
    members = [model for model in known if model.family == family]
    endpoints = sorted({target.name for model in members for target, _ in model.places})
    return {
        "family": family,
        "models": [model.name for model in members],
        "endpoints": endpoints,
        "model_count": len(members),
    }


def model_stats(traffic: Traffic) -> dict[str, Any]:
    """`/internal/stats/models`: what reached an endpoint, by model."""
    counted = traffic.counts.models
    total = ModelCounts()
    for counts in counted.values():
        add(total, counts)
    popular = max(counted, key=lambda name: counted[name].requests, default="")
    return {
        "timestamp": stamp(clock.now()),
        "models": [_of_model(name, counted[name]) for name in sorted(counted)],
        "summary": {
            "total_models": len({name for target in snapshot().targets for name in target.model_names}),
            "active_models": len(counted),
            "total_requests": total.requests,
            "overall_success_rate": figures.percent(total.success_rate),
            "total_traffic": figures.size(total.bytes_out),
            "most_popular_model": popular,
        },
    }


def _of_model(name: str, counts: ModelCounts) -> dict[str, Any]:
    average = counts.duration_sum / counts.requests if counts.requests else None
    rate = counts.timed_tokens / counts.writing_seconds if counts.writing_seconds else None
    return {
        "name": name,
        "total_requests": counts.requests,
        "successful_requests": counts.successes,
        "failed_requests": counts.failures,
        "success_rate": figures.percent(counts.success_rate),
        "total_traffic": figures.size(counts.bytes_out),
        "average_latency": figures.latency(average),
        "p95_latency": figures.latency(counts.durations.quantile(0.95)),
        "p99_latency": figures.latency(counts.durations.quantile(0.99)),
        "unique_clients": len(counts.callers),
        "last_requested": stamp(datetime.fromtimestamp(counts.last_at, UTC)),
        "routing_hits": counts.routed,
        "routing_misses": counts.rejected,
        "routing_fallbacks": counts.fallbacks,
        "prompt_tokens": counts.prompt_tokens,
        "completion_tokens": counts.completion_tokens,
        "ttft_p50_ms": figures.milliseconds(counts.first_bytes.quantile(0.5)),
        "ttft_p95_ms": figures.milliseconds(counts.first_bytes.quantile(0.95)),
        "tokens_per_second": round(rate, 1) if rate else None,
    }


def translator_stats(traffic: Traffic) -> dict[str, Any]:
    """`/internal/stats/translators`: requests in other formats than chat completions."""
    found = figures_in(traffic.counts.named)
    total = TranslatorFigures()
    for each in found.values():
        add(total, each)
    return {
        "timestamp": stamp(clock.now()),
        "translators": [_of_translator(name, each) for name, each in sorted(found.items())],
        "summary": {
            "total_translators": len(found),
            "active_translators": sum(each.requests > 0 for each in found.values()),
            "total_requests": total.requests,
            "overall_success_rate": figures.percent(total.success_rate),
            "total_passthrough": total.passed_through,
            "total_translations": total.translated,
            "overall_passthrough_rate": figures.percent(total.passthrough_rate),
            "total_streaming": total.streaming,
            "total_non_streaming": total.requests - total.streaming,
        },
    }


def _of_translator(name: str, each: TranslatorFigures) -> dict[str, Any]:
    return {
        "translator_name": name,
        "total_requests": each.requests,
        "successful_requests": each.succeeded,
        "failed_requests": each.failed,
        "success_rate": figures.percent(each.success_rate),
        "passthrough_rate": figures.percent(each.passthrough_rate),
        "average_latency": figures.latency(each.latency_average),
        "passthrough_requests": each.passed_through,
        "translation_requests": each.translated,
        "streaming_requests": each.streaming,
        "non_streaming_requests": each.requests - each.streaming,
        "fallback_no_compatible_endpoints": 0,
        "fallback_translator_does_not_support_passthrough": 0,
        "fallback_cannot_passthrough": each.fallbacks,
    }
