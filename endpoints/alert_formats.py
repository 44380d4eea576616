"""What is sent to each kind of channel: the same message in the form that the other side reads. Pure."""

from __future__ import annotations

import hashlib
import hmac
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from endpoints.alert_models import ChannelKind
from endpoints.alert_rules import headline, is_bad, lines

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from zoneinfo import ZoneInfo

    from endpoints.alert_rules import Event

SIGNATURE_HEADER: Final = "X-Olla-Signature"
DISCORD_LONGEST: Final = 2000
SLACK_ESCAPES: Final = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


@dataclass(frozen=True, slots=True)
class Post:
    """A POST to the channel's URL. Its headers may hold a secret."""

    body: bytes
    headers: dict[str, str] = field(repr=False)


def post_for(kind: ChannelKind | str, events: Sequence[Event], *, secret: str, zone: ZoneInfo) -> Post:
    """`secret` signs a webhook, and is the access token of ntfy. Empty: none."""
    return FORMATS[ChannelKind(kind)](events, secret, zone)


def as_text(events: Sequence[Event], zone: ZoneInfo) -> str:
    return "\n".join(lines(events, zone))


def _webhook(events: Sequence[Event], secret: str, zone: ZoneInfo) -> Post:
    """Ours: an object with everything in it. A signature is the HMAC-SHA256 of the body under the secret."""
    told = [
        {"at": event.at.isoformat(), "kind": str(event.kind), "subject": event.subject, "text": event.text}
        for event in events
    ]
    body = _json({"title": headline(events), "text": as_text(events, zone), "events": told})
    headers = {"Content-Type": "application/json"}
    if secret:
        digest = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
        headers[SIGNATURE_HEADER] = f"sha256={digest}"
    return Post(body, headers)


def _slack(events: Sequence[Event], secret: str, zone: ZoneInfo) -> Post:  # noqa: ARG001
    """https://api.slack.com/messaging/webhooks: three characters are escaped."""
    title, text = (_slack_escaped(each) for each in (headline(events), as_text(events, zone)))
    return Post(_json({"text": f"*{title}*\n{text}"}), {"Content-Type": "application/json"})


def _discord(events: Sequence[Event], secret: str, zone: ZoneInfo) -> Post:  # noqa: ARG001
    """https://discord.com/developers/docs/resources/webhook: nobody is pinged by what a name may hold."""
    content = f"**{headline(events)}**\n{as_text(events, zone)}"[:DISCORD_LONGEST]
    message: dict[str, Any] = {"content": content, "allowed_mentions": {"parse": []}}
    return Post(_json(message), {"Content-Type": "application/json"})


def _ntfy(events: Sequence[Event], secret: str, zone: ZoneInfo) -> Post:
    """https://docs.ntfy.sh/publish/: the text is the body, all else is in headers."""
    bad = is_bad(events)
    headers = {
        "Title": headline(events).encode("ascii", "replace").decode(),
        "Priority": "high" if bad else "default",
        "Tags": "rotating_light" if bad else "white_check_mark",
        "Content-Type": "text/plain; charset=utf-8",
    }
    if secret:
        headers["Authorization"] = f"Bearer {secret}"
    return Post(as_text(events, zone).encode(), headers)


def _slack_escaped(text: str) -> str:
    return "".join(SLACK_ESCAPES.get(character, character) for character in text)


def _json(document: dict[str, Any]) -> bytes:
    return json.dumps(document, ensure_ascii=False).encode()


FORMATS: Final[dict[ChannelKind, Callable[[Sequence[Event], str, ZoneInfo], Post]]] = {
    ChannelKind.WEBHOOK: _webhook,
    ChannelKind.SLACK: _slack,
    ChannelKind.DISCORD: _discord,
    ChannelKind.NTFY: _ntfy,
}
