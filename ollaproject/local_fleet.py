"""Where two rooms meet: through this the supervisor of local models (inference) speaks to the fleet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from endpoints import local
from endpoints.pages import parts
from endpoints.routing import revision, sleep
from inference.local import cards, record
from inference.local.choices import State
from inference.models import LocalModelStatus
from ollaproject.wire.roles import sees_local_models

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from inference.local.fleet import Offer


WITHOUT_MODELS = "this machine runs without models of its own"


class LocalFleet:
    """inference.local.fleet.Fleet, with ordinary endpoints."""

    def expect(self, offer: Offer) -> None:
        local.expect(_server(offer))

    def open(self, offer: Offer) -> int:
        endpoint = local.open_for(_server(offer))
        local.name_also(offer.name, offer.aliases)
        return endpoint.pk

    def close(self, endpoint_id: int, *, reason: str) -> None:
        local.close(endpoint_id, reason=reason)

    def sleep(self, offer: Offer, *, wakes_in_seconds: float | None, wakes_anyway: bool = False) -> int:
        endpoint = local.sleep(
            _server(offer),
            models=offer.models,
            wakes_in_seconds=wakes_in_seconds,
            wakes_anyway=wakes_anyway,
        )
        local.name_also(offer.name, offer.aliases)
        return endpoint.pk

    def keep_asleep(self, endpoint_id: int, *, reason: str, until: datetime) -> None:
        local.keep_asleep(endpoint_id, reason=reason, until=until)

    def woken(self, endpoint_ids: Iterable[int]) -> set[int]:
        return sleep.asked_for(endpoint_ids)

    def remove(self, endpoint_id: int) -> None:
        local.remove(endpoint_id)


def name_anew(*, model: str, aliases: list[str], former: list[str], **_: object) -> None:
    """A person has changed the aliases of a local model."""
    local.name_no_more(model, former)
    local.name_also(model, aliases)


def remove_endpoint(*, endpoint_id: int, **_: object) -> None:
    """A local model is gone, whether its supervisor is there to see it or not."""
    local.remove(endpoint_id)


def leave(host: str) -> None:
    """The machine `host` runs no models: what it had is at rest, and out of service."""
    for status in LocalModelStatus.objects.filter(host=host).select_related("model"):
        record.move(status, State.STOPPED, **record.NOT_RUNNING)
        if status.endpoint_id is not None:
            local.close(status.endpoint_id, reason=WITHOUT_MODELS)


def show_change(**_: object) -> None:
    """A local model is different: open pages fetch what they show."""
    revision.bump(routing=False)


def _server(offer: Offer) -> local.Server:
    return local.Server(offer.endpoint_id, offer.name, offer.url, is_first=offer.is_first, key=offer.key)


def show_on_dashboard() -> None:
    """Local models that are on the move or have failed are shown above the endpoints."""
    parts.add(parts.Part("inference/_on_dashboard.html", sees_local_models, cards.for_dashboard))
