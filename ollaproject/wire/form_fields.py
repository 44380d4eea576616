"""Fields as people type them, for the forms of every room: durations as `5s`, one word per line."""

from __future__ import annotations

from typing import Any

from django import forms
from django.core.exceptions import ValidationError

from ollaproject.wire.durations import DurationError, format_duration, parse_duration


class DurationField(forms.CharField):
    """Seconds, typed and shown as `5s`, `500ms`, `1m30s`."""

    widget = forms.TextInput(attrs={"size": 10, "spellcheck": "false"})

    def to_python(self, value: Any) -> Any:
        text = super().to_python(value)
        if text in self.empty_values:
            return None
        try:
            return parse_duration(str(text))
        except DurationError as error:
            raise ValidationError(str(error)) from None

    def run_validators(self, value: Any) -> None:
        """A CharField's validators are for text; the rules of the number are in endpoints.validation."""

    def prepare_value(self, value: Any) -> Any:
        return format_duration(value) if isinstance(value, int | float) else value


class LinesField(forms.Field):
    """A list of words, one per line."""

    widget = forms.Textarea(attrs={"rows": 3, "cols": 60, "spellcheck": "false"})

    def to_python(self, value: Any) -> list[str]:
        return [line.strip() for line in (value or "").splitlines() if line.strip()]

    def prepare_value(self, value: Any) -> Any:
        return "\n".join(value) if isinstance(value, list) else value
