"""The table of people who sign in with OpenID Connect: which account of ours each of them is."""

from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.db import models

ISSUER_LENGTH = 300
SUBJECT_LENGTH = 255  # what a provider may use at most (OpenID Connect Core, 2)


class Identity(models.Model):
    """Issuer and subject are all that says who somebody is: names and addresses change hands."""

    user = models.OneToOneField(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="identity")
    issuer = models.CharField(max_length=ISSUER_LENGTH)
    subject = models.CharField(max_length=SUBJECT_LENGTH)

    class Meta:
        verbose_name_plural = "identities"
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["issuer", "subject"], name="one_account_per_identity")
        ]

    def __str__(self) -> str:
        return f"{self.subject} at {self.issuer}"
