"""A Responses request as the chat request that asks for the same.

What would need a memory of earlier responses, or a tool that OpenAI runs itself, is an ApiError that names
the field. Hints without effect here are in HINTS; any other field is refused too.
https://platform.openai.com/docs/api-reference/responses/create is the reference.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from ollaproject.wire.openai_errors import ApiError
from ollaproject.wire.responses.items import messages_of
from ollaproject.wire.responses.tools import Member, refused, tools_of
from ollaproject.wire.unreadable import UNREADABLE

if TYPE_CHECKING:
    import mmap

Json = dict[str, Any]
BAD_REQUEST = 400
PLAIN = ("temperature", "top_p", "parallel_tool_calls", "user")
HINTS = frozenset(
    {
        "client_metadata",
        "max_tool_calls",
        "metadata",
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
        "safety_identifier",
        "service_tier",
        "store",
        "stream_options",
    }
)
READ = frozenset(
    {
        *PLAIN,
        "model",
        "input",
        "instructions",
        "include",
        "max_output_tokens",
        "reasoning",
        "stream",
        "text",
        "tools",
        "tool_choice",
    }
)
# These ask for nothing when they have such a value.
HARMLESS: dict[str, tuple[Any, ...]] = {
    "background": (False,),
    "top_logprobs": (0,),
    "truncation": ("disabled",),
}
REASONS = {
    "previous_response_id": "responses are not kept here: send the whole conversation in 'input'",
    "conversation": "conversations are not kept here: send the whole conversation in 'input'",
    "background": "responses are not kept here, so they cannot be made in the background",
    "prompt": "prompt templates are kept by OpenAI only: send the text in 'input'",
    "truncation": "nothing is cut off here: shorten 'input'",
    "top_logprobs": "log probabilities are given by /v1/chat/completions only",
}
INCLUDABLE = frozenset({"reasoning.encrypted_content"})


@dataclass(frozen=True, slots=True)
class Asked:
    """`chat` is the body of a chat request, `given` the request itself: a response repeats parts of it."""

    model: str
    stream: bool
    chat: Json
    given: Json
    members: dict[str, Member] = field(default_factory=dict)
    """The functions of namespaces, by what the chat calls them."""


def to_chat(body: bytes | mmap.mmap) -> Asked:
    """Raises ApiError 400."""
    given = _object(body)
    for name, value in given.items():
        if (
            value is not None
            and name not in READ
            and name not in HINTS
            and value not in HARMLESS.get(name, ())
        ):
            reason = REASONS.get(name, "this field is not supported here. Leave it out")
            raise refused(name, f"'{name}': {reason}.")
    model = _string(given, "model")
    _check_include(given.get("include"))
    chat: Json = {"model": model, "messages": messages_of(given)}
    chat |= {name: given[name] for name in PLAIN if given.get(name) is not None}
    if given.get("max_output_tokens") is not None:
        chat["max_tokens"] = given["max_output_tokens"]
    tools, members = tools_of(given)
    chat |= tools | _reasoning(given) | _text(given)
    stream = _boolean(given, "stream")
    if stream:
        chat |= {"stream": True, "stream_options": {"include_usage": True}}
    return Asked(model, stream, chat, given, members)


def _check_include(wanted: Any) -> None:
    if not isinstance(wanted, list | None):
        raise ApiError(BAD_REQUEST, "invalid_type", "'include' must be an array of strings.", param="include")
    if refused_parts := {str(part) for part in wanted or ()} - INCLUDABLE:
        raise refused("include", f"'include' cannot have {min(refused_parts)!r} here. Leave it out.")


def _object(body: bytes | mmap.mmap) -> Json:
    try:
        given = msgspec.json.decode(body)
    except UNREADABLE:
        raise ApiError(BAD_REQUEST, "invalid_json", "The request body is not valid JSON.") from None
    if not isinstance(given, dict):
        raise ApiError(BAD_REQUEST, "invalid_json", "The request body is not a JSON object.")
    return given


def _string(given: Json, name: str) -> str:
    value = given.get(name)
    if value is None:
        message = f"Missing required parameter: '{name}'."
        raise ApiError(BAD_REQUEST, "missing_required_parameter", message, param=name)
    if not isinstance(value, str):
        raise ApiError(BAD_REQUEST, "invalid_type", f"'{name}' must be a string.", param=name)
    return value


def _boolean(given: Json, name: str) -> bool:
    value = given.get(name)
    if not isinstance(value, bool | None):
        raise ApiError(BAD_REQUEST, "invalid_type", f"'{name}' must be a boolean.", param=name)
    return bool(value)


def _part(given: Json, name: str) -> Json:
    value = {} if given.get(name) is None else given[name]
    if not isinstance(value, dict):
        raise ApiError(BAD_REQUEST, "invalid_type", f"'{name}' must be an object.", param=name)
    return value


def _reasoning(given: Json) -> Json:
    """How hard to think. A summary is not made here: the thoughts themselves are shown."""
    effort = _part(given, "reasoning").get("effort")
    return {} if effort is None else {"reasoning_effort": effort}


def _text(given: Json) -> Json:
    text = _part(given, "text")
    chat = {} if text.get("verbosity") is None else {"verbosity": text["verbosity"]}
    form = _part(text, "format")
    if form.get("type") in (None, "text"):
        return chat
    if form["type"] == "json_schema":
        described = {name: value for name, value in form.items() if name != "type"}
        return {**chat, "response_format": {"type": "json_schema", "json_schema": described}}
    return {**chat, "response_format": form}
