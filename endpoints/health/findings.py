"""What a check asks, and what it finds: values that cross between the network side and the database side."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from endpoints.choices import Status
    from endpoints.profiles import Profile


@dataclass(frozen=True, slots=True)
class Answer:
    """What an endpoint sent when it was asked for something."""

    status: int
    body: bytes
    latency_seconds: float
    headers: Mapping[str, str]  # whatever the case of a name

    @property
    def retry_after(self) -> str:
        return self.headers.get("Retry-After", "")


@dataclass(frozen=True, slots=True)
class CheckTarget:
    """An endpoint as a check needs it. The header values are secret, hence no repr."""

    name: str
    profile: Profile
    health_url: str
    models_url: str
    timeout_seconds: float
    loaded_url: str = ""
    properties_url: str = ""
    memory_url: str = ""
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    has_credential: bool = False
    headers: tuple[tuple[str, str], ...] = field(repr=False, default=())


@dataclass(frozen=True, slots=True)
class Trial:
    """A request that makes an endpoint generate one token, and how long that may take."""

    url: str
    body: bytes
    seconds: float


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """How an endpoint answered. `reason` is plain words for a person, empty when all is well.

    `retry_after_seconds` is how long one that limits our requests (429) asked us to stay away, `time_share`
    how much of the time for a check it took (0 to 1). `silent`: it is there, and did not answer as a server.
    `reply` is the beginning of its answer, without anything secret.
    """

    status: Status
    reason: str = ""
    http_status: int | None = None
    latency_seconds: float | None = None
    retry_after_seconds: float | None = None
    time_share: float | None = None
    silent: bool = False
    reply: str = field(repr=False, default="")


@dataclass(frozen=True, slots=True)
class FoundModel:
    """A model in an endpoint's own list. What the list does not say is None, or empty.

    `capabilities` are in our words, sorted; `loaded` is whether it is in memory.
    """

    name: str
    created: int | None = None
    max_model_len: int | None = None
    family: str = ""
    parameter_size: str = ""
    quantization: str = ""
    size_bytes: int | None = None
    capabilities: tuple[str, ...] = ()
    loaded: bool | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found. `models` is None when they were not asked for, or could not be read.

    `memory_bytes` is what its models take, where models were read and the endpoint tells.
    """

    result: ProbeResult
    models: tuple[FoundModel, ...] | None = None
    memory_bytes: int | None = None
