"""A local model as it is offered to the gateway: where it answers, under which names, with which key."""

from __future__ import annotations

from typing import TYPE_CHECKING

from inference.local.choices import Kind
from inference.local.fleet import Offer
from inference.local.site import embedding_name
from ollaproject.sealed import SealBroken, unseal

if TYPE_CHECKING:
    from inference.local.site import Site
    from inference.models import LocalModel, LocalModelStatus


def offer(model: LocalModel, status: LocalModelStatus, site: Site) -> Offer:
    beside = (embedding_name(model, status),) if model.kind == Kind.BOTH else ()
    return Offer(
        endpoint_id=status.endpoint_id,
        name=model.name,
        is_first=model.from_settings,
        url=site.url(status.port or 0),
        models=(model.name, *beside),
        aliases=tuple(model.aliases),
        key=key_of(status),
    )


def key_of(status: LocalModelStatus) -> str:
    """The key of its present server; empty when none of our encryption keys opens it any more."""
    try:
        return unseal(status.encrypted_key)
    except SealBroken:
        return ""
