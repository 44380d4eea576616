"""Whom to alert, of what and when; and what became of each alert."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator
from django.db import models
from django.utils.translation import gettext_lazy as _

from ollaproject.sealed import seal, unseal

MAX_SUBJECT_LENGTH = 200
MAX_TEXT_LENGTH = 500
MAX_PATH_LENGTH = 400
MAX_GROUP_SECONDS = 3600


class ChannelKind(models.TextChoices):
    """Where alerts go."""

    WEBHOOK = "webhook", _("Webhook (JSON)")
    SLACK = "slack", _("Slack")
    DISCORD = "discord", _("Discord")
    NTFY = "ntfy", _("ntfy")
    EMAIL = "email", _("E-mail")


class AlertKind(models.TextChoices):
    """What has happened."""

    DOWN = "down", _("Down")
    BACK = "back", _("Back")
    FLAPPING = "flapping", _("Flapping")
    BUDGET = "budget", _("Budget reached")
    TEST = "test", _("Test")


class DeliveryState(models.TextChoices):
    WAITING = "waiting", _("Waiting")
    SENDING = "sending", _("Being sent")
    SENT = "sent", _("Sent")
    FAILED = "failed", _("Failed")


def validate_zone(name: str) -> None:
    if name not in available_timezones():
        raise ValidationError(_("This is no time zone. Write one such as Europe/Berlin, or UTC."))


class AlertChannel(models.Model):
    """One place that alerts go to. Its URL is a secret: whoever has it can write there."""

    name = models.CharField(_("name"), max_length=64, unique=True)
    kind = models.CharField(_("kind"), max_length=10, choices=ChannelKind, default=ChannelKind.WEBHOOK)
    enabled = models.BooleanField(_("enabled"), default=True)
    encrypted_url = models.TextField(blank=True, editable=False)
    encrypted_secret = models.TextField(blank=True, editable=False)
    recipients = models.TextField(_("recipients"), blank=True)
    on_down = models.BooleanField(_("an endpoint goes down"), default=True)
    on_back = models.BooleanField(_("it is back"), default=True)
    on_flapping = models.BooleanField(_("it keeps going up and down"), default=True)
    on_budget = models.BooleanField(_("a budget is used up"), default=True)
    group_seconds = models.PositiveIntegerField(
        _("grouped within"), default=10, validators=[MaxValueValidator(MAX_GROUP_SECONDS)]
    )
    quiet_from = models.TimeField(_("quiet from"), null=True, blank=True)
    quiet_until = models.TimeField(_("quiet until"), null=True, blank=True)
    time_zone = models.CharField(_("time zone"), max_length=64, default="UTC", validators=[validate_zone])

    class Meta:
        verbose_name = _("alert channel")
        verbose_name_plural = _("alert channels")
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        if (self.quiet_from is None) != (self.quiet_until is None):
            raise ValidationError({"quiet_until": _("Quiet hours need a beginning and an end.")})
        if self.quiet_from is not None and self.quiet_from == self.quiet_until:
            raise ValidationError({"quiet_until": _("Quiet hours that end when they begin are none.")})

    def set_url(self, plain: str) -> None:
        """Store `plain` encrypted. The caller saves."""
        self.encrypted_url = seal(plain)

    def set_secret(self, plain: str) -> None:
        self.encrypted_secret = seal(plain)

    def url(self) -> str:
        """In the clear. Raises SealBroken when none of OLLA_ENCRYPTION_KEYS opens it."""
        return unseal(self.encrypted_url)

    def secret(self) -> str:
        return unseal(self.encrypted_secret)

    @property
    def host(self) -> str:
        """Where it goes, without what must stay secret."""
        try:
            return urlsplit(self.url()).hostname or ""
        except Exception:  # noqa: BLE001 - it is only for show
            return "unreadable"

    @property
    def zone(self) -> ZoneInfo:
        """UTC on a machine that does not know it: an alert at the wrong hour is better than none."""
        try:
            return ZoneInfo(self.time_zone)
        except ZoneInfoNotFoundError:
            return ZoneInfo("UTC")

    def missing(self) -> dict[str, Any]:
        """What it cannot do without, by `recipients` or `url`."""
        if self.kind == ChannelKind.EMAIL:
            return (
                {} if self.recipients.split() else {"recipients": _("An e-mail needs at least one address.")}
            )
        return {} if self.encrypted_url else {"url": _("This kind of channel needs a URL.")}

    def wants(self, kind: AlertKind | str) -> bool:
        """Whether it is told of such things. Tests go to whoever is asked to be tested."""
        return self.enabled and bool(getattr(self, f"on_{kind}", False))


class AlertDelivery(models.Model):
    """One alert on its way to one channel. Kept as a record until endpoints.past.retention prunes it."""

    channel = models.ForeignKey(
        AlertChannel, on_delete=models.CASCADE, related_name="deliveries", verbose_name=_("channel")
    )
    at = models.DateTimeField(_("time"))
    kind = models.CharField(_("kind"), max_length=10, choices=AlertKind)
    subject = models.CharField(_("subject"), max_length=MAX_SUBJECT_LENGTH)
    text = models.CharField(_("text"), max_length=MAX_TEXT_LENGTH)
    path = models.CharField(
        _("page"), max_length=MAX_PATH_LENGTH, blank=True, default=""
    )  # of the page that says more
    state = models.CharField(_("state"), max_length=10, choices=DeliveryState, default=DeliveryState.WAITING)
    due_at = models.DateTimeField(_("due"))
    claimed_at = models.DateTimeField(_("taken up"), null=True)
    attempts = models.PositiveSmallIntegerField(_("attempts"), default=0)
    sent_at = models.DateTimeField(_("sent"), null=True)
    error = models.CharField(_("error"), max_length=300, blank=True)

    class Meta:
        verbose_name = _("alert delivery")
        verbose_name_plural = _("alert deliveries")
        ordering = ["-at", "-id"]
        indexes = [models.Index(fields=["state", "due_at"], name="alerts_that_are_due")]

    def __str__(self) -> str:
        return f"{self.text} → {self.channel_id}"
