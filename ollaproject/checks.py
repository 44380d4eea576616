"""System checks: what a person can misconfigure, each with a hint. `manage.py check` and `serve` run them."""

from __future__ import annotations

import ipaddress
import os
import re
from fnmatch import fnmatchcase
from importlib.metadata import version
from typing import Any
from urllib.parse import urlsplit

from cryptography.fernet import Fernet
from django.conf import settings
from django.core import checks

from endpoints import profiles
from ollaproject.env import env_list
from ollaproject.wire.cors import is_origin
from ollaproject.wire.roles import GRANTS, PREFIX

LAST_GOOD_REDIS_MAJOR = 7
BROKEN_CHANNELS_REDIS = "4.3.0"
MIN_PEPPER_LENGTH = 32
# `*` and `.example.com` are Django's patterns.
HOST = re.compile(r"\*|\[[0-9a-fA-F:.]+\]|\.?[^\s/:@\[\]*]+")
LOCAL_HOSTS = frozenset({"127.0.0.1", "::1", "localhost"})

Found = list[checks.CheckMessage]


@checks.register
def home_is_writable(**_kwargs: Any) -> Found:
    if os.access(settings.OLLA_HOME, os.W_OK | os.X_OK):
        return []
    return [
        checks.Error(
            f"OLLA_HOME is {settings.OLLA_HOME}, which this user cannot write to.",
            hint="Set OLLA_HOME to a folder of this user: the database, models and secrets are kept there.",
            id="olla.E001",
        )
    ]


@checks.register
def encryption_keys_are_keys(**_kwargs: Any) -> Found:
    for position, key in enumerate(settings.OLLA_ENCRYPTION_KEYS, 1):
        try:
            Fernet(key)
        except ValueError:
            return [
                checks.Error(
                    f"Key {position} of OLLA_ENCRYPTION_KEYS is not a Fernet key.",
                    hint="Make one with: python -c 'from cryptography.fernet import Fernet; "
                    "print(Fernet.generate_key().decode())'",
                    id="olla.E002",
                )
            ]
    return []


@checks.register
def peppers_are_secrets(**_kwargs: Any) -> Found:
    for position, pepper in enumerate(settings.OLLA_KEY_PEPPERS, 1):
        if len(pepper) < MIN_PEPPER_LENGTH:
            return [
                checks.Error(
                    f"Pepper {position} of OLLA_KEY_PEPPERS has fewer than {MIN_PEPPER_LENGTH} characters.",
                    hint="Make one with: python -c 'import secrets; print(secrets.token_urlsafe(50))'",
                    id="olla.E005",
                )
            ]
    return []


@checks.register
def allowed_hosts_are_hosts(**_kwargs: Any) -> Found:
    """A URL, or a name with a port, would never be the name that a request is compared with."""
    names = env_list("OLLA_ALLOWED_HOSTS")  # this machine's own may be what they are
    return _no_such(
        "OLLA_ALLOWED_HOSTS",
        [name for name in names if not HOST.fullmatch(name)],
        "no name of a host",
        hint="Write names alone, without scheme, port and path: llm.example.com,10.0.0.5",
        id="olla.E011",
    )


@checks.register
def trusted_proxies_are_networks(**_kwargs: Any) -> Found:
    return _no_such(
        "OLLA_TRUSTED_PROXIES",
        [network for network in settings.OLLA_TRUSTED_PROXIES if not _is_network(network)],
        "no address and no network",
        hint="Write addresses or CIDR networks, separated by commas: 10.0.0.5,192.168.1.0/24",
        id="olla.E003",
    )


@checks.register
def cors_origins_are_origins(**_kwargs: Any) -> Found:
    return _no_such(
        "OLLA_CORS_ORIGINS",
        [origin for origin in settings.OLLA_CORS_ORIGINS if not is_origin(origin)],
        "no origin",
        hint="Write them as browsers send them, without a path: https://chat.example.com,http://localhost:3000",
        id="olla.E009",
    )


@checks.register
def backend_types_are_types(**_kwargs: Any) -> Found:
    every = profiles.load(profiles.FOLDER)
    globs = settings.OLLA_BACKEND_TYPES
    return _no_such(
        "OLLA_BACKEND_TYPES",
        [glob for glob in globs if not any(fnmatchcase(name, glob.removeprefix("!")) for name in every)],
        "no type of backend",
        hint=f"The types are {', '.join(every)}.",
        id="olla.E010",
    )


@checks.register
def redis_client_fits_the_channel_layer(**_kwargs: Any) -> Found:
    """redis-py 8 times out a blocking read after 5 s, which is how long the channel layer blocks."""
    if int(version("redis").split(".", 1)[0]) <= LAST_GOOD_REDIS_MAJOR:
        return []
    if version("channels-redis") != BROKEN_CHANNELS_REDIS:
        return []
    return [
        checks.Error(
            f"redis {version('redis')} is installed: with channels-redis {BROKEN_CHANNELS_REDIS} "
            "it drops every websocket after five seconds.",
            hint="Install what requirements.txt pins: pip install 'redis<8'",
            id="olla.E004",
        )
    ]


@checks.register
def sign_in_elsewhere_is_whole(**_kwargs: Any) -> Found:
    if not settings.OLLA_OIDC_ISSUER:
        return []
    found: Found = []
    if not settings.OIDC_RP_CLIENT_ID:
        found.append(
            checks.Error(
                "OLLA_OIDC_ISSUER is set, and OLLA_OIDC_CLIENT_ID is not.",
                hint="Register the gateway with the provider, and give the client id that it has there.",
                id="olla.E008",
            )
        )
    url = urlsplit(settings.OLLA_OIDC_ISSUER)
    if url.scheme != "https" and url.hostname not in LOCAL_HOSTS:
        found.append(
            checks.Error(
                f"OLLA_OIDC_ISSUER is {settings.OLLA_OIDC_ISSUER}, which is no https address.",
                hint="Over http, anybody on the way could sign in as anybody.",
                id="olla.E006",
            )
        )
    if unknown := set(settings.OLLA_OIDC_ROLES.values()) - {each.removeprefix(PREFIX) for each in GRANTS}:
        found.append(
            checks.Error(
                f"OLLA_OIDC_ROLES names {', '.join(sorted(unknown))}, which is no role.",
                hint="Roles are viewer, member, lead, operator and admin: llm-admins=admin,llm-ops=operator",
                id="olla.E007",
            )
        )
    return found


@checks.register(deploy=True)
def remote_callers_can_be_told_apart(**_kwargs: Any) -> Found:
    if settings.OLLA_API_AUTH != "never" or settings.OLLA_HOST in LOCAL_HOSTS:
        return []
    return [
        checks.Warning(
            f"OLLA_API_AUTH=never on {settings.OLLA_HOST}: whoever reaches this port can use every model.",
            hint="Set OLLA_API_AUTH=remote unless the network itself keeps strangers out.",
            id="olla.W001",
        )
    ]


def _no_such(setting: str, values: list[str], what: str, *, hint: str, id: str) -> Found:  # noqa: A002 - Django's
    """Of those that a setting names and should not."""
    return [
        checks.Error(f"{setting} names {value!r}, which is {what}.", hint=hint, id=id) for value in values
    ]


def _is_network(text: str) -> bool:
    try:
        ipaddress.ip_network(text)
    except ValueError:
        return False
    return True
