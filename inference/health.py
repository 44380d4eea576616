"""What /health says of the engine, and why."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from inference.backend import Backend

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Health:
    """`reason` is a sentence when `status` is not `healthy`."""

    status: Literal["healthy", "loading", "unhealthy"]
    reason: str = ""


TRY_AGAIN_SECONDS = 1.0
"""How long the engine waits, when the model can do nothing, before it tries it again."""
HEALTHY = Health("healthy")
LOADING = Health("loading", "The model is being loaded. Try again in a moment.")
STOPPING = Health("unhealthy", "The server is shutting down. Try again in a moment, or on another one.")
BROKEN = Health("unhealthy", "The model fails on everything that it is given. The log says how.")


def stuck(seconds: float) -> Health:
    """Of an engine whose step has taken so long."""
    return Health("unhealthy", f"The engine is stuck: its current step has taken {seconds:.0f} s so far.")


def is_broken(backend: Backend, *, was_broken: bool) -> bool:
    """After a request has failed, on the engine thread: was it the request, or can the model do nothing?"""
    try:
        backend.examine()
    except Exception:
        if not was_broken:
            logger.exception("The model fails on everything. It is tried again each second.")
        return True
    if was_broken:
        logger.warning("The model can generate again.")
    return False
