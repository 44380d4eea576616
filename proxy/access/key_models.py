"""The tables of keys, and of what their teams and owners may use. No secret of a key is in them."""

from __future__ import annotations

from typing import Any, ClassVar

from django.conf import settings
from django.contrib.auth.models import Group
from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator
from django.db import models
from django.utils.translation import gettext, gettext_noop
from django.utils.translation import gettext_lazy as _

from ollaproject.wire import roles
from proxy.access.patterns import Networks, NoNetwork

KEY_NAME_LENGTH = 64


class Limited(models.Model):
    """Limits, all optional. Null: what the setting says for all. 0: none."""

    requests_per_minute = models.PositiveIntegerField(_("requests per minute"), null=True, blank=True)
    tokens_per_minute = models.PositiveBigIntegerField(_("tokens per minute"), null=True, blank=True)
    concurrent = models.PositiveIntegerField(_("concurrent requests"), null=True, blank=True)
    tokens_per_day = models.PositiveBigIntegerField(_("tokens per day"), null=True, blank=True)
    tokens_per_month = models.PositiveBigIntegerField(_("tokens per month"), null=True, blank=True)
    max_tokens = models.PositiveIntegerField(_("tokens per answer"), null=True, blank=True)

    class Meta:
        abstract = True


class ApiKey(Limited):
    """A key, without its secret. Rotating gives it another secret; the one before lives on for a while."""

    name = models.CharField(
        _("name"),
        max_length=KEY_NAME_LENGTH,
        unique=True,
        validators=[RegexValidator(r"^[\w.@:+ -]+$", _("Use letters, digits, spaces and . @ : + - _"))],
        error_messages={"unique": _("Another key has this name. Names must differ: commands go by them.")},
    )
    public_id = models.CharField(_("id"), max_length=12, unique=True, editable=False)
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.CASCADE,
        null=True,
        blank=True,
        related_name="api_keys",
        verbose_name=_("owner"),
    )
    team = models.ForeignKey(
        Group,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="api_keys",
        limit_choices_to=roles.are_teams,
        verbose_name=_("team"),
    )
    digest = models.CharField(max_length=64, editable=False)
    pepper = models.CharField(max_length=8, editable=False)
    previous_digest = models.CharField(max_length=64, blank=True, editable=False)
    previous_pepper = models.CharField(max_length=8, blank=True, editable=False)
    previous_until = models.DateTimeField(null=True, editable=False)
    enabled = models.BooleanField(_("enabled"), default=True)
    revoked_at = models.DateTimeField(null=True, editable=False)
    expires_at = models.DateTimeField(_("expires"), null=True, blank=True)
    allowed_models = models.JSONField(_("allowed models"), default=list, blank=True)
    allowed_endpoints = models.JSONField(_("allowed endpoints"), default=list, blank=True)
    allowed_networks = models.JSONField(_("allowed networks"), default=list, blank=True)
    priority = models.SmallIntegerField(_("priority"), default=0)
    rest_api = models.BooleanField(
        _("may act for its owner"),
        default=False,
        help_text=_(
            "Over /api/, with all that its owner may do. Other keys only read their own usage there."
        ),
    )
    keep_bodies = models.BooleanField(
        _("keep what is asked and answered"),
        default=False,
        help_text=_(
            "For looking into a fault: encrypted, for OLLA_KEPT_BODIES_HOURS, and marked wherever the "
            "key is shown. Tell its holder."
        ),
    )
    notes = models.TextField(_("notes"), blank=True)
    created_at = models.DateTimeField(_("created"), auto_now_add=True)
    rotated_at = models.DateTimeField(null=True, editable=False)
    last_used_at = models.DateTimeField(_("last used"), null=True, editable=False)

    class Meta:
        verbose_name = _("API key")
        verbose_name_plural = _("API keys")
        permissions: ClassVar = [
            ("call_models", gettext_noop("Can call models from the playground")),
            ("manage_own_keys", gettext_noop("Can make, rotate and revoke keys of their own")),
            ("manage_team_keys", gettext_noop("Can make, rotate and revoke keys of the own teams")),
        ]
        ordering: ClassVar = ["name"]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        super().clean()
        mistakes: dict[str, Any] = {}
        for field in ("allowed_models", "allowed_endpoints"):
            if not _is_list_of_words(getattr(self, field)):
                mistakes[field] = _("Give a list of patterns such as mlx-community/*.")
        try:
            Networks(self.allowed_networks)
        except NoNetwork as error:
            words = _("“%(entry)s” is neither an address nor a network such as 10.0.0.0/8.")
            mistakes["allowed_networks"] = ValidationError(words, params={"entry": error.entry})
        except TypeError:
            mistakes["allowed_networks"] = _("Give addresses or networks such as 10.0.0.0/8.")
        if self.rest_api and self.owner_id is None:
            mistakes["rest_api"] = _("It acts for its owner, and has none. Give it an owner.")
        if mistakes:
            raise ValidationError(mistakes)


class Shared(Limited):
    """What several keys may use together, and which models each of them may."""

    allowed_models = models.JSONField(_("allowed models"), default=list, blank=True)

    class Meta:
        abstract = True

    def clean(self) -> None:
        super().clean()
        if not _is_list_of_words(self.allowed_models):
            raise ValidationError({"allowed_models": _("Give a list of patterns such as mlx-community/*.")})


def _is_list_of_words(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) and each.strip() for each in value)


class TeamLimits(Shared):
    """What the keys of a team may use together."""

    team = models.OneToOneField(
        Group,
        on_delete=models.CASCADE,
        related_name="limits",
        limit_choices_to=roles.are_teams,
        verbose_name=_("team"),
    )

    class Meta:
        verbose_name = _("limits of a team")
        verbose_name_plural = _("limits of teams")
        ordering: ClassVar = ["team__name"]

    def __str__(self) -> str:
        return gettext("Limits of {team}").format(team=self.team)


class PersonLimits(Shared):
    """What the keys that a person owns, and the person in the playground, may use together."""

    person = models.OneToOneField(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="limits", verbose_name=_("person")
    )

    class Meta:
        verbose_name = _("limits of a person")
        verbose_name_plural = _("limits of people")
        ordering: ClassVar = ["person__username"]

    def __str__(self) -> str:
        return gettext("Limits of {person}").format(person=self.person.get_username())
