"""What may go to an endpoint in headers: those that it is given, and the credential that signs in to it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from django.core.exceptions import ValidationError
from django.utils.translation import gettext

from endpoints.choices import AuthKind
from endpoints.errors import CredentialError
from ollaproject.wire import socket_urls

if TYPE_CHECKING:
    from endpoints.models import Endpoint

HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}", re.ASCII)  # a token of RFC 9110, section 5.6.2
HEADER_VALUE = re.compile(r"[\t\x20-\x7e]*", re.ASCII)

MANAGED_HEADERS = frozenset(
    {
        "connection",
        "content-length",
        "expect",
        "host",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
CREDENTIAL_HEADERS = frozenset({"api-key", "authorization", "cookie", "x-api-key", "x-auth-token"})


def check_headers(endpoint: Endpoint) -> None:
    headers: Any = endpoint.headers
    if not isinstance(headers, dict):
        raise ValidationError(gettext("Headers must be a mapping of names to values."))
    mistakes = [mistake for name, value in headers.items() if (mistake := _header_mistake(name, value))]
    lowered = [str(name).lower() for name in headers]
    mistakes += [
        gettext("The header {name} is given twice.").format(name=name)
        for name in sorted(set(lowered))
        if lowered.count(name) > 1
    ]
    if mistakes:
        raise ValidationError(mistakes)


def check_auth_kind(endpoint: Endpoint) -> None:
    if endpoint.auth_kind == AuthKind.NONE and endpoint.has_credential:
        raise ValidationError(
            gettext("A credential is stored but “none” is chosen. Choose how it is sent, or remove it.")
        )
    if endpoint.auth_kind != AuthKind.NONE and not endpoint.has_credential:
        raise ValidationError(
            gettext("This way of signing in needs a credential. Enter one, or choose “none”.")
        )
    try:
        plain = endpoint.credential()
    except CredentialError as error:
        raise ValidationError(str(error)) from None
    # A password travels in base64, so it may hold anything; the other kinds are header values as they are.
    if endpoint.auth_kind != AuthKind.BASIC:
        check_credential(plain)


def check_destination(endpoint: Endpoint) -> None:
    """A stored credential goes to no other host than it was entered for: it could be read there."""
    if not endpoint.pk or not endpoint.has_credential:
        return
    same = type(endpoint)._default_manager.filter(
        pk=endpoint.pk, encrypted_credential=endpoint.encrypted_credential
    )
    before = same.first()
    if before is not None and (new := sorted(hosts(endpoint) - hosts(before))):
        raise ValidationError(
            gettext(
                "The stored credential was not entered for {hosts}. Enter it again, or remove it."
            ).format(hosts=", ".join(new))
        )


def hosts(endpoint: Endpoint) -> set[str]:
    """Which hosts and sockets are asked with its credential."""
    try:
        found = {_host(url) for url in (endpoint.url, endpoint.health_check_url, endpoint.model_url)}
    except ValueError:
        return set()  # a mistake that the field's own rule names
    return {host for host in found if host}


def _host(url: str) -> str | None:
    """A socket counts as a host of its own: who listens at one need not listen at another."""
    return urlsplit(url).hostname if socket_urls.read(url) is None else socket_urls.server_of(url)


def check_auth_header(endpoint: Endpoint) -> None:
    name = endpoint.auth_header
    if not name:
        return
    if endpoint.auth_kind != AuthKind.API_KEY:
        raise ValidationError(gettext("Only an API key is sent in a header of its own. Leave this empty."))
    if not HEADER_NAME.fullmatch(name) or name.lower() in MANAGED_HEADERS:
        words = gettext("{name!r} cannot carry an API key. Use a header name such as X-Api-Key.")
        raise ValidationError(words.format(name=name))


def check_auth_username(endpoint: Endpoint) -> None:
    name = endpoint.auth_username
    if endpoint.auth_kind == AuthKind.BASIC and not name:
        raise ValidationError(gettext("Basic sign-in needs a user name."))
    if name and endpoint.auth_kind != AuthKind.BASIC:
        raise ValidationError(gettext("A user name is only used with Basic sign-in. Leave this empty."))
    if ":" in name or not name.isprintable():
        raise ValidationError(
            gettext("A user name cannot hold a colon or a line break: it is sent as name:password.")
        )


def check_credential(plain: str) -> None:
    """A token or key, as it will stand in a header. The message never repeats it."""
    if not plain.isascii() or not plain.isprintable() or plain != plain.strip():
        raise ValidationError(
            gettext(
                "A credential is printable ASCII without spaces at its ends or line breaks. Copy it again."
            )
        )


def _header_mistake(name: Any, value: Any) -> str:
    """What is wrong with one header, empty when nothing is. The value may be secret and is never repeated."""
    if not isinstance(name, str) or not HEADER_NAME.fullmatch(name):
        words = gettext("{name!r} is not a header name.")
    elif name.lower() in CREDENTIAL_HEADERS:
        words = gettext(
            "{name} carries a credential. Use the authentication fields, where it is stored encrypted."
        )
    elif name.lower() in MANAGED_HEADERS:
        words = gettext("{name} is set by the gateway itself and cannot be given here.")
    elif not isinstance(value, str) or not HEADER_VALUE.fullmatch(value) or value != value.strip():
        words = gettext("The value of {name} must be one line of text without spaces at its ends.")
    else:
        return ""
    return words.format(name=name)
