"""The fleet's tables: what an endpoint is, how it is, what it serves, and what was seen of it.

What an operator configures (Endpoint) and what checks find (EndpointHealth) never overwrite each other.
"""

from __future__ import annotations

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.utils.translation import gettext_lazy as _
from django.utils.translation import gettext_noop

from endpoints import secrets, validation
from endpoints.alerts.alert_models import AlertChannel, AlertDelivery
from endpoints.aliases.alias_models import AliasedModel, ModelAlias
from endpoints.choices import AuthKind, Mode, Retry, Span, Status
from endpoints.past.change_row import Change
from endpoints.routing.revision_row import Revision
from endpoints.status_page_row import StatusPage
from ollaproject.wire import socket_urls

__all__ = [
    "AlertChannel",
    "AlertDelivery",
    "AliasedModel",
    "Change",
    "CheckSummary",
    "Endpoint",
    "EndpointHealth",
    "EndpointModel",
    "HealthCheck",
    "ModelAlias",
    "Revision",
    "StatusPage",
    "Transition",
]

MAX_NAME_LENGTH = 64
URLS = ("url", "model_url", "health_check_url")


class Endpoint(models.Model):
    """A server of models, as an operator describes it (contract, section 8)."""

    name = models.CharField(
        _("name"),
        max_length=MAX_NAME_LENGTH,
        unique=True,
        error_messages={"unique": _("Another endpoint has this name. Names must differ: clients see them.")},
    )
    url = models.CharField(_("URL"), max_length=500)
    type = models.CharField(_("backend type"), max_length=40, default="vllm-mlx")
    mode = models.CharField(_("mode"), max_length=12, choices=Mode, default=Mode.ACTIVE)
    tags = models.JSONField(_("tags"), default=list, blank=True)
    maintenance_until = models.DateTimeField(null=True, blank=True, editable=False)
    priority = models.PositiveSmallIntegerField(_("priority"), null=True, blank=True)
    weight = models.PositiveSmallIntegerField(
        _("weight"), default=1, validators=[MinValueValidator(1), MaxValueValidator(1000)]
    )
    preserve_path = models.BooleanField(_("preserve path"), default=False)
    model_url = models.CharField(_("model URL"), max_length=500, blank=True)
    health_check_url = models.CharField(_("health check URL"), max_length=500, blank=True)
    check_interval_seconds = models.FloatField(_("check interval"), default=5)
    check_timeout_seconds = models.FloatField(_("check timeout"), default=2)
    deep_check_interval_seconds = models.FloatField(_("deep check interval"), null=True, blank=True)
    model_include = models.JSONField(_("include models"), default=list, blank=True)
    model_exclude = models.JSONField(_("exclude models"), default=list, blank=True)
    headers = models.JSONField(_("headers"), default=dict, blank=True)
    auth_kind = models.CharField(_("authentication"), max_length=10, choices=AuthKind, default=AuthKind.NONE)
    auth_header = models.CharField(_("API key header"), max_length=100, blank=True)
    auth_username = models.CharField(_("user name"), max_length=200, blank=True)
    encrypted_credential = models.TextField(blank=True, editable=False)
    max_concurrent = models.PositiveIntegerField(_("concurrent requests"), null=True, blank=True)
    connect_timeout_seconds = models.FloatField(_("connect timeout"), null=True, blank=True)
    first_byte_timeout_seconds = models.FloatField(_("first-byte timeout"), null=True, blank=True)
    idle_timeout_seconds = models.FloatField(_("idle timeout"), null=True, blank=True)
    retry = models.CharField(_("retry"), max_length=8, choices=Retry, default=Retry.SAFE)
    is_local = models.BooleanField(_("this machine's own model"), default=False, editable=False)
    # Taken out of service by whoever runs its server, not by an operator: put back by the same.
    is_closed = models.BooleanField(default=False, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    edited_at = models.DateTimeField(auto_now=True)  # a check that began before says nothing (health)

    class Meta:
        verbose_name = _("endpoint")
        verbose_name_plural = _("endpoints")
        ordering = ["name"]
        permissions = [("view_fleet", gettext_noop("Can view the fleet on its pages"))]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        for name in URLS:
            setattr(self, name, socket_urls.normalised(getattr(self, name)))
        validation.validate_endpoint(self)

    def set_credential(self, plain: str) -> None:
        """Store `plain` encrypted; an empty one removes what is stored. The caller saves."""
        self.encrypted_credential = secrets.encrypt(plain) if plain else ""

    def credential(self) -> str:
        """The credential in the clear, empty if there is none. Raises CredentialError if no key opens it."""
        return (
            secrets.decrypt(self.encrypted_credential, owner=self.name) if self.encrypted_credential else ""
        )

    @property
    def has_credential(self) -> bool:
        return bool(self.encrypted_credential)

    @property
    def shown_url(self) -> str:
        """As people read it: a Unix socket by its path."""
        return socket_urls.shown(self.url)


class EndpointHealth(models.Model):
    """How an endpoint is, as far as the checks know. Written by endpoints.health.health only."""

    endpoint = models.OneToOneField(
        Endpoint, on_delete=models.CASCADE, primary_key=True, related_name="health"
    )
    status = models.CharField(max_length=20, choices=Status, default=Status.UNKNOWN)
    reason = models.CharField(max_length=300, blank=True)
    since = models.DateTimeField()
    checked_at = models.DateTimeField(null=True)
    next_check_at = models.DateTimeField(db_index=True)
    latency_seconds = models.FloatField(null=True)
    consecutive_failures = models.PositiveIntegerField(default=0)
    consecutive_successes = models.PositiveIntegerField(default=0)
    flapping = models.BooleanField(_("keeps going up and down"), default=False)
    # Since when it loads a model, and when it last came back after it had failed.
    loading_since = models.DateTimeField(null=True)
    recovered_at = models.DateTimeField(null=True)
    deep_checked_at = models.DateTimeField(null=True)
    deep_failures = models.PositiveIntegerField(default=0)
    deep_reason = models.CharField(max_length=300, blank=True)
    # When an operator last wanted to know: the checks of what is down begin anew at full pace then.
    asked_at = models.DateTimeField(null=True)
    models_synced_at = models.DateTimeField(null=True)
    memory_bytes = models.BigIntegerField(null=True)  # of its models, where it tells
    # Of an endpoint that is asleep: when somebody wanted it, and how long it takes to wake, if that is known.
    wake_asked_at = models.DateTimeField(null=True)
    wakes_in_seconds = models.FloatField(null=True)

    class Meta:
        verbose_name_plural = _("endpoint health")

    def __str__(self) -> str:
        return f"{self.endpoint_id}: {self.status}"


class EndpointModel(models.Model):
    """A model that an endpoint serves, as discovery found it."""

    endpoint = models.ForeignKey(Endpoint, on_delete=models.CASCADE, related_name="models")
    name = models.CharField(max_length=300)
    created = models.BigIntegerField(help_text=_("Unix time, as the backend says or when it was first seen."))
    max_model_len = models.PositiveIntegerField(null=True)
    # What the backend itself says, as far as it does. endpoints.known_models adds what its name tells.
    family = models.CharField(max_length=60, blank=True)
    parameter_size = models.CharField(max_length=60, blank=True)
    quantization = models.CharField(max_length=60, blank=True)
    size_bytes = models.BigIntegerField(null=True)
    capabilities = models.JSONField(default=list)
    is_loaded = models.BooleanField(_("in memory"), null=True)
    first_seen_at = models.DateTimeField()
    last_seen_at = models.DateTimeField()

    class Meta:
        ordering = ["name"]
        constraints = [
            models.UniqueConstraint(fields=["endpoint", "name"], name="one_row_per_endpoint_and_model")
        ]

    def __str__(self) -> str:
        return self.name


class HealthCheck(models.Model):
    """One check and what came of it. Short-lived: endpoints.past.retention prunes these rows."""

    endpoint = models.ForeignKey(Endpoint, on_delete=models.CASCADE, related_name="checks")
    at = models.DateTimeField()
    status = models.CharField(max_length=20, choices=Status)
    reason = models.CharField(max_length=300, blank=True)
    http_status = models.PositiveSmallIntegerField(null=True)
    latency_seconds = models.FloatField(null=True)
    reply = models.TextField(blank=True, default="")

    class Meta:
        verbose_name = _("health check")
        verbose_name_plural = _("health checks")
        ordering = ["-at"]
        indexes = [
            models.Index(fields=["endpoint", "-at"], name="recent_checks_of_an_endpoint"),
            models.Index(fields=["at"], name="checks_to_prune"),
        ]

    def __str__(self) -> str:
        return f"{self.endpoint_id} at {self.at:%H:%M:%S}: {self.status}"


class CheckSummary(models.Model):
    """The checks of one minute, hour or day (UTC), summed up by endpoints.past.rollup.

    `answered` is how many of the `count` checks have a latency, which the other three figures are of.
    """

    endpoint = models.ForeignKey(Endpoint, on_delete=models.CASCADE, related_name="summaries")
    span = models.PositiveIntegerField(choices=Span)
    begins_at = models.DateTimeField()
    count = models.PositiveIntegerField()
    failures = models.PositiveIntegerField()
    answered = models.PositiveIntegerField()
    latency_sum_seconds = models.FloatField()
    latency_min_seconds = models.FloatField(null=True)
    latency_max_seconds = models.FloatField(null=True)

    class Meta:
        ordering = ["-begins_at"]
        verbose_name_plural = _("check summaries")
        constraints = [
            models.UniqueConstraint(fields=["endpoint", "span", "begins_at"], name="one_summary_per_period")
        ]
        indexes = [models.Index(fields=["span", "begins_at"], name="summaries_by_time")]

    def __str__(self) -> str:
        return f"{self.endpoint_id}, {self.get_span_display()} of {self.begins_at:%Y-%m-%d %H:%M}"

    @property
    def latency_mean_seconds(self) -> float | None:
        return self.latency_sum_seconds / self.answered if self.answered else None


class Transition(models.Model):
    """A status that flipped. Incidents and downtime are derived from these rows, which are kept."""

    endpoint = models.ForeignKey(Endpoint, on_delete=models.CASCADE, related_name="transitions")
    at = models.DateTimeField()
    old_status = models.CharField(max_length=20, choices=Status)
    new_status = models.CharField(max_length=20, choices=Status)
    reason = models.CharField(max_length=300, blank=True)
    # Which models went with it, when it failed: what it served by then, as far as that is known.
    lost_models = models.JSONField(default=list)

    class Meta:
        verbose_name = _("change of status")
        verbose_name_plural = _("changes of status")
        ordering = ["-at"]
        indexes = [models.Index(fields=["endpoint", "-at"], name="transitions_of_an_endpoint")]

    def __str__(self) -> str:
        return f"{self.endpoint_id}: {self.old_status} → {self.new_status}"
