"""What the admin and the REST API have in common about alert channels: reading, storing and deleting them."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import transaction

from endpoints.past import changes

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from endpoints.alerts.alert_models import AlertChannel

NO_URL = "This is no URL that can be posted to. Write it like https://…"


def read_url(text: str) -> str:
    """Raises ValidationError, whose message does not repeat it."""
    url = text.strip()
    try:
        parts = urlsplit(url)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and url.isascii()
    except ValueError:
        usable = False
    if not usable:
        raise ValidationError(NO_URL)
    return url


def read_recipients(text: str) -> str:
    """Addresses with one space between them. Raises ValidationError."""
    addresses = text.replace(",", " ").split()
    for address in addresses:
        validate_email(address)
    return " ".join(addresses)


def put_in(channel: AlertChannel, *, url: str = "", secret: str | None = None) -> None:
    """A new URL, a new secret, or both; `url` is as `read_url` gives it. The caller saves.

    A secret is for whom it was entered: it goes with the old URL when the new one has another host.
    """
    if url:
        moved = channel.encrypted_url and channel.host != urlsplit(url).hostname
        channel.set_url(url)
        if moved:
            channel.set_secret("")
    if secret is not None:
        channel.set_secret(secret)


def save(channel: AlertChannel, changed: Sequence[str] = ()) -> None:
    """Store it, and who changed which of its fields; a new one needs none to be named."""
    with transaction.atomic():
        new = channel.pk is None
        channel.save()
        if new:
            changes.record(channel, "added")
        elif changed:
            changes.record(channel, "changed", (f"fields: {', '.join(changed)}",))


def delete(channels: Iterable[AlertChannel]) -> None:
    """What was told through them goes with them; who deleted them stays."""
    with transaction.atomic():
        for channel in channels:
            changes.record(channel, "deleted")
            channel.delete()
