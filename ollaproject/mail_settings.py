"""The mail server for alerts, from one URL: `smtp+starttls://user:password@mail.example.com:587`."""

from __future__ import annotations

import socket
from urllib.parse import unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured

from ollaproject.env import env_secret, env_str

__all__ = [
    "DEFAULT_FROM_EMAIL",
    "EMAIL_HOST",
    "EMAIL_HOST_PASSWORD",
    "EMAIL_HOST_USER",
    "EMAIL_PORT",
    "EMAIL_USE_SSL",
    "EMAIL_USE_TLS",
]

# Scheme → its usual port.
PORTS = {"smtp": 25, "smtp+starttls": 587, "smtps": 465}
ADVICE = (
    "Write it like smtp+starttls://user:password@mail.example.com:587, or smtps://, "
    "or smtp:// without encryption."
)


def server_of(url: str) -> tuple[str, int, str, str, str]:
    """Host, port, user, password, scheme; all empty without a URL. No message of an error repeats it."""
    if not url:
        return "", 0, "", "", ""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ImproperlyConfigured(f"OLLA_SMTP_URL does not parse. {ADVICE}") from None
    if parts.scheme not in PORTS or not parts.hostname:
        raise ImproperlyConfigured(f"OLLA_SMTP_URL names no mail server. {ADVICE}")
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    return parts.hostname, port or PORTS[parts.scheme], user, password, parts.scheme


EMAIL_HOST, EMAIL_PORT, EMAIL_HOST_USER, EMAIL_HOST_PASSWORD, _scheme = server_of(env_secret("OLLA_SMTP_URL"))
EMAIL_USE_TLS, EMAIL_USE_SSL = _scheme == "smtp+starttls", _scheme == "smtps"
DEFAULT_FROM_EMAIL = env_str("OLLA_EMAIL_FROM", f"olla@{socket.gethostname()}")
