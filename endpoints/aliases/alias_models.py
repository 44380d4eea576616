"""Names under which clients reach models, whatever these are called."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from endpoints import validation
from endpoints.aliases.alias_parameters import validate_parameters
from endpoints.routing.strategies import STRATEGIES

MAX_MODEL_NAME_LENGTH = 300


class ModelAlias(models.Model):
    """A name under which clients reach the first of some models that can be served."""

    name = models.CharField(
        _("name"),
        max_length=MAX_MODEL_NAME_LENGTH,
        unique=True,
        validators=[validation.validate_model_name],
        help_text=(
            _(
                "What clients ask for, such as gpt-4o-mini. It hides a model of the same name. A pattern "
                "such as claude-* stands for every name that no endpoint serves itself."
            )
        ),
    )
    strategy = models.CharField(
        _("load balancer"),
        max_length=20,
        blank=True,
        choices=[(name, name) for name in STRATEGIES],
        help_text=_("Who gets its requests among equals. Empty: as everywhere (OLLA_LOAD_BALANCER)."),
    )
    defaults = models.JSONField(
        _("default parameters"),
        default=dict,
        blank=True,
        validators=[validate_parameters],
        help_text=_(
            "What a request gets that does not say it itself, in JSON as it stands in a chat: "
            '{"temperature": 0.6, "chat_template_kwargs": {"enable_thinking": false}}.'
        ),
    )
    overrides = models.JSONField(
        _("fixed parameters"),
        default=dict,
        blank=True,
        validators=[validate_parameters],
        help_text=_("What a request gets whatever it says. A parameter that is null here is taken out."),
    )

    class Meta:
        verbose_name = _("model alias")
        verbose_name_plural = _("model aliases")
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class AliasedModel(models.Model):
    """One model of an alias. Those with a lower position are preferred."""

    alias = models.ForeignKey(
        ModelAlias, on_delete=models.CASCADE, related_name="models", verbose_name=_("alias")
    )
    position = models.PositiveSmallIntegerField(
        _("position"), default=0, help_text=_("The lowest is tried first.")
    )
    model = models.CharField(
        _("model"), max_length=MAX_MODEL_NAME_LENGTH, validators=[validation.validate_model_name]
    )

    class Meta:
        verbose_name = _("model of an alias")
        verbose_name_plural = _("models of aliases")
        ordering = ["position", "id"]
        constraints = [models.UniqueConstraint(fields=["alias", "model"], name="one_row_per_alias_and_model")]

    def __str__(self) -> str:
        return self.model
