"""What alerts need of the deployment: a mail server, and the gateway's own URL for their links."""

from __future__ import annotations

import socket
from urllib.parse import unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured

from ollaproject.env import env_secret, env_sender, env_str

__all__ = [
    "DEFAULT_FROM_EMAIL",
    "EMAIL_HOST",
    "EMAIL_HOST_PASSWORD",
    "EMAIL_HOST_USER",
    "EMAIL_PORT",
    "EMAIL_USE_SSL",
    "EMAIL_USE_TLS",
    "OLLA_PUBLIC_URL",
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


def public_url(url: str) -> str:
    """Without a slash at its end; empty without one."""
    if not url:
        return ""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and url.isascii()
        usable = usable and "@" not in parts.netloc and not parts.query and not parts.fragment
        usable = usable and url == "".join(url.split()) and (parts.port or 1) > 0
    except ValueError:
        usable = False
    if not usable:
        raise ImproperlyConfigured(
            "OLLA_PUBLIC_URL is no URL of a gateway. Write it like https://llm.example.com."
        )
    return url.rstrip("/")


EMAIL_HOST, EMAIL_PORT, EMAIL_HOST_USER, EMAIL_HOST_PASSWORD, _scheme = server_of(env_secret("OLLA_SMTP_URL"))
EMAIL_USE_TLS, EMAIL_USE_SSL = _scheme == "smtp+starttls", _scheme == "smtps"
DEFAULT_FROM_EMAIL = env_sender("OLLA_EMAIL_FROM", f"olla@{socket.gethostname()}")
OLLA_PUBLIC_URL = public_url(env_str("OLLA_PUBLIC_URL"))
