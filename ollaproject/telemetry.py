"""Whether traces are wanted, as OpenTelemetry's own variables say it. Nothing of it is imported here."""

from __future__ import annotations

from django.core.exceptions import ImproperlyConfigured

from ollaproject.env import env_bool, env_str

PROTOCOL = "http/protobuf"
EXPORTERS = ("otlp", "none")


def traces_wanted() -> bool:
    """Whether there is a collector to send them to. Raises ImproperlyConfigured for what we do not speak."""
    collector = env_str("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") or env_str("OTEL_EXPORTER_OTLP_ENDPOINT")
    exporter = env_str("OTEL_TRACES_EXPORTER", "otlp")
    if exporter not in EXPORTERS:
        raise ImproperlyConfigured(f"OTEL_TRACES_EXPORTER must be otlp or none, not {exporter!r}.")
    if not collector or exporter == "none" or env_bool("OTEL_SDK_DISABLED", default=False):
        return False
    for name in ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"):
        protocol = env_str(name, PROTOCOL)
        if protocol != PROTOCOL:
            raise ImproperlyConfigured(
                f"{name} must be {PROTOCOL}, not {protocol!r}. Collectors speak it on port 4318."
            )
    return True
