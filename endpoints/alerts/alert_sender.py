"""Sends one message to one channel, over HTTP or by e-mail. Nothing else of the alerts speaks to others."""

from __future__ import annotations

import asyncio
import smtplib
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING

import httpx
from django.conf import settings
from django.core.mail import EmailMessage, get_connection

from endpoints.alerts.alert_formats import as_text, post_for
from endpoints.alerts.alert_models import ChannelKind
from endpoints.alerts.alert_rules import headline
from endpoints.health.health_answers import read_retry_after
from endpoints.health.probe import failure_in_words
from ollaproject.sealed import SealBroken
from ollaproject.wire import clock

if TYPE_CHECKING:
    from collections.abc import Sequence

    from endpoints.alerts.alert_formats import Post
    from endpoints.alerts.alert_models import AlertChannel
    from endpoints.alerts.alert_rules import Event

TIMEOUT_SECONDS = 10.0
SMTP_PERMANENT = 500  # RFC 5321, section 4.2.1: 4yz may pass, 5yz will not
# The other side may take these later; any other refusal stays one.
PASSING = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS})


@dataclass(frozen=True, slots=True)
class NotSent:
    """Why, in words that hold no secret. `final`: another attempt would fare no better."""

    reason: str
    final: bool = False
    retry_after_seconds: float | None = None


def send(channel: AlertChannel, events: Sequence[Event]) -> NotSent | None:
    """None when it was taken."""
    try:
        return _mail(channel, events) if channel.kind == ChannelKind.EMAIL else _post(channel, events)
    except SealBroken:
        reason = "its URL or secret cannot be decrypted with OLLA_ENCRYPTION_KEYS: enter it again"
        return NotSent(reason, final=True)


def _post(channel: AlertChannel, events: Sequence[Event]) -> NotSent | None:
    url = channel.url()
    if not url:
        return NotSent("it has no URL", final=True)
    base = settings.OLLA_PUBLIC_URL
    post = post_for(channel.kind, events, secret=channel.secret(), zone=channel.zone, base=base)
    if not all(value.isascii() and value.isprintable() for value in post.headers.values()):
        return NotSent("its secret holds what no header may: enter it again", final=True)
    try:
        answer = asyncio.run(_answer_to(post, url))
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
        return NotSent(failure_in_words(error, TIMEOUT_SECONDS))
    if answer.is_success:
        return None
    passing = answer.status_code in PASSING or answer.is_server_error
    wait = read_retry_after(answer.headers.get("Retry-After", ""), now=clock.now())
    return NotSent(f"it answered {answer.status_code}", final=not passing, retry_after_seconds=wait)


async def _answer_to(post: Post, url: str) -> httpx.Response:
    """Its head, within one limit for all of it. Its body is of no interest, and may have no end."""
    async with (
        asyncio.timeout(TIMEOUT_SECONDS),
        httpx.AsyncClient(timeout=None, follow_redirects=False) as client,  # noqa: S113 - the one above
        client.stream("POST", url, content=post.body, headers=post.headers) as answer,
    ):
        return answer


def _mail(channel: AlertChannel, events: Sequence[Event]) -> NotSent | None:
    if not settings.EMAIL_HOST:
        return NotSent("no mail server is set: OLLA_SMTP_URL", final=True)
    message = EmailMessage(
        subject=headline(events),
        body=as_text(events, channel.zone, settings.OLLA_PUBLIC_URL) + "\n",
        to=channel.recipients.split(),
        connection=get_connection(timeout=TIMEOUT_SECONDS),
    )
    try:
        message.send()
    except smtplib.SMTPResponseException as error:
        permanent = error.smtp_code >= SMTP_PERMANENT
        return NotSent(f"the mail server answered {error.smtp_code}", final=permanent)
    except smtplib.SMTPRecipientsRefused as error:
        permanent = all(code >= SMTP_PERMANENT for code, _ in error.recipients.values())
        return NotSent("the mail server refused the recipients", final=permanent)
    except (smtplib.SMTPException, OSError) as error:
        return NotSent(f"the mail server cannot be reached: {failure_in_words(error, TIMEOUT_SECONDS)}")
    return None
