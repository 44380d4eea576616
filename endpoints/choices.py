"""The words of the fleet: statuses, how an operator has set an endpoint, how a credential is sent.

One place says which statuses are routable and what word stands for each, so that the dashboard, the admin and
the routing table cannot disagree.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from django.db import models
from django.utils.translation import gettext_lazy as _


class Status(models.TextChoices):
    """What the health rules say of an endpoint."""

    UNKNOWN = "unknown", _("Unknown")
    HEALTHY = "healthy", _("Healthy")
    BUSY = "busy", _("Busy")
    WARMING = "warming", _("Warming up")
    ASLEEP = "asleep", _("Asleep")
    UNHEALTHY = "unhealthy", _("Unhealthy")
    OFFLINE = "offline", _("Offline")
    CONFIG_ERROR = "config_error", _("Configuration error")
    RATE_LIMITED = "rate_limited", _("Rate limited")


# How much of its share an endpoint gets, compared with one that is healthy. What is not here gets nothing.
TRAFFIC: Final = {Status.HEALTHY: 1.0, Status.BUSY: 0.3}
ROUTABLE: Final = frozenset(TRAFFIC)
# It runs no server now, and is woken by the first request for one of its models (endpoints.routing.sleep).
WAKEABLE: Final = frozenset({Status.ASLEEP})
# What it passes through on its way from there.
WAKING: Final = frozenset({Status.UNKNOWN, Status.WARMING})


class Mode(models.TextChoices):
    """What the operator wants of an endpoint."""

    ACTIVE = "active", _("In service")
    DRAINING = "draining", _("Draining: running requests finish, no new ones")
    PAUSED = "paused", _("Paused: no requests, no checks")
    MAINTENANCE = "maintenance", _("Maintenance: paused until a set time")


# An operator has taken it out altogether: it is not checked, and nothing is known of it.
SET_ASIDE: Final = frozenset({Mode.PAUSED, Mode.MAINTENANCE})


class Span(models.IntegerChoices):
    """What checks are summed up by: its length in seconds, and the name that the database knows it by."""

    MINUTE = 60, "minute"
    HOUR = 3600, "hour"
    DAY = 86400, "day"


class Retry(models.TextChoices):
    """Whether a request that failed at an endpoint before its answer began is sent to the next one."""

    SAFE = "safe", _("Safe: what has no effect but its cost, and what has not been sent")
    ALWAYS = "always", _("Always: whatever it was")
    NEVER = "never", _("Never: once it has been sent")


class AuthKind(models.TextChoices):
    """How an endpoint's credential is sent."""

    NONE = "none", _("None")
    BEARER = "bearer", _("Bearer token (Authorization: Bearer …)")
    API_KEY = "api_key", _("API key in a header")
    BASIC = "basic", _("User name and password (Basic)")


class Outcome(StrEnum):
    """What importing a file did, or would do, to an endpoint or an alias."""

    ADDED = "added"
    CHANGED = "changed"
    UNCHANGED = "unchanged"
