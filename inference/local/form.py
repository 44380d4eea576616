"""The form of a local model in the admin: where its files come from, what it may use, a write-only token."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from django import forms
from django.core.exceptions import ValidationError
from django.utils.html import format_html, format_html_join
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from inference.loading.model_folder import DEMO
from inference.local import configuring, hosts, looking, suggestions
from inference.local.validation import is_hub_id
from inference.models import LocalModel
from ollaproject.wire.form_fields import DurationField, LinesField

# Generic for the type checker only.
if TYPE_CHECKING:
    from django.utils.safestring import SafeString

    from inference.local.looking import Look

    LocalModelModelForm = forms.ModelForm[LocalModel]
else:
    LocalModelModelForm = forms.ModelForm

HUB, FOLDER = "hub", "folder"
NEVER = ("off", "never")
ORIGINS = (
    (HUB, _("Hugging Face")),
    (FOLDER, _("A folder of the machine that runs it")),
    (DEMO, _("The demo model: small, real, and there at once")),
)
STORED = _("A token is stored. Type a new one to replace it.")
NOT_STORED = _("Only for private or gated models. Stored encrypted, and never shown again.")


class KeepAliveField(DurationField):
    """How long a model stays loaded without a request, in whole seconds; None when it stays for good."""

    widget = forms.TextInput(attrs={"size": 10, "spellcheck": "false", "placeholder": "off"})

    def to_python(self, value: Any) -> Any:
        word = str(value or "").strip().lower()
        seconds = None if word in NEVER else super().to_python(word)
        return None if seconds is None else round(seconds)


class Suggesting(forms.TextInput):
    """A text field with names to choose from."""

    def __init__(self, names: tuple[str, ...] = ()) -> None:
        super().__init__({"size": 60, "spellcheck": "false", "autocomplete": "off"})
        self.names = names

    def render(
        self, name: str, value: Any, attrs: dict[str, Any] | None = None, renderer: Any = None
    ) -> SafeString:
        if not self.names:
            return super().render(name, value, attrs, renderer)
        listed = f"{name}-suggestions"
        field = super().render(name, value, {**(attrs or {}), "list": listed}, renderer)
        options = format_html_join("", '<option value="{}"></option>', ((each,) for each in self.names))
        return format_html('{}<datalist id="{}">{}</datalist>', field, listed, options)


class LocalModelForm(LocalModelModelForm):
    """Add or edit a local model. Its files are looked at before anything is stored."""

    origin = forms.ChoiceField(
        label=_("Where its files are"), choices=ORIGINS, initial=HUB, widget=forms.RadioSelect
    )
    source = forms.CharField(
        label=_("Source"),
        required=False,
        max_length=500,
        widget=Suggesting((*suggestions.CHAT, *suggestions.EMBEDDING)),
        help_text=_(
            "A Hugging Face id such as mlx-community/Llama-3.2-3B-Instruct-4bit, or the whole path of "
            "a folder."
        ),
    )
    keep_alive_seconds = KeepAliveField(
        label=_("Unload after"),
        required=False,
        help_text=_(
            "How long without a request, such as 10m or 1h30m. The next request loads it again. Empty, "
            "or off: it stays."
        ),
    )
    aliases = LinesField(
        label=_("Aliases"),
        required=False,
        help_text=_("Other names that clients may use, one per line."),
    )
    spread_over = LinesField(
        label=_("Machines together"),
        required=False,
        help_text=LocalModel._meta.get_field("spread_over").help_text,
    )
    # Not called after the model's own: the admin would show what it holds to those who may only look.
    new_token = forms.CharField(
        label=_("Hugging Face token"),
        required=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password", "size": 50}, render_value=False),
    )
    remove_token = forms.BooleanField(label=_("Remove the stored token"), required=False)
    start_now = forms.BooleanField(
        label=_("Start it now"),
        required=False,
        initial=True,
        help_text=_("It is downloaded, loaded, and then everyone finds it in /v1/models."),
    )

    class Meta:
        model = LocalModel
        fields: ClassVar = [
            *("name", "source", "revision", "kind", "embedding_source", "host", "port", "autostart"),
            *("keep_alive_seconds", "pinned", "max_concurrent", "context_limit", "memory_megabytes"),
            *("prompt_cache_megabytes", "disk_cache_megabytes", "draft_source", "adapter_path"),
            *("chat_template_options", "server_options", "runs_own_code", "aliases"),
            *("spread_over", "spread_through", "spread_hostfile"),
        ]
        widgets: ClassVar = {
            "name": Suggesting(),
            "embedding_source": Suggesting(suggestions.EMBEDDING),
            "draft_source": Suggesting(),
            "adapter_path": Suggesting(),
            "server_options": Suggesting(),
            "spread_hostfile": Suggesting(),
            "chat_template_options": forms.Textarea(attrs={"rows": 2, "cols": 50, "spellcheck": "false"}),
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.look: Look | None = None
        # To those who may only look, the admin shows text in place of fields.
        if "name" in self.fields:
            self.fields["name"].required = False
            self.fields["name"].help_text = gettext("What clients ask for. Empty: as its source is called.")
        if "host" in self.fields:
            self.fields["host"].widget = forms.Select(choices=machines_to_choose(self.instance.host))
            self.fields["host"].label = _("Machine")
            self.fields["host"].help_text = _("The one that runs it.")
        if "new_token" in self.fields:
            stored = bool(self.instance.encrypted_token)
            self.fields["new_token"].help_text = STORED if stored else NOT_STORED
        if self.instance.pk and "origin" in self.fields:
            self.fields["origin"].initial = origin_of(self.instance.source)
            self.initial["source"] = "" if self.instance.source == DEMO else self.instance.source

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        source, origin = cleaned.get("source", ""), cleaned.get("origin")
        if origin == DEMO:
            cleaned["source"] = DEMO
        elif not source:
            self.add_error(
                "source", _("Say which model: its Hugging Face id, or the whole path of its folder.")
            )
        elif origin == HUB and not is_hub_id(source):
            told = gettext("{source!r} is no Hugging Face id: those look like owner/name.")
            if source.startswith(("/", "~", ".")):
                told = gettext(
                    "{source!r} looks like a folder: choose “A folder of the machine that runs it”."
                )
            self.add_error("source", told.format(source=source))
        elif origin == FOLDER and is_hub_id(source):
            self.add_error("source", _("Give the whole path of the folder, from the root on."))
        if not cleaned.get("name") and cleaned.get("source"):
            named = LocalModel(source=cleaned["source"], kind=cleaned.get("kind", ""))
            cleaned["name"] = configuring.suggested_name(named)
        if cleaned.get("chat_template_options") is None:
            cleaned["chat_template_options"] = {}
        return cleaned

    def _update_errors(self, errors: ValidationError) -> None:
        """What was said of a field already is not said again in the model's words."""
        if hasattr(errors, "error_dict"):
            errors = ValidationError(
                {k: said for k, said in errors.error_dict.items() if k not in self.errors}
            )
        super()._update_errors(errors)  # type: ignore[misc]  # of Django's forms, which the stubs leave out

    def _post_clean(self) -> None:
        """After the model's own rules its files are looked at, which must not happen before they are kept."""
        super()._post_clean()  # type: ignore[misc]  # of Django's forms, which the stubs leave out
        if self.cleaned_data.get("remove_token"):
            self.instance.set_token("")
        if self.cleaned_data.get("new_token"):
            self.instance.set_token(self.cleaned_data["new_token"])
        if self.errors:
            return
        try:
            self.look = looking.look_at(self.instance)
        except ValidationError as mistakes:
            self._update_errors(mistakes)


def origin_of(source: str) -> str:
    if source == DEMO:
        return DEMO
    return HUB if is_hub_id(source) else FOLDER


def machines_to_choose(chosen: str) -> list[tuple[str, str]]:
    """Anywhere, the machines that are known, and the one that was chosen though it is not known any more."""
    known = hosts.known()
    names = [*known, *([chosen] if chosen and chosen not in known else [])]
    return [("", gettext("Any machine that has room for it")), *((name, name) for name in names)]
