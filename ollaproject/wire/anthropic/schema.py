"""A Messages request as it may stand in a body. What is not listed here is refused, with its place.

https://docs.anthropic.com/en/api/messages is the reference. Fields that are only hints to Anthropic's own
servers are listed and have no effect: docs/anthropic.md names them.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec

from ollaproject.wire.openai_errors import ApiError
from ollaproject.wire.unreadable import UNREADABLE

if TYPE_CHECKING:
    import mmap

Json = dict[str, Any]
UNKNOWN_FIELD = re.compile(r"Object contains unknown field `([^`]*)`(?: - at `\$\.?(.*)`)?")
UNKNOWN_TYPE = re.compile(r"Invalid value '([^']*)' - at `\$\.?(.*)\.type`")
PLACE = re.compile(r" - at `\$\.?(.*)`$")
BAD_REQUEST = 400


class Strict(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What stands in no field is refused."""


class Block(Strict, tag_field="type"):
    cache_control: Any = None


class Text(Block, kw_only=True, tag="text"):
    text: str
    citations: list[Any] | None = None


class Base64Source(Strict, tag_field="type", tag="base64"):
    media_type: str
    data: str


class UrlSource(Strict, tag_field="type", tag="url"):
    url: str


class TextSource(Strict, tag_field="type", tag="text"):
    data: str
    media_type: str = "text/plain"


class ContentSource(Strict, tag_field="type", tag="content"):
    content: str | list[Text | Image]


class Image(Block, kw_only=True, tag="image"):
    source: Base64Source | UrlSource


class Document(Block, kw_only=True, tag="document"):
    source: TextSource | ContentSource
    title: str | None = None
    context: str | None = None
    citations: Json | None = None


class Thinking(Block, kw_only=True, tag="thinking"):
    thinking: str
    signature: str = ""


class ToolUse(Block, kw_only=True, tag="tool_use"):
    id: str
    name: str
    input: Json
    caller: Any = None


class ToolResult(Block, kw_only=True, tag="tool_result"):
    tool_use_id: str
    content: str | list[Text | Image | Document] | None = None
    is_error: bool | None = False


class Turn(Strict):
    role: Literal["user", "assistant", "system"]
    content: str | list[Text | Image | Document | Thinking | ToolUse | ToolResult]


class Tool(Strict):
    """A tool of the client's own. Anthropic's tools, which it runs itself, have another `type`."""

    name: Annotated[str, msgspec.Meta(min_length=1)]
    input_schema: Json
    description: str | None = None
    type: Literal["custom"] | None = None
    strict: bool | None = None
    cache_control: Any = None
    defer_loading: bool | None = None
    eager_input_streaming: bool | None = None
    input_examples: list[Any] | None = None
    allowed_callers: list[str] | None = None


class ToolChoice(Strict):
    type: Literal["auto", "any", "tool", "none"]
    name: str | None = None
    disable_parallel_tool_use: bool | None = None


class ThinkingConfig(Strict):
    type: Literal["enabled", "disabled", "adaptive"]
    budget_tokens: int | None = None
    display: Literal["summarized", "omitted"] | None = None


class Metadata(Strict):
    user_id: str | None = None


class Format(Strict):
    type: Literal["json_schema"]
    schema: Json


class OutputConfig(Strict):
    format: Format | None = None
    effort: Literal["low", "medium", "high", "xhigh", "max"] | None = None


class Request(Strict):
    """`max_tokens` None: the request is one that only counts."""

    model: Annotated[str, msgspec.Meta(min_length=1)]
    messages: Annotated[list[Turn], msgspec.Meta(min_length=1)]
    max_tokens: Annotated[int, msgspec.Meta(ge=1)] | None = None
    system: str | list[Text] | None = None
    stop_sequences: list[str] | None = None
    stream: bool | None = False
    temperature: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None
    top_p: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None
    top_k: Annotated[int, msgspec.Meta(ge=0)] | None = None
    tools: list[Json] | None = None
    tool_choice: ToolChoice | None = None
    thinking: ThinkingConfig | None = None
    metadata: Metadata | None = None
    output_config: OutputConfig | None = None
    output_format: Format | None = None
    cache_control: Any = None
    context_management: Any = None
    service_tier: Literal["auto", "standard_only"] | None = None


_decoder = msgspec.json.Decoder(Request)
msgspec.json.Decoder(Tool)  # before threads convert to it; see endpoints.profiles


def read_request(body: bytes | mmap.mmap) -> Request:
    """The request in `body`. Raises ApiError 400 with the place of what is wrong."""
    try:
        return _decoder.decode(body)
    except msgspec.ValidationError as error:
        raise invalid(*_explained(str(error))) from None
    except UNREADABLE:
        raise ApiError(BAD_REQUEST, "invalid_json", "The request body is not valid JSON.") from None


def read_tool(tool: Json, place: str) -> Tool:
    """One of `tools`. Raises ApiError, for those that Anthropic runs itself too."""
    kind = tool.get("type")
    if kind not in (None, "custom"):
        message = f"the tool {kind!r} runs on Anthropic's own servers, and cannot be offered to this model"
        raise invalid(f"{place}.type", message)
    try:
        return msgspec.convert(tool, Tool)
    except msgspec.ValidationError as error:
        param, message = _explained(str(error))
        raise invalid(f"{place}.{param}".rstrip("."), message) from None


def invalid(param: str, message: str) -> ApiError:
    """As Anthropic words it: the place, then what is wrong."""
    return ApiError(BAD_REQUEST, "invalid_value", f"{param}: {message}." if param else message, param=param)


def _explained(text: str) -> tuple[str, str]:
    """Where and what, from msgspec's words."""
    if found := UNKNOWN_FIELD.match(text):
        place = f"{found[2]}.{found[1]}" if found[2] else found[1]
        return place, "this field is not supported here. Leave it out"
    if found := UNKNOWN_TYPE.match(text):
        return f"{found[2]}.type", f"{found[1]!r} is not supported here"
    place = PLACE.search(text)
    return (place[1] if place else ""), PLACE.sub("", text)
