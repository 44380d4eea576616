"""The form of an alert channel: its URL and its secret are written and never shown again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from django import forms
from django.core.exceptions import ValidationError
from django.core.validators import validate_email

from endpoints.alert_models import AlertChannel, ChannelKind

if TYPE_CHECKING:
    ChannelModelForm = forms.ModelForm[AlertChannel]
else:
    ChannelModelForm = forms.ModelForm  # generic for the type checker only

STORED = "One is stored. Type a new one to replace it."
SECRET_INPUT = {"autocomplete": "off", "spellcheck": "false", "class": "vTextField"}


class AlertChannelForm(ChannelModelForm):
    new_url = forms.CharField(
        label="URL",
        required=False,
        max_length=1000,
        widget=forms.PasswordInput(attrs=SECRET_INPUT),
        help_text="Of the webhook, or of the ntfy topic (https://ntfy.sh/my-topic). Stored encrypted, for "
        "whoever has it can write there.",
    )
    new_secret = forms.CharField(
        label="Secret",
        required=False,
        max_length=500,
        widget=forms.PasswordInput(attrs=SECRET_INPUT),
        help_text="Optional. A webhook's messages are signed with it (X-Olla-Signature); for ntfy it is the "
        "access token.",
    )
    remove_secret = forms.BooleanField(label="Remove the stored secret", required=False)

    class Meta:
        model = AlertChannel
        exclude = ()
        widgets = {
            "recipients": forms.Textarea(attrs={"rows": 2, "cols": 60, "spellcheck": "false"}),
        }
        help_texts = {
            "name": "Shown on pages and in messages, such as ops-slack.",
            "kind": "In which form messages are sent.",
            "recipients": "For e-mail: addresses, separated by spaces or line breaks. The server of "
            "OLLA_SMTP_URL sends it.",
            "group_seconds": "Seconds. What happens within them is one message.",
            "quiet_from": "A time of day, such as 22:00. Empty: no quiet hours.",
            "quiet_until": "What happens in the quiet hours comes as one message when they end.",
            "time_zone": "Of the quiet hours and of the times in messages, such as Europe/Berlin.",
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "new_url" in self.fields and self.instance.encrypted_url:
            self.fields["new_url"].help_text = f"{STORED} It goes to {self.instance.host}."
        if "new_secret" in self.fields and self.instance.encrypted_secret:
            self.fields["new_secret"].help_text = STORED

    def clean_new_url(self) -> str:
        url = str(self.cleaned_data["new_url"]).strip()
        if not url:
            return ""
        try:
            parts = urlsplit(url)
            usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and url.isascii()
        except ValueError:
            usable = False
        if not usable:  # the message does not repeat it
            raise ValidationError("This is no URL that can be posted to. Write it like https://…")
        return url

    def clean_recipients(self) -> str:
        addresses = str(self.cleaned_data["recipients"]).replace(",", " ").split()
        for address in addresses:
            validate_email(address)
        return " ".join(addresses)

    def clean(self) -> dict[str, Any]:
        given = super().clean() or self.cleaned_data
        kind = given.get("kind")
        if kind == ChannelKind.EMAIL and not given.get("recipients") and "recipients" not in self.errors:
            self.add_error("recipients", "An e-mail needs at least one address.")
        needs_url = kind != ChannelKind.EMAIL and not self.instance.encrypted_url
        if needs_url and not given.get("new_url") and "new_url" not in self.errors:
            self.add_error("new_url", "This kind of channel needs a URL.")
        if given.get("new_url"):
            self.instance.set_url(given["new_url"])
        if given.get("new_secret"):
            self.instance.set_secret(given["new_secret"])
        elif given.get("remove_secret"):
            self.instance.set_secret("")
        return given
