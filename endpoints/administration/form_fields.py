"""Fields as people type them: words with spaces between, one header per line, parameters as JSON."""

from __future__ import annotations

import json
from typing import Any

from django import forms
from django.core.exceptions import ValidationError


class WordsField(forms.CharField):
    """A list of words in one line, with spaces or commas between them."""

    def to_python(self, value: Any) -> Any:
        return list(dict.fromkeys((value or "").replace(",", " ").split()))

    def run_validators(self, value: Any) -> None:
        """The rules of the words are in endpoints.validation."""

    def prepare_value(self, value: Any) -> Any:
        return " ".join(value) if isinstance(value, list) else value


class HeadersField(forms.Field):
    """Headers as they stand in a request, `Name: value`, one per line.

    A value may be secret, so no message repeats it.
    """

    widget = forms.Textarea(attrs={"rows": 3, "cols": 60, "spellcheck": "false"})

    def to_python(self, value: Any) -> dict[str, str]:
        headers: dict[str, str] = {}
        mistakes = []
        for number, line in enumerate((value or "").splitlines(), start=1):
            if not line.strip():
                continue
            name, colon, content = line.partition(":")
            if not colon:
                mistakes.append(f"Line {number} has no colon. Write it as Name: value.")
            elif name.strip().lower() in (known.lower() for known in headers):
                mistakes.append(f"Line {number} gives the header {name.strip()} again.")
            else:
                headers[name.strip()] = content.strip()
        if mistakes:
            raise ValidationError(mistakes)
        return headers

    def prepare_value(self, value: Any) -> Any:
        return (
            "\n".join(f"{name}: {content}" for name, content in value.items())
            if isinstance(value, dict)
            else value
        )


class ParametersField(forms.JSONField):
    """An object of JSON; an empty field is an empty one."""

    widget = forms.Textarea(attrs={"rows": 4, "cols": 60, "spellcheck": "false"})

    def to_python(self, value: Any) -> Any:
        found = super().to_python(value)
        return {} if found is None else found

    def prepare_value(self, value: Any) -> Any:
        return (
            json.dumps(value, ensure_ascii=False, indent=2)
            if isinstance(value, dict) and value
            else value or ""
        )
