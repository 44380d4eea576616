"""The one row that says whether there is a status page for everyone, and by which secret link."""

from __future__ import annotations

import secrets
from typing import Final

from django.db import models
from django.utils.text import capfirst
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

TOKEN_BYTES: Final = 18
MAX_TITLE_LENGTH: Final = 80


def new_token() -> str:
    return secrets.token_urlsafe(TOKEN_BYTES)


class StatusPage(models.Model):
    """Whoever knows `token` sees whether models are served; nothing else of the fleet is on it."""

    SINGLETON = 1

    id = models.PositiveSmallIntegerField(primary_key=True, default=SINGLETON)
    enabled = models.BooleanField(
        _("enabled"), default=False, help_text=_("Whoever has the link may look, without an account.")
    )
    title = models.CharField(
        _("title"),
        max_length=MAX_TITLE_LENGTH,
        default="Models",
        help_text=_("What the page and its badges are called."),
    )
    shows_models = models.BooleanField(
        _("show the names of models"), default=False, help_text=_("And which of them are served now.")
    )
    token = models.CharField(max_length=40, default=new_token, editable=False)

    class Meta:
        verbose_name = _("status page")
        verbose_name_plural = _("status page")

    def __str__(self) -> str:
        return capfirst(gettext("status page"))
