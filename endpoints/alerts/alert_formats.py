"""What is sent to each kind of channel: the same message in the form that the other side reads. Pure."""

from __future__ import annotations

import hashlib
import hmac
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from endpoints.alerts.alert_models import ChannelKind
from endpoints.alerts.alert_rules import headline, is_bad, lines, path_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from zoneinfo import ZoneInfo

    from endpoints.alerts.alert_rules import Event

SIGNATURE_HEADER: Final = "X-Olla-Signature"
DISCORD_LONGEST: Final = 2000
LOOK: Final = "Open the gateway"
SLACK_ESCAPES: Final = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


@dataclass(frozen=True, slots=True)
class Post:
    """A POST to the channel's URL. Its headers may hold a secret."""

    body: bytes
    headers: dict[str, str] = field(repr=False)


def post_for(
    kind: ChannelKind | str, events: Sequence[Event], *, secret: str, zone: ZoneInfo, base: str = ""
) -> Post:
    """`secret` signs a webhook, and is the access token of ntfy. Empty: none.

    `base` is the gateway's URL, for links. Empty: there are none.
    """
    return FORMATS[ChannelKind(kind)](Message(events, secret, zone, base))


@dataclass(frozen=True, slots=True)
class Message:
    """What is to be told, and how."""

    events: Sequence[Event]
    secret: str = field(repr=False)
    zone: ZoneInfo
    base: str

    @property
    def headline(self) -> str:
        return headline(self.events)

    @property
    def text(self) -> str:
        return "\n".join(lines(self.events, self.zone))

    @property
    def link(self) -> str:
        """Where to read more; empty when the gateway does not know its own URL."""
        return self.base and self.base + path_of(self.events)


def as_text(events: Sequence[Event], zone: ZoneInfo, base: str = "") -> str:
    message = Message(events, "", zone, base)
    return f"{message.text}\n\n{message.link}" if message.link else message.text


def _webhook(message: Message) -> Post:
    """Ours: an object with everything in it. A signature is the HMAC-SHA256 of the body under the secret."""
    told = [_as_object(event, message.base) for event in message.events]
    document = {"title": message.headline, "text": message.text, "events": told}
    body = _json(document | ({"url": message.link} if message.link else {}))
    headers = {"Content-Type": "application/json"}
    if message.secret:
        digest = hmac.new(message.secret.encode(), body, hashlib.sha256).hexdigest()
        headers[SIGNATURE_HEADER] = f"sha256={digest}"
    return Post(body, headers)


def _as_object(event: Event, base: str) -> dict[str, str]:
    told = {"at": event.at.isoformat(), "kind": str(event.kind), "subject": event.subject, "text": event.text}
    return told | ({"url": base + event.path} if base and event.path else {})


def _slack(message: Message) -> Post:
    """https://api.slack.com/messaging/webhooks: three characters are escaped."""
    text = f"*{_slack_escaped(message.headline)}*\n{_slack_escaped(message.text)}"
    if message.link:
        text += f"\n<{_slack_escaped(message.link)}|{LOOK}>"
    return Post(_json({"text": text}), {"Content-Type": "application/json"})


def _discord(message: Message) -> Post:
    """https://discord.com/developers/docs/resources/webhook: nobody is pinged by what a name may hold."""
    link = f"\n[{LOOK}](<{message.link}>)" if message.link else ""
    content = f"**{message.headline}**\n{message.text}"[: DISCORD_LONGEST - len(link)] + link
    document: dict[str, Any] = {"content": content, "allowed_mentions": {"parse": []}}
    return Post(_json(document), {"Content-Type": "application/json"})


def _ntfy(message: Message) -> Post:
    """https://docs.ntfy.sh/publish/: the text is the body, all else is in headers."""
    bad = is_bad(message.events)
    headers = {
        "Title": message.headline.encode("ascii", "replace").decode(),
        "Priority": "high" if bad else "default",
        "Tags": "rotating_light" if bad else "white_check_mark",
        "Content-Type": "text/plain; charset=utf-8",
    }
    if message.link:
        headers["Click"] = message.link
    if message.secret:
        headers["Authorization"] = f"Bearer {message.secret}"
    return Post(message.text.encode(), headers)


def _slack_escaped(text: str) -> str:
    return "".join(SLACK_ESCAPES.get(character, character) for character in text)


def _json(document: dict[str, Any]) -> bytes:
    return json.dumps(document, ensure_ascii=False).encode()


FORMATS: Final[dict[ChannelKind, Callable[[Message], Post]]] = {
    ChannelKind.WEBHOOK: _webhook,
    ChannelKind.SLACK: _slack,
    ChannelKind.DISCORD: _discord,
    ChannelKind.NTFY: _ntfy,
}
