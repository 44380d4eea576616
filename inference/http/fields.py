"""Reading the fields of a request body: types, ranges, and OpenAI's error with the field named.

A field that is null counts as absent, as OpenAI reads it.
"""

from __future__ import annotations

import math
from typing import Any

import msgspec

from ollaproject.wire.openai_errors import ApiError

BAD_REQUEST = 400
NAMES_OF_TYPES = {
    str: "a string",
    bool: "a boolean",
    int: "an integer",
    float: "a number",
    list: "an array",
    dict: "an object",
    type(None): "null",
}


def read_object(body: bytes) -> dict[str, Any]:
    """The JSON object in `body`; ApiError `invalid_json` when there is none."""
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ApiError(BAD_REQUEST, "invalid_json", f"The body is not JSON: {error}.") from None
    if not isinstance(value, dict):
        raise ApiError(
            BAD_REQUEST, "invalid_json", f"The body must be a JSON object, not {type_name(value)}."
        )
    return value


def type_name(value: Any) -> str:
    return NAMES_OF_TYPES[type(value)]


def invalid_type(name: str, expected: str, value: Any) -> ApiError:
    message = f"Invalid type for '{name}': expected {expected}, but got {type_name(value)} instead."
    return ApiError(BAD_REQUEST, "invalid_type", message, param=name)


def invalid_value(name: str, message: str) -> ApiError:
    return ApiError(BAD_REQUEST, "invalid_value", message, param=name)


def check_strings(name: str, values: list[Any]) -> None:
    """ApiError that names the first of `values` that is no string."""
    for place, value in enumerate(values):
        if not isinstance(value, str):
            raise invalid_type(f"{name}[{place}]", "a string", value)


def token_ids(name: str, value: Any) -> list[int]:
    """`value`, if it is a list of what may be token ids; else ApiError with the one that is none named."""
    if not isinstance(value, list):
        raise invalid_type(name, "an array of token ids", value)
    for place, token in enumerate(value):
        if isinstance(token, bool) or not isinstance(token, int):
            raise invalid_type(f"{name}[{place}]", "a token id", token)
        if token < 0:
            raise invalid_value(f"{name}[{place}]", f"'{name}[{place}]' must be a token id, not {token}.")
    return value


def unsupported(name: str, message: str) -> ApiError:
    return ApiError(BAD_REQUEST, "unsupported_parameter", message, param=name)


class Fields:
    """The fields of one JSON object. `prefix` is its place in the body, for messages: `stream_options.`."""

    def __init__(self, body: dict[str, Any], *, prefix: str = "") -> None:
        self._body = body
        self._prefix = prefix

    def get(self, name: str) -> Any:
        return self._body.get(name)

    def require(self, name: str) -> Any:
        value = self._body.get(name)
        if value is None:
            path = self._prefix + name
            message = f"Missing required parameter: '{path}'."
            raise ApiError(BAD_REQUEST, "missing_required_parameter", message, param=path)
        return value

    def string(self, name: str) -> str:
        value = self.require(name)
        if not isinstance(value, str):
            raise invalid_type(self._prefix + name, "a string", value)
        return value

    def boolean(self, name: str, *, default: bool = False) -> bool:
        value = self._body.get(name)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise invalid_type(self._prefix + name, "a boolean", value)
        return value

    def number(self, name: str, *, default: float, low: float, high: float = math.inf) -> float:
        value = self._body.get(name)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise invalid_type(self._prefix + name, "a number", value)
        self._check_range(name, value, low, high, kind="decimal")
        return float(value)

    def integer(self, name: str, *, low: int, high: float = math.inf) -> int | None:
        value = self._body.get(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int):
            raise invalid_type(self._prefix + name, "an integer", value)
        self._check_range(name, value, low, high, kind="integer")
        return value

    def object(self, name: str) -> Fields | None:
        value = self._body.get(name)
        if value is None:
            return None
        if not isinstance(value, dict):
            raise invalid_type(self._prefix + name, "an object", value)
        return Fields(value, prefix=f"{self._prefix}{name}.")

    def require_object(self, name: str) -> Fields:
        self.require(name)
        return self.object(name) or Fields({}, prefix=f"{self._prefix}{name}.")

    def names(self) -> list[str]:
        return list(self._body)

    def as_dict(self) -> dict[str, Any]:
        return dict(self._body)

    def _check_range(self, name: str, value: float, low: float, high: float, *, kind: str) -> None:
        path = self._prefix + name
        if value < low:
            message = f"Invalid '{path}': expected a value of at least {low}, but got {value} instead."
            raise ApiError(BAD_REQUEST, f"{kind}_below_min_value", message, param=path)
        if value > high:
            message = f"Invalid '{path}': expected a value of at most {high}, but got {value} instead."
            raise ApiError(BAD_REQUEST, f"{kind}_above_max_value", message, param=path)
