"""The form of a key in the admin. Its secret is not part of it: there is none to show."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from django import forms
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from ollaproject.wire.form_fields import LinesField
from proxy.models import ApiKey

if TYPE_CHECKING:
    KeyModelForm = forms.ModelForm[ApiKey]
else:
    KeyModelForm = forms.ModelForm  # generic for the type checker only


class ApiKeyForm(KeyModelForm):
    allowed_models = LinesField(
        label=_("Models"),
        required=False,
        help_text=_(
            "Patterns such as mlx-community/*, one per line. Empty: all. /v1/models lists only these."
        ),
    )
    allowed_endpoints = LinesField(
        label=_("Endpoints"),
        required=False,
        help_text=_("Patterns of endpoint names, one per line. Empty: all. It cannot see the others."),
    )
    allowed_networks = LinesField(
        label=_("Networks"),
        required=False,
        help_text=_("Where it may be used from, such as 10.0.0.0/8, one per line. Empty: anywhere."),
    )

    class Meta:
        model = ApiKey
        labels: ClassVar = {
            "name": _("Name"),
            "owner": _("Owner"),
            "team": _("Team"),
            "enabled": _("Enabled"),
            "expires_at": _("Expires"),
            "requests_per_minute": _("Requests per minute"),
            "tokens_per_minute": _("Tokens per minute"),
            "tokens_per_day": _("Tokens per day"),
            "tokens_per_month": _("Tokens per month"),
            "priority": _("Priority"),
            "notes": _("Notes"),
        }
        fields: ClassVar = [
            "name",
            "owner",
            "team",
            "enabled",
            "expires_at",
            "allowed_models",
            "allowed_endpoints",
            "allowed_networks",
            "priority",
            "notes",
        ]
        help_texts: ClassVar = {
            "name": _("What the key is for, such as ci-bot. Commands and usage go by it."),
            "owner": _("Who answers for it. When that account is closed, the key is refused."),
            "team": _("Whose limits it shares, and whose usage it counts for."),
            "enabled": _("Switch it off for a while. To close it for good, revoke it."),
            "expires_at": _("In UTC. Empty: never."),
            "priority": _("When every endpoint is full, higher goes first. 0 is usual; it may be negative."),
            "notes": _("Anything worth knowing. Nobody but the staff sees it."),
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        expires = self.fields.get("expires_at")
        if expires is not None and isinstance(expires.widget, forms.MultiWidget):
            names = (gettext("Date of expiry"), gettext("Time of expiry"))
            for widget, name in zip(expires.widget.widgets, names, strict=True):
                widget.attrs["aria-label"] = name


class SharedLimitsForm(forms.ModelForm):  # type: ignore[type-arg]  # of a team or of a person
    allowed_models = LinesField(
        label=_("Models"),
        required=False,
        help_text=_(
            "Patterns such as mlx-community/*, one per line, for each of its keys. Empty: all. A key may use "
            "what these and its own patterns admit."
        ),
    )
