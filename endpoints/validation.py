"""What an endpoint may be. Every refusal is a sentence that says what is wrong and what to do instead."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, urlsplit

from django.core.exceptions import ValidationError
from django.utils.translation import gettext

from endpoints import profiles
from endpoints.choices import Retry
from endpoints.errors import ProfileError
from endpoints.header_validation import (
    check_auth_header,
    check_auth_kind,
    check_auth_username,
    check_destination,
    check_headers,
)
from endpoints.socket_validation import check_socket
from ollaproject.wire import socket_urls
from ollaproject.wire.durations import format_duration

if TYPE_CHECKING:
    from collections.abc import Callable

    from endpoints.models import Endpoint

MIN_INTERVAL_SECONDS = 1.0
MIN_DEEP_INTERVAL_SECONDS = 10.0
MAX_INTERVAL_SECONDS = 24 * 3600.0
MAX_PORT = 65535

NAME = re.compile(r"[!-~](?:[ -~]{0,62}[!-~])?", re.ASCII)
TAG = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}", re.ASCII)
HOST = re.compile(r"[A-Za-z0-9._:%-]+", re.ASCII)


def validate_model_name(name: str) -> None:
    """As clients send it in a request and in a URL."""
    if not name or not name.isprintable() or name != name.strip():
        raise ValidationError(gettext("A model's name is printable text without space at its ends."))


def validate_endpoint(endpoint: Endpoint) -> None:
    """Check every field and raise one ValidationError that holds every mistake, by field."""
    mistakes: dict[str, list[str]] = {}
    for field, check in CHECKS:
        try:
            check(endpoint)
        except ValidationError as error:
            mistakes.setdefault(field, []).extend(error.messages)
    if mistakes:
        raise ValidationError(mistakes)


def check_name(endpoint: Endpoint) -> None:
    if not NAME.fullmatch(endpoint.name):
        raise ValidationError(
            gettext(
                "A name is 1 to 64 printable ASCII characters without spaces at its ends: it is sent to "
                "clients in the header X-Olla-Endpoint. Try something like mac-mini-1."
            )
        )


def check_url(endpoint: Endpoint) -> None:
    parts = _split(endpoint.url, field=gettext("URL"))
    if "?" in endpoint.url or "#" in endpoint.url:
        raise ValidationError(
            gettext("The URL must not have a query or a fragment. Leave out what follows the path.")
        )
    if parts.path.strip("/") and not endpoint.preserve_path:
        raise ValidationError(
            gettext(
                "The URL has the path {path}, which is not used unless “preserve path” is on. Turn it on, or "
                "leave the path out (requests for /v1/… bring their own)."
            ).format(path=parts.path)
        )


def check_type(endpoint: Endpoint) -> None:
    if endpoint.type == profiles.AUTO:
        raise ValidationError(gettext("The type could not be detected. Choose it."))
    try:
        profiles.profile(endpoint.type)
    except ProfileError as error:
        raise ValidationError(str(error)) from None


def check_interval(endpoint: Endpoint) -> None:
    seconds = endpoint.check_interval_seconds
    if not _is_number(seconds) or not MIN_INTERVAL_SECONDS <= seconds <= MAX_INTERVAL_SECONDS:
        raise ValidationError(gettext("The check interval must be between 1s and 24h, for example 5s."))


def check_deep_interval(endpoint: Endpoint) -> None:
    seconds = endpoint.deep_check_interval_seconds
    if seconds is None:
        return
    if not _is_number(seconds) or not MIN_DEEP_INTERVAL_SECONDS <= seconds <= MAX_INTERVAL_SECONDS:
        raise ValidationError(gettext("The deep check interval must be between 10s and 24h, for example 5m."))


def check_timeout(endpoint: Endpoint) -> None:
    seconds, interval = endpoint.check_timeout_seconds, endpoint.check_interval_seconds
    if not _is_number(seconds) or seconds <= 0:
        raise ValidationError(gettext("The check timeout must be longer than nothing, for example 2s."))
    if _is_number(interval) and MIN_INTERVAL_SECONDS <= interval <= seconds:
        raise ValidationError(
            gettext(
                "The check timeout ({timeout}) must be shorter than the check interval ({interval}), or one "
                "check would run into the next."
            ).format(timeout=format_duration(seconds), interval=format_duration(interval))
        )


def check_health_check_url(endpoint: Endpoint) -> None:
    _check_path_or_url(endpoint.health_check_url, field=gettext("health check URL"), example="/health")


def check_model_url(endpoint: Endpoint) -> None:
    _check_path_or_url(endpoint.model_url, field=gettext("model URL"), example="/v1/models")


def check_tags(endpoint: Endpoint) -> None:
    tags = endpoint.tags
    if not isinstance(tags, list) or not all(isinstance(tag, str) and TAG.fullmatch(tag) for tag in tags):
        raise ValidationError(
            gettext("A tag is one word of up to 40 letters, digits, dots, dashes and underscores.")
        )


def check_model_include(endpoint: Endpoint) -> None:
    _check_globs(endpoint.model_include)


def check_model_exclude(endpoint: Endpoint) -> None:
    _check_globs(endpoint.model_exclude)


def _positive(field: str, example: str) -> Callable[[Endpoint], None]:
    def check(endpoint: Endpoint) -> None:
        seconds = getattr(endpoint, field)
        if seconds is not None and (not _is_number(seconds) or not 0 < seconds <= MAX_INTERVAL_SECONDS):
            raise ValidationError(
                gettext(
                    "This timeout must be longer than nothing and at most 24h, for example {example}."
                ).format(example=example)
            )

    return check


def check_retry(endpoint: Endpoint) -> None:
    if endpoint.retry not in Retry.values:
        words = gettext("There is no {word!r} here. It is one of {known}.")
        raise ValidationError(words.format(word=endpoint.retry, known=", ".join(Retry.values)))


def check_max_concurrent(endpoint: Endpoint) -> None:
    if endpoint.max_concurrent is not None and endpoint.max_concurrent < 1:
        raise ValidationError(
            gettext("At least one request must be allowed. To let none through, pause the endpoint.")
        )


CHECKS: tuple[tuple[str, Callable[[Endpoint], None]], ...] = (
    ("name", check_name),
    ("url", check_url),
    ("type", check_type),
    ("check_interval_seconds", check_interval),
    ("check_timeout_seconds", check_timeout),
    ("deep_check_interval_seconds", check_deep_interval),
    ("health_check_url", check_health_check_url),
    ("model_url", check_model_url),
    ("tags", check_tags),
    ("model_include", check_model_include),
    ("model_exclude", check_model_exclude),
    ("headers", check_headers),
    ("auth_kind", check_auth_kind),
    ("url", check_destination),
    ("auth_header", check_auth_header),
    ("auth_username", check_auth_username),
    ("max_concurrent", check_max_concurrent),
    ("connect_timeout_seconds", _positive("connect_timeout_seconds", "2s")),
    ("first_byte_timeout_seconds", _positive("first_byte_timeout_seconds", "5m")),
    ("idle_timeout_seconds", _positive("idle_timeout_seconds", "2m")),
    ("retry", check_retry),
)


def _split(url: str, *, field: str) -> SplitResult:
    """The parts of an absolute http(s) or http+unix URL.

    The messages never repeat it: it may hold a password.
    """
    advice = gettext("Write it like http://192.168.0.100:8000.")
    if any(character.isspace() or not character.isprintable() for character in url):
        raise ValidationError(_said(gettext("The {field} must not hold spaces."), field, advice))
    if socket_urls.is_meant(url):
        check_socket(url)
        return urlsplit(url)
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ValidationError(_said(gettext("The {field} does not parse."), field, advice)) from None
    if parts.scheme not in {"http", "https"}:
        raise ValidationError(
            _said(gettext("The {field} must start with http:// or https://."), field, advice)
        )
    if "@" in parts.netloc:
        raise ValidationError(
            gettext(
                "The {field} must not hold credentials: it is shown on pages and in logs. Use the "
                "authentication fields, where they are stored encrypted."
            ).format(field=field)
        )
    if not parts.hostname or not HOST.fullmatch(parts.hostname):
        raise ValidationError(_said(gettext("The {field} has no valid host."), field, advice))
    if parts.netloc.endswith(":") or (port is not None and not 1 <= port <= MAX_PORT):
        words = gettext("The port of the {field} must be between 1 and {most}.")
        raise ValidationError(words.format(field=field, most=MAX_PORT))
    return parts


def _said(words: str, field: str, advice: str) -> str:
    return f"{words.format(field=field)} {advice}"


def _check_path_or_url(value: str, *, field: str, example: str) -> None:
    if not value:
        return
    if "://" in value and not value.startswith("/"):
        _split(value, field=field)
    elif not value.startswith("/") or value.startswith("//"):
        words = gettext("The {field} must be a path such as {example}, or a whole URL.")
        raise ValidationError(words.format(field=field, example=example))
    elif not value.isascii() or not value.isprintable() or " " in value or "#" in value:
        words = gettext("The {field} must not hold spaces, a fragment or characters outside ASCII.")
        raise ValidationError(words.format(field=field))


def _check_globs(globs: Any) -> None:
    if not isinstance(globs, list) or not all(isinstance(glob, str) and glob.strip() for glob in globs):
        raise ValidationError(
            gettext("This must be a list of patterns such as mlx-community/* (one per line).")
        )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
