"""Completes the OpenAPI schema: how errors look, and the surface that clients of models call.

REST framework's views describe themselves. The gateway's routes are no views: openapi.yaml describes them.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterator

GATEWAY = Path(__file__).parent / "openapi.yaml"
METHODS = frozenset({"get", "post", "put", "patch", "delete"})
REFUSED = {
    "description": "Refused. `message` says why, `param` which field is at fault.",
    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
}


def complete(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """A postprocessing hook of drf-spectacular."""
    gateway = _gateway()
    result["tags"] = gateway["tags"]
    for operation in _operations(result):
        operation["tags"] = ["REST"]  # by default each has one of its own
    result["paths"] = {**gateway["paths"], **result["paths"]}
    components = result.setdefault("components", {})
    for kind, named in gateway["components"].items():
        components[kind] = {**components.get(kind, {}), **named}
    result["security"] = [{"key": []}, {"cookieAuth": []}]
    for operation in _operations(result):
        operation["responses"].setdefault("4XX", REFUSED)
    return result


def _operations(result: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for methods in result["paths"].values():
        yield from (operation for name, operation in methods.items() if name in METHODS)


@lru_cache(maxsize=1)
def _gateway() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(GATEWAY.read_text())
    return found
