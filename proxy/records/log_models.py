"""The tables beside the history of requests: bodies of keys that keep them, and budgets that were used up."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

NAME_LENGTH = 150


class KeptBody(models.Model):
    """What one request asked and was answered, sealed (ollaproject.sealed), of a key that keeps it.

    It belongs to the request of this id that ended `at` that moment. `asked` and `answered` are cut at
    OLLA_KEPT_BODIES_SIZE; the sizes are those of the whole.
    """

    request_id = models.CharField(max_length=128)
    key_id = models.BigIntegerField()
    at = models.DateTimeField()
    expires_at = models.DateTimeField()
    asked = models.TextField()
    answered = models.TextField()
    asked_bytes = models.BigIntegerField()
    answered_bytes = models.BigIntegerField()

    class Meta:
        verbose_name = _("kept body")
        verbose_name_plural = _("kept bodies")
        indexes: ClassVar = [
            models.Index(fields=["request_id"], name="kept_bodies_by_request"),
            models.Index(fields=["expires_at"], name="kept_bodies_to_prune"),
        ]

    def __str__(self) -> str:
        return self.request_id


class BudgetReached(models.Model):
    """A key, a person or a team has used up its tokens of a day or a month (UTC). One row for each period."""

    KINDS = (("key", _("key")), ("person", _("person")), ("team", _("team")))
    PERIODS = (("day", _("day")), ("month", _("month")))

    kind = models.CharField(_("kind"), max_length=6, choices=KINDS)
    subject_id = models.BigIntegerField(_("id"))
    name = models.CharField(_("name"), max_length=NAME_LENGTH)
    period = models.CharField(_("period"), max_length=5, choices=PERIODS)
    since = models.DateField(_("first day of the period"))
    budget = models.BigIntegerField(_("tokens that it may use"))
    at = models.DateTimeField(_("reached at"))

    class Meta:
        verbose_name = _("budget that was reached")
        verbose_name_plural = _("budgets that were reached")
        ordering: ClassVar = ["-at"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["kind", "subject_id", "period", "since"], name="one_notice_per_budget_and_period"
            )
        ]

    def __str__(self) -> str:
        words = gettext("{kind} {name}: {budget} tokens of the {period}")
        return words.format(
            kind=self.get_kind_display(),
            name=self.name,
            budget=self.budget,
            period=self.get_period_display(),
        )
