"""What `/version` says: which gateway this is, what it can do, and where its routes are."""

from __future__ import annotations

import platform
import sys
from typing import Any

from endpoints.profiles import profiles
from ollaproject.env import env_str
from ollaproject.wire.release import VERSION

COMMIT = env_str("OLLA_COMMIT", "unknown")
BUILD_DATE = env_str("OLLA_BUILD_DATE", "unknown")
# Olla's words where there is one.
CAPABILITIES = (
    "load_balancing",
    "health_checking",
    "rate_limiting",
    "model_unification",
    "endpoint_discovery",
    "message_translation",
    "translation_anthropic",
    "passthrough_anthropic",
    "failover",
    "streaming",
    "api_keys",
    "prometheus_metrics",
)


def describe() -> dict[str, Any]:
    return {
        "name": "ollaproject",
        "version": VERSION,
        "edition": "Community",
        "description": "A gateway for fleets of LLM servers on Apple Silicon, and a server of MLX models",
        "build": {
            "commit": COMMIT,
            "date": BUILD_DATE,
            "python_version": platform.python_version(),
            "platform": f"{sys.platform}-{platform.machine()}",
        },
        "capabilities": list(CAPABILITIES),
        "capabilities_experimental": [],
        "supported_backends": [each.name for each in profiles()],
        "api": {
            "version": "v1",
            "endpoints": {
                "health": "/internal/health",
                "status": "/internal/status",
                "endpoints": "/internal/status/endpoints",
                "models": "/internal/status/models",
                "metrics": "/internal/metrics",
                "process": "/internal/process",
                "version": "/version",
            },
        },
        "links": {"documentation": "/api/docs/"},
    }
