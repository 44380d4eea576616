"""What people changed of the fleet."""

from __future__ import annotations

from django.db import models

# That of the longest name, a model's.
MAX_NAME_LENGTH = 300


class Change(models.Model):
    """What a person changed of the fleet. Kept for good, also when its endpoint is gone. Holds no secret."""

    at = models.DateTimeField(auto_now_add=True)
    actor = models.CharField(max_length=150)
    via = models.CharField(max_length=20)
    kind = models.CharField(max_length=40)
    subject_id = models.BigIntegerField()
    name = models.CharField(max_length=MAX_NAME_LENGTH)
    action = models.CharField(max_length=20)
    differences = models.JSONField(default=list)

    class Meta:
        ordering = ["-at", "-id"]
        indexes = [
            models.Index(fields=["-at"], name="changes_by_time"),
            models.Index(fields=["kind", "subject_id", "-at"], name="changes_of_a_subject"),
        ]

    def __str__(self) -> str:
        return f"{self.actor} {self.action} the {self.kind} {self.name}"
