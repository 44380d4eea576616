"""The tables of the door: the history of requests and what was used. Keys are in key_models.

Nothing of what was asked or answered is in any of these.
"""

from __future__ import annotations

from typing import Any, ClassVar

from django.core.validators import MinValueValidator
from django.db import models
from django.utils.translation import gettext, gettext_noop
from django.utils.translation import gettext_lazy as _

from proxy.access.identity import Identity
from proxy.access.key_models import KEY_NAME_LENGTH, ApiKey, PersonLimits, TeamLimits
from proxy.records.log_models import BudgetReached, KeptBody

__all__ = [
    "ApiKey",
    "BudgetReached",
    "Came",
    "Identity",
    "KeptBody",
    "ModelPrice",
    "PersonLimits",
    "RequestRecord",
    "TeamLimits",
    "TrafficTotal",
    "UsageTotal",
    "WebProcess",
]

ROUTE_LENGTH = 300
FIRST_REFUSED_STATUS = 400
FIRST_FAILED_STATUS = 500
NAME_LENGTH = 300
LIMIT_LENGTH = 200
PRICE: dict[str, Any] = {"max_digits": 12, "decimal_places": 6, "validators": [MinValueValidator(0)]}


class Attributed(models.Model):
    """Whose a request was: the ids to go by, and the names as they were then. No key, no user: 0 and empty.

    These are no foreign keys: what was used stays on record when a key, a person or a team is gone.
    """

    key_id = models.BigIntegerField(_("key id"), default=0)
    key_name = models.CharField(_("key"), max_length=KEY_NAME_LENGTH, blank=True, default="")
    user_id = models.BigIntegerField(_("user id"), default=0)
    user_name = models.CharField(_("user"), max_length=150, blank=True, default="")
    team_id = models.BigIntegerField(_("team id"), default=0)
    team_name = models.CharField(_("team"), max_length=150, blank=True, default="")

    class Meta:
        abstract = True


class Came(models.TextChoices):
    """What came of a request. Who leaves has neither been served nor been failed."""

    OK = "ok", _("Answered")
    FAILED = "failed", _("Failed")
    REFUSED = "refused", _("Refused")
    LEFT = "left", _("Client left")

    @classmethod
    def of(cls, status: int, error_code: str | None, *, client_left: bool) -> Came:
        if client_left:
            return cls.LEFT
        if FIRST_REFUSED_STATUS <= status < FIRST_FAILED_STATUS:
            return cls.REFUSED
        # A stream that was cut has begun as a good answer.
        return cls.FAILED if error_code or not status or status >= FIRST_FAILED_STATUS else cls.OK


class RequestRecord(Attributed):
    """Times in milliseconds. Tokens are null where the endpoint did not count them.

    Each of `attempts` is an endpoint, why it failed (null: it answered), how long it waited for a place there
    and how long it lasted.

    `model` is what was asked for, `served_model` the one that an alias led to, `routing` how it was found.
    `charged_tokens` is what counted towards limits: an estimate where the endpoint did not say. `limited_by`
    says which limit refused it.
    """

    at = models.DateTimeField(_("ended"))
    request_id = models.CharField(_("request id"), max_length=128)
    caller = models.CharField(_("caller"), max_length=64, blank=True)
    method = models.CharField(_("method"), max_length=20)
    route = models.CharField(_("route"), max_length=ROUTE_LENGTH)
    model = models.CharField(_("model"), max_length=NAME_LENGTH, blank=True)
    endpoint = models.CharField(_("endpoint"), max_length=NAME_LENGTH, blank=True)
    status = models.PositiveSmallIntegerField(_("HTTP status"), help_text=_("0: no answer had begun."))
    error_code = models.CharField(_("error code"), max_length=64, blank=True)
    client_left = models.BooleanField(_("client left"), default=False)
    stream = models.BooleanField(_("streamed"), default=False)
    attempts = models.JSONField(
        _("attempts"), default=list, help_text=_("Endpoint and why it failed, in the order tried.")
    )
    ttft_ms = models.FloatField(_("time to first byte (ms)"), null=True)
    duration_ms = models.FloatField(_("duration (ms)"))
    bytes_in = models.BigIntegerField(_("bytes in"))
    bytes_out = models.BigIntegerField(_("bytes out"))
    prompt_tokens = models.BigIntegerField(_("prompt tokens"), null=True)
    completion_tokens = models.BigIntegerField(_("completion tokens"), null=True)
    cached_tokens = models.BigIntegerField(_("cached tokens"), null=True)
    served_model = models.CharField(_("model that answered"), max_length=NAME_LENGTH, blank=True, default="")
    routing = models.CharField(_("routing"), max_length=100, blank=True, default="")
    charged_tokens = models.BigIntegerField(_("counted towards limits"), default=0)
    outcome = models.CharField(_("outcome"), max_length=8, choices=Came, default="", blank=True)
    limited_by = models.CharField(_("limited by"), max_length=LIMIT_LENGTH, default="", blank=True)

    class Meta:
        verbose_name = _("request")
        verbose_name_plural = _("requests")
        ordering: ClassVar = ["-at", "-id"]
        indexes: ClassVar = [
            models.Index(fields=["at"], name="requests_by_time"),
            models.Index(fields=["request_id"], name="requests_by_id"),
            models.Index(fields=["model", "at"], name="requests_by_model"),
            models.Index(fields=["endpoint", "at"], name="requests_by_endpoint"),
            models.Index(fields=["outcome", "at"], name="requests_by_outcome"),
            models.Index(fields=["user_id", "at"], name="requests_by_user"),
            models.Index(fields=["team_id", "at"], name="requests_by_team"),
            models.Index(fields=["key_id", "at"], name="requests_by_key"),
        ]

    def __str__(self) -> str:
        return self.request_id


