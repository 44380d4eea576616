"""The form of an alert channel: its URL and its secret are written and never shown again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from endpoints.alerts import alert_channels
from endpoints.alerts.alert_models import AlertChannel

if TYPE_CHECKING:
    ChannelModelForm = forms.ModelForm[AlertChannel]
else:
    ChannelModelForm = forms.ModelForm  # generic for the type checker only

STORED = _("One is stored. Type a new one to replace it.")
SECRET_INPUT = {"autocomplete": "off", "spellcheck": "false", "class": "vTextField"}


class AlertChannelForm(ChannelModelForm):
    new_url = forms.CharField(
        label=_("URL"),
        required=False,
        max_length=1000,
        widget=forms.PasswordInput(attrs=SECRET_INPUT),
        help_text=_(
            "Of the webhook, or of the ntfy topic (https://ntfy.sh/my-topic). Stored encrypted, for "
            "whoever has it can write there."
        ),
    )
    new_secret = forms.CharField(
        label=_("Secret"),
        required=False,
        max_length=500,
        widget=forms.PasswordInput(attrs=SECRET_INPUT),
        help_text=_(
            "Optional. A webhook's messages are signed with it (X-Olla-Signature); for ntfy it is the "
            "access token. It is removed when the URL's host changes."
        ),
    )
    remove_secret = forms.BooleanField(label=_("Remove the stored secret"), required=False)

    class Meta:
        model = AlertChannel
        exclude = ()
        labels = {
            "name": _("Name"),
            "kind": _("Kind"),
            "enabled": _("Enabled"),
            "recipients": _("Recipients"),
            "group_seconds": _("Grouped within"),
            "quiet_from": _("Quiet from"),
            "quiet_until": _("Quiet until"),
            "time_zone": _("Time zone"),
        }
        widgets = {
            "recipients": forms.Textarea(attrs={"rows": 2, "cols": 60, "spellcheck": "false"}),
        }
        help_texts = {
            "name": _("Shown on pages and in messages, such as ops-slack."),
            "kind": _("In which form messages are sent."),
            "recipients": _(
                "For e-mail: addresses, separated by spaces or line breaks. The server of "
                "OLLA_SMTP_URL sends it."
            ),
            "group_seconds": _("Seconds. What happens within them is one message."),
            "quiet_from": _("A time of day, such as 22:00. Empty: no quiet hours."),
            "quiet_until": _("What happens in the quiet hours comes as one message when they end."),
            "time_zone": _("Of the quiet hours and of the times in messages, such as Europe/Berlin."),
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "new_url" in self.fields and self.instance.encrypted_url:
            goes_to = gettext("It goes to {host}.").format(host=self.instance.host)
            self.fields["new_url"].help_text = f"{STORED} {goes_to}"
        if "new_secret" in self.fields and self.instance.encrypted_secret:
            self.fields["new_secret"].help_text = STORED

    def clean_new_url(self) -> str:
        url = str(self.cleaned_data["new_url"])
        return alert_channels.read_url(url) if url.strip() else ""

    def clean_recipients(self) -> str:
        return alert_channels.read_recipients(str(self.cleaned_data["recipients"]))

    def clean(self) -> dict[str, Any]:
        given = super().clean() or self.cleaned_data
        removed = "" if given.get("remove_secret") else None
        alert_channels.put_in(
            self.instance, url=given.get("new_url", ""), secret=given.get("new_secret") or removed
        )
        return given

    def _post_clean(self) -> None:
        """What it lacks is known only when its fields are set."""
        super()._post_clean()  # type: ignore[misc]  # the stubs do not know it
        for name, said in self.instance.missing().items():
            field = "new_url" if name == "url" else name
            if field not in self.errors:
                self.add_error(field, said)
