"""Channels that alerts go to, by one call."""

from __future__ import annotations

from typing import Any

from endpoints.alerts.alert_models import AlertChannel, ChannelKind


def channel(
    kind: ChannelKind = ChannelKind.WEBHOOK, *, url: str = "", secret: str = "", **fields: Any
) -> AlertChannel:
    made = AlertChannel(name=f"ops-{kind}", kind=kind, **{"group_seconds": 0, **fields})
    made.set_url(url)
    made.set_secret(secret)
    made.full_clean()
    made.save()
    return made