class TrafficTotal(models.Model):
    """What all web processes have counted, in one row of JSON: `proxy.records.counts.Counts`."""

    SINGLETON = 1

    id = models.PositiveSmallIntegerField(primary_key=True, default=SINGLETON)
    counts = models.TextField()

    def __str__(self) -> str:
        return "What was counted"


class WebProcess(models.Model):
    """A web process that lives, as long as it is seen, and what is under way in it.

    `in_flight` is by the id of an endpoint, as text.
    """

    id = models.CharField(primary_key=True, max_length=32)
    host = models.CharField(max_length=100)
    pid = models.PositiveIntegerField()
    started_at = models.DateTimeField()
    seen_at = models.DateTimeField()
    in_flight = models.JSONField(default=dict)
    guests = models.JSONField(default=list)
    waiting = models.PositiveIntegerField(default=0)
    blocked = models.PositiveIntegerField(default=0)
    sessions = models.PositiveIntegerField(default=0)

    def __str__(self) -> str:
        return f"{self.host}, {self.pid}"


class UsageTotal(Attributed):
    """What was used on a day (UTC), summed up as the rows of requests are written, in the same transaction.

    `model` is the one that answered, `endpoint` where; both are empty when no endpoint was reached. Failed is
    what got an error or was cut; `abandoned` is who left before the end, and no failure; `limited` are those
    of the failures that a limit or a budget refused. Times are sums in milliseconds; `begun` counts the
    answers that began, which `ttft_ms` is the sum of. `timed_tokens` were written in `writing_ms`: of streams
    alone, after their first token, because nobody sees when the others are written.
    """

    day = models.DateField(_("day"))
    model = models.CharField(_("model"), max_length=NAME_LENGTH, blank=True)
    endpoint = models.CharField(_("endpoint"), max_length=NAME_LENGTH, blank=True)
    requests = models.BigIntegerField(_("requests"), default=0)
    failures = models.BigIntegerField(_("failures"), default=0)
    abandoned = models.BigIntegerField(_("abandoned by clients"), default=0)
    limited = models.BigIntegerField(_("refused by limits"), default=0)
    prompt_tokens = models.BigIntegerField(_("prompt tokens"), default=0)
    completion_tokens = models.BigIntegerField(_("completion tokens"), default=0)
    cached_tokens = models.BigIntegerField(_("cached tokens"), default=0)
    charged_tokens = models.BigIntegerField(_("counted towards limits"), default=0)
    bytes_in = models.BigIntegerField(_("bytes in"), default=0)
    bytes_out = models.BigIntegerField(_("bytes out"), default=0)
    duration_ms = models.FloatField(_("duration (ms)"), default=0)
    ttft_ms = models.FloatField(_("time to first byte (ms)"), default=0)
    begun = models.BigIntegerField(_("answers that began"), default=0)
    timed_tokens = models.BigIntegerField(_("tokens that were timed"), default=0)
    writing_ms = models.FloatField(_("time of writing (ms)"), default=0)

    class Meta:
        verbose_name = _("usage of a day")
        verbose_name_plural = _("usage by day")
        permissions: ClassVar = [("view_team_usage", gettext_noop("Can view the usage of the own teams"))]
        ordering: ClassVar = ["-day"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["day", "key_id", "user_id", "team_id", "model", "endpoint"], name="one_total_per_day"
            )
        ]

    def __str__(self) -> str:
        key, model = self.key_name or gettext("no key"), self.model or gettext("no model")
        return f"{self.day}: {key}, {model}"


class ModelPrice(models.Model):
    """What a team charges for a million tokens. The most exact pattern that fits a model's name counts."""

    pattern = models.CharField(
        _("models"),
        max_length=NAME_LENGTH,
        unique=True,
        help_text=_("A name, or a pattern such as mlx-community/*-4bit."),
    )
    prompt = models.DecimalField(_("per million prompt tokens"), **PRICE)
    cached = models.DecimalField(
        _("of them cached"), null=True, blank=True, help_text=_("Empty: as the others."), **PRICE
    )
    completion = models.DecimalField(_("per million completion tokens"), **PRICE)

    class Meta:
        verbose_name = _("model price")
        verbose_name_plural = _("model prices")
        ordering: ClassVar = ["pattern"]

    def __str__(self) -> str:
        return self.pattern
