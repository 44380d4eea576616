"""The form of an endpoint: what an empty field means for each type, and a write-only credential."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, ClassVar

from django import forms
from django.core.exceptions import NON_FIELD_ERRORS, ValidationError
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from endpoints import validation
from endpoints.administration.form_fields import HeadersField, WordsField
from endpoints.header_validation import check_destination
from endpoints.health.detection import detected_type
from endpoints.models import Endpoint
from endpoints.profiles import AUTO, Profile, profiles
from ollaproject.wire.durations import format_duration
from ollaproject.wire.form_fields import DurationField, LinesField
from ollaproject.wire.socket_urls import normalised

# Generic for the type checker only.
if TYPE_CHECKING:
    EndpointModelForm = forms.ModelForm[Endpoint]
else:
    EndpointModelForm = forms.ModelForm

STORED = _("A credential is stored. Type a new one to replace it.")
NOT_STORED = _("Stored encrypted, sent to the endpoint, and never shown again.")


def notes_on(profile: Profile) -> list[str]:
    """What is worth knowing of a backend type while its form is filled in."""
    port = (
        [gettext("It listens on port {port} unless told otherwise.").format(port=profile.default_port)]
        if profile.default_port
        else []
    )
    return [*port, *profile.quirks]


def defaults_of(profile: Profile) -> dict[str, str]:
    """What an empty field means for this backend type, by field, as it is typed."""
    return {
        "url": f"http://192.168.0.100:{profile.default_port or 8000}",
        "priority": str(profile.default_priority),
        "max_concurrent": str(profile.max_concurrent),
        "connect_timeout_seconds": format_duration(profile.connect_timeout_seconds),
        "first_byte_timeout_seconds": format_duration(profile.first_byte_timeout_seconds),
        "idle_timeout_seconds": format_duration(profile.idle_timeout_seconds),
        "health_check_url": profile.health_path,
        "model_url": profile.models_path,
    }


# What a new endpoint has. A field that is declared below does not take it over from the model by itself.
NEW = Endpoint()


class EndpointForm(EndpointModelForm):
    """Add or edit an endpoint. The stored credential is not an initial value, so it is never rendered."""

    type = forms.ChoiceField(
        label=_("Backend type"),
        initial=NEW.type,
        help_text=_("What runs there. It decides how health is read, and what an empty field means."),
    )
    tags = WordsField(
        label=_("Tags"),
        required=False,
        widget=forms.TextInput(attrs={"spellcheck": "false"}),
        help_text=_(
            "Words to find it by on the dashboard, such as office m4. They do not change its routing."
        ),
    )
    check_interval_seconds = DurationField(
        label=_("Check interval"),
        initial=NEW.check_interval_seconds,
        help_text=_("How often health is checked: 1s to 24h. 5s means 5 seconds."),
    )
    check_timeout_seconds = DurationField(
        label=_("Check timeout"),
        initial=NEW.check_timeout_seconds,
        help_text=_("How long one check may take. It must be shorter than the interval."),
    )
    deep_check_interval_seconds = DurationField(
        label=_("Deep check interval"),
        required=False,
        help_text=_("How often it must also generate one token, such as 5m. Empty: never."),
    )
    connect_timeout_seconds = DurationField(
        label=_("Connect timeout"), required=False, help_text=_("After this the next endpoint is tried.")
    )
    first_byte_timeout_seconds = DurationField(
        label=_("First-byte timeout"),
        required=False,
        help_text=_(
            "How long an answer may take to begin. A model that has to be loaded first needs minutes."
        ),
    )
    idle_timeout_seconds = DurationField(
        label=_("Idle timeout"),
        required=False,
        help_text=_("How long a stream may pause between two pieces."),
    )
    model_include = LinesField(
        label=_("Include models"),
        required=False,
        help_text=_("Patterns such as mlx-community/*, one per line. Empty: all."),
    )
    model_exclude = LinesField(
        label=_("Exclude models"),
        required=False,
        help_text=_("One pattern per line, such as *-draft. It wins over include."),
    )
    headers = HeadersField(
        label=_("Headers"),
        required=False,
        help_text=_("One Name: value per line, sent with every request. Whoever sees this form sees them."),
    )
    # Not called `credential`: to those who may look but not edit, the admin shows what the model has under a
    # field's name, and Endpoint.credential() has the plain text.
    new_credential = forms.CharField(
        label=_("Credential"),
        required=False,
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password", "size": 50}, render_value=False),
    )
    remove_credential = forms.BooleanField(label=_("Remove the stored credential"), required=False)

    class Meta:
        model = Endpoint
        fields: ClassVar = [
            "name",
            "url",
            "type",
            "mode",
            "tags",
            "priority",
            "weight",
            "preserve_path",
            "model_url",
            "health_check_url",
            "check_interval_seconds",
            "check_timeout_seconds",
            "deep_check_interval_seconds",
            "model_include",
            "model_exclude",
            "headers",
            "auth_kind",
            "auth_header",
            "auth_username",
            "max_concurrent",
            "connect_timeout_seconds",
            "first_byte_timeout_seconds",
            "idle_timeout_seconds",
            "retry",
        ]
        labels: ClassVar = {
            "name": _("Name"),
            "mode": _("Mode"),
            "priority": _("Priority"),
            "weight": _("Weight"),
            "retry": _("Retry"),
            "preserve_path": _("Preserve path"),
            "health_check_url": _("Health check URL"),
            "model_url": _("Model URL"),
            "auth_kind": _("Authentication"),
            "auth_header": _("API key header"),
            "auth_username": _("User name"),
            "max_concurrent": _("Concurrent requests"),
        }
        help_texts: ClassVar = {
            "name": _("Shown on pages and sent to clients in X-Olla-Endpoint, such as mac-mini-1."),
            "url": _(
                "Where it listens, such as http://192.168.0.100:8000 (without /v1), or, for a Unix socket of "
                "this machine, unix:/run/mlx/server.sock."
            ),
            "mode": _("Draining: running requests finish, no new ones. Paused: no requests and no checks."),
            "priority": _("Higher is asked first; the next lower one serves when none above it can."),
            "weight": _("Its share of the requests among endpoints of the same priority."),
            "retry": _("Whether the next endpoint gets what failed here before its answer began."),
            "preserve_path": _("Keep the path of the URL in front of each request's own."),
            "health_check_url": _("A path, or a whole URL."),
            "model_url": _("A path, or a whole URL, that lists the models."),
            "auth_header": _("For an API key: the header that carries it, X-Api-Key when empty."),
            "auth_username": _("For Basic sign-in."),
            "max_concurrent": _("How many requests it gets at once."),
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        known = profiles()
        defaults = {profile.name: defaults_of(profile) for profile in known}
        self._offer_types(known, defaults)
        self._show_defaults(defaults)
        # Asked now: once a new credential was typed, the instance holds that one, stored or not.
        stored = self.instance.has_credential
        self.fields["new_credential"].help_text = STORED if stored else NOT_STORED
        if not stored:
            del self.fields["remove_credential"]

    def _offer_types(self, known: tuple[Profile, ...], defaults: dict[str, dict[str, str]]) -> None:
        field = self.fields["type"]
        assert isinstance(field, forms.ChoiceField)  # noqa: S101 - for the type checker
        field.choices = [
            (AUTO, _("Detect from the URL")),
            *((profile.name, profile.display_name) for profile in known),
        ]
        # static/endpoints/endpoint_form.js shows the placeholders of the type that is chosen.
        notes = {profile.name: {"notes": notes_on(profile)} for profile in known}
        field.widget.attrs["data-defaults"] = json.dumps(
            {name: {**fields, **notes[name]} for name, fields in defaults.items()}
        )

    def _show_defaults(self, defaults: dict[str, dict[str, str]]) -> None:
        chosen = str(self["type"].value() or "")
        for name, default in defaults.get(chosen, {}).items():
            if name in self.fields:  # to those who may only look, the admin shows no fields of the model
                self.fields[name].widget.attrs["placeholder"] = default

    def clean_url(self) -> str:
        return normalised(self.cleaned_data["url"])

    def clean(self) -> dict[str, Any] | None:
        # Before the model's own validation, which asks whether there is a credential.
        cleaned = super().clean()
        plain = self.cleaned_data.get("new_credential")
        remove = self.cleaned_data.get("remove_credential")
        if plain and remove:
            self.add_error("remove_credential", _("A new credential is typed above. Do one or the other."))
        elif plain or remove:
            self.instance.set_credential(plain or "")
        if self.cleaned_data.get("type") == AUTO:
            if not self.errors:
                self._detect_type()
            if self.cleaned_data.get("type") == AUTO:
                del self.cleaned_data["type"]  # something else is at fault, and nothing was asked
        return cleaned

    def _post_clean(self) -> None:
        """What was wrong with a field stands alone: to the model's own validation it is merely empty."""
        told = {name: errors.copy() for name, errors in self.errors.items() if name != NON_FIELD_ERRORS}
        super()._post_clean()  # type: ignore[misc]  # not in the stubs
        self.errors.update(told)

    def _detect_type(self) -> None:
        """Ask what runs there, as the endpoint would be asked, and put that in place of the wish."""
        names = ("url", "preserve_path", "headers", "auth_kind", "auth_header", "auth_username")
        asked = Endpoint(pk=self.instance.pk, **{name: self.cleaned_data[name] for name in names})
        asked.encrypted_credential = self.instance.encrypted_credential
        try:
            validation.check_url(asked)
            check_destination(asked)
        except ValidationError as error:
            self.add_error("url", error)
            return
        try:
            self.cleaned_data["type"] = detected_type(asked)
        except ValidationError as error:
            self.add_error(None, error)
