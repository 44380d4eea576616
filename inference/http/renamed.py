"""Errors of a chat request in the words of the request that it was made of: each API names its own fields."""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ollaproject.wire.openai_errors import ApiError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

OF_MESSAGES: Mapping[str, str] = {
    "stop": "stop_sequences",
    "reasoning_effort": "output_config.effort",
    "response_format.json_schema.schema": "output_config.format.schema",
}
OF_FUNCTIONS: Mapping[str, str] = {
    "tools": "functions",
    "tool_choice": "function_call",
    "tool_choice.function": "function_call",
}
OF_RESPONSES: Mapping[str, str] = {
    "max_tokens": "max_output_tokens",
    "reasoning_effort": "reasoning.effort",
    "response_format.json_schema": "text.format",
    "response_format": "text.format",
    "verbosity": "text.verbosity",
}
ITEMS = "input"
"""Of a response. Its items are not the chat's messages one by one, so no place is named."""
FUNCTION = re.compile(r"^((?:tools|functions)\[\d+\])\.function\b")


@contextmanager
def named_as(names: Mapping[str, str], *, messages: str = "messages") -> Iterator[None]:
    """An ApiError on the way out names the field of `names` that stands for the chat's.

    `messages` is the field that holds the conversation.
    """
    try:
        yield
    except ApiError as error:
        if error.param is None:
            raise
        param = _field(error.param, names, messages=messages)
        text = error.message.replace(f"'{error.param}'", f"'{param}'")
        raise ApiError(error.status, error.code, text, param=param, headers=error.headers) from error


def _field(param: str, names: Mapping[str, str], *, messages: str) -> str:
    if messages != "messages" and re.match(r"messages\b", param):
        return messages
    for name in sorted(names, key=len, reverse=True):
        if param == name or param.startswith((f"{name}.", f"{name}[")):
            param = names[name] + param[len(name) :]
            break
    return FUNCTION.sub(r"\1", param)
