"""What an alias adds to requests: parameters for those that do not say them, or whatever they say.

Both are objects as they stand in a chat request, such as `{"temperature": 0.6}`.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

if TYPE_CHECKING:
    from collections.abc import Mapping

# What is asked for, and how it is answered, is the client's to say.
OF_THE_CLIENT: Final = frozenset(
    {
        *("model", "messages", "prompt", "input", "system", "instructions"),
        *("tools", "functions", "stream", "stream_options"),
    }
)
NUL: Final = "\\u0000"


def validate_parameters(value: object) -> None:
    """Raises ValidationError with a sentence that names the parameter."""
    if not isinstance(value, dict):
        raise ValidationError(_('Give an object of parameters, such as {"temperature": 0.6}.'))
    for name in value:
        if name.lower() in OF_THE_CLIENT:
            words = _("“%(name)s” is for the client to say. An alias sets how it is answered, not what.")
            raise ValidationError(words, params={"name": name})
        try:
            text = json.dumps({name: value[name]}, ensure_ascii=False, allow_nan=False)
            text.encode()
        except RecursionError:
            words = _("“%(name)s” is nested too deeply.")
            raise ValidationError(words, params={"name": name}) from None
        except ValueError:  # half a character, too
            text = NUL
        if NUL in text:
            words = _(
                "“%(name)s” holds what JSON or a database cannot: NaN, Infinity, a NUL or half a character."
            )
            raise ValidationError(words, params={"name": name.replace("\0", "")})


def in_words(kind: str, parameters: Mapping[str, Any]) -> tuple[str, ...]:
    """`defaults: {…}` as JSON; nothing when there are none."""
    return (f"{kind}: {as_json(parameters)}",) if parameters else ()


def as_json(parameters: Mapping[str, Any]) -> str:
    return json.dumps(parameters, ensure_ascii=False)
