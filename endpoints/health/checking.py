"""One check of one endpoint: its row turned into what the network side needs, and what that side finds."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from endpoints import profiles, secrets
from endpoints.choices import Status
from endpoints.errors import FleetError
from endpoints.health.findings import CheckTarget, Finding, ProbeResult

if TYPE_CHECKING:
    from endpoints.health.probe import Checker
    from endpoints.models import Endpoint


async def check(checker: Checker, endpoint: Endpoint, *, with_models: bool) -> Finding:
    """Check `endpoint`. One that cannot be asked, its credential being unreadable, is a finding too."""
    try:
        target = check_target(endpoint)
    except FleetError as error:
        return Finding(ProbeResult(Status.CONFIG_ERROR, str(error)))
    return await checker.check(target, with_models=with_models)


def check_target(endpoint: Endpoint) -> CheckTarget:
    """Raises a FleetError when its type is unknown or its credential cannot be decrypted."""
    profile = profiles.profile(endpoint.type)
    return CheckTarget(
        name=endpoint.name,
        profile=profile,
        health_url=whole_url(endpoint, endpoint.health_check_url or profile.health_path),
        models_url=whole_url(endpoint, endpoint.model_url or profile.models_path),
        timeout_seconds=endpoint.check_timeout_seconds,
        loaded_url=whole_url(endpoint, profile.loaded_list.path) if profile.loaded_list else "",
        properties_url=whole_url(endpoint, profile.properties.path) if profile.properties else "",
        memory_url=whole_url(endpoint, profile.memory.path) if profile.memory else "",
        include=tuple(endpoint.model_include),
        exclude=tuple(endpoint.model_exclude),
        has_credential=endpoint.has_credential,
        headers=secrets.request_headers(endpoint),
    )


def whole_url(endpoint: Endpoint, path_or_url: str) -> str:
    """A whole URL as it is; a path below the endpoint's origin, or below its path when that is preserved."""
    if not path_or_url.startswith("/"):
        return path_or_url
    if endpoint.preserve_path:
        return endpoint.url.rstrip("/") + path_or_url
    parts = urlsplit(endpoint.url)
    return f"{parts.scheme}://{parts.netloc}{path_or_url}"
