"""What `/version` says: which gateway this is, what it can do, and where its routes are."""

from __future__ import annotations

import platform
import sys
import tomllib
from typing import Any

from django.conf import settings

from endpoints.profiles import profiles
from ollaproject.env import env_str


def _version() -> str:
    project = tomllib.loads((settings.BASE_DIR / "pyproject.toml").read_text())["project"]
    return str(project["version"])


VERSION = _version()
COMMIT = env_str("OLLA_COMMIT", "unknown")
BUILD_DATE = env_str("OLLA_BUILD_DATE", "unknown")


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
        "capabilities": ["load_balancing", "health_checking", "endpoint_discovery", "failover", "streaming"],
        "supported_backends": [each.name for each in profiles()],
        "api": {
            "version": "v1",
            "endpoints": {
                "health": "/internal/health",
                "status": "/internal/status",
                "endpoints": "/internal/status/endpoints",
                "version": "/version",
            },
        },
        "links": {},
    }
