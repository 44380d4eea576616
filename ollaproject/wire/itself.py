"""How a gateway knows itself again, when one of its endpoints leads back to it."""

from __future__ import annotations

from functools import cache

from django.utils.crypto import salted_hmac

# Sent with each check of an endpoint; the gateway that has sent it answers 508.
CHECK_HEADER = "X-Olla-Check"
ID_LENGTH = 16


@cache
def gateway_id() -> str:
    """The same in all processes of one gateway, which share a secret, and in no other gateway's."""
    return salted_hmac("ollaproject.gateway", "itself", algorithm="sha256").hexdigest()[:ID_LENGTH]
