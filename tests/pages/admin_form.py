"""What a browser sends when an endpoint's form in the admin is filled in, and where to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from endpoints.models import Endpoint

LIST = "/admin/endpoints/endpoint/"
ADD = f"{LIST}add/"
GOOD: dict[str, Any] = {
    "name": "mini-1",
    "url": "http://mini-1.test:8000",
    "type": "vllm-mlx",
    "mode": "active",
    "weight": "1",
    "check_interval_seconds": "5s",
    "check_timeout_seconds": "2s",
    "auth_kind": "none",
    "retry": "safe",
}
BEARER = {**GOOD, "auth_kind": "bearer"}


def change_url(endpoint: Endpoint) -> str:
    return f"{LIST}{endpoint.pk}/change/"
