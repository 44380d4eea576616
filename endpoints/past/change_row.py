"""What people changed of the fleet."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

# That of the longest name, a model's.
MAX_NAME_LENGTH = 300


class Change(models.Model):
    """What a person changed of the fleet. Kept for good, also when its endpoint is gone. Holds no secret."""

    at = models.DateTimeField(_("time"), auto_now_add=True)
    actor = models.CharField(_("who"), max_length=150)
    via = models.CharField(_("by way of"), max_length=20)
    kind = models.CharField(_("kind"), max_length=40)
    subject_id = models.BigIntegerField(_("id"))
    name = models.CharField(_("name"), max_length=MAX_NAME_LENGTH)
    action = models.CharField(_("action"), max_length=20)
    differences = models.JSONField(_("differences"), default=list)

    class Meta:
        verbose_name = _("change")
        verbose_name_plural = _("changes")
        ordering = ["-at", "-id"]
        indexes = [
            models.Index(fields=["-at"], name="changes_by_time"),
            models.Index(fields=["kind", "subject_id", "-at"], name="changes_of_a_subject"),
        ]

    def __str__(self) -> str:
        words = gettext("{who}: {kind} {name} {action}")
        return words.format(
            who=self.actor, kind=gettext(self.kind), name=self.name, action=gettext(self.action)
        )
