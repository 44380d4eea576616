"""A Messages request as the chat request that asks for the same.

Nothing is dropped: what a chat request has no words for is an ApiError that names the field. Which hints of
Anthropic's have no effect is in docs/anthropic.md.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ollaproject.wire.anthropic.schema import (
    Document,
    Image,
    Request,
    Text,
    TextSource,
    Thinking,
    ToolResult,
    ToolUse,
    invalid,
    read_request,
    read_tool,
)
from ollaproject.wire.turns import PARAGRAPH, ask, instruct, joined

if TYPE_CHECKING:
    import mmap
    from collections.abc import Iterable

    from ollaproject.wire.anthropic.schema import Base64Source, ToolChoice, Turn, UrlSource

Json = dict[str, Any]
FAILED = "Error: "
"""What a tool's result begins with when the tool failed: chat requests have no field for that."""
CHOICES = {"auto": "auto", "any": "required", "none": "none"}
EFFORTS = {"xhigh": "high", "max": "high"}


@dataclass(frozen=True, slots=True)
class Asked:
    """`chat` is the body of a chat request. `hides_thoughts`: thinking is to be done, but not shown."""

    model: str
    stream: bool
    chat: Json
    hides_thoughts: bool = False


def to_chat(body: bytes | mmap.mmap, *, can_continue: bool = False, counts_only: bool = False) -> Asked:
    """Raises ApiError 400.

    `can_continue`: the server can go on with an assistant's last message, which Anthropic's can; else such a
    request is refused. `counts_only`: it is one of count_tokens, which has no `max_tokens`.
    """
    request = read_request(body)
    if request.max_tokens is None and not counts_only:
        raise invalid("max_tokens", "Field required")
    chat: Json = {"model": request.model, "messages": _messages(request)}
    chat |= _limits(request) | _tools(request) | _manner(request)
    if request.messages[-1].role == "assistant":
        if not can_continue:
            message = "the last message must be the user's: this model cannot go on with an answer"
            raise invalid(f"messages[{len(request.messages) - 1}]", message)
        chat |= {"continue_final_message": True, "add_generation_prompt": False}
    if request.stream:
        chat |= {"stream": True, "stream_options": {"include_usage": True}}
    hides = request.thinking is not None and request.thinking.display == "omitted"
    return Asked(request.model, bool(request.stream), chat, hides_thoughts=hides)


def _limits(request: Request) -> Json:
    given = {
        "max_tokens": request.max_tokens,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "top_k": request.top_k,
        "stop": request.stop_sequences or None,
        "user": request.metadata.user_id if request.metadata else None,
    }
    return {name: value for name, value in given.items() if value is not None}


def _tools(request: Request) -> Json:
    if not request.tools:
        if request.tool_choice is not None and request.tool_choice.type in ("any", "tool"):
            raise invalid("tool_choice", "there are no tools to choose from")
        return {}
    functions = [_function(tool, f"tools[{place}]") for place, tool in enumerate(request.tools)]
    return {"tools": functions, **_choice(request.tool_choice)}


def _function(given: Json, place: str) -> Json:
    tool = read_tool(given, place)
    function: Json = {"name": tool.name, "parameters": tool.input_schema}
    if tool.description is not None:
        function["description"] = tool.description
    if tool.strict is not None:
        function["strict"] = tool.strict
    return {"type": "function", "function": function}


def _choice(choice: ToolChoice | None) -> Json:
    if choice is None:
        return {}
    parallel = {"parallel_tool_calls": False} if choice.disable_parallel_tool_use else {}
    if choice.type != "tool":
        return {"tool_choice": CHOICES[choice.type], **parallel}
    if not choice.name:
        raise invalid("tool_choice.name", "Field required")
    return {"tool_choice": {"type": "function", "function": {"name": choice.name}}, **parallel}


def _manner(request: Request) -> Json:
    """Whether to think, how hard, and in what form to answer."""
    manner: Json = {}
    if request.thinking is not None:
        manner["chat_template_kwargs"] = {"enable_thinking": request.thinking.type != "disabled"}
    config = request.output_config
    if config is not None and config.effort is not None:
        manner["reasoning_effort"] = EFFORTS.get(config.effort, config.effort)
    form = (config.format if config is not None else None) or request.output_format
    if form is not None:
        described = {"name": "answer", "schema": form.schema, "strict": True}
        manner["response_format"] = {"type": "json_schema", "json_schema": described}
    return manner


def _messages(request: Request) -> list[Json]:
    messages: list[Json] = []
    if request.system:
        messages.append({"role": "system", "content": _system(request.system)})
    for place, turn in enumerate(request.messages):
        path = f"messages[{place}].content"
        if turn.role == "user":
            _add_user(messages, turn, path)
        elif turn.role == "assistant":
            messages.append(_assistant(turn, path))
        else:
            instruct(messages, _system(_texts(turn, path)))
    return messages


def _system(system: str | list[Text]) -> str:
    return system if isinstance(system, str) else PARAGRAPH.join(block.text for block in system)


def _texts(turn: Turn, path: str) -> str | list[Text]:
    if isinstance(turn.content, str):
        return turn.content
    texts: list[Text] = []
    for place, block in enumerate(turn.content):
        if not isinstance(block, Text):
            raise _misplaced(block, f"{path}[{place}]", "system")
        texts.append(block)
    return texts


def _add_user(messages: list[Json], turn: Turn, path: str) -> None:
    """Results of tools first, as a chat wants them right behind the calls. Their pictures come after them:
    a tool's message holds text only.
    """
    if isinstance(turn.content, str):
        ask(messages, turn.content)
        return
    results: list[Json] = []
    parts: list[Json] = []
    for place, block in enumerate(turn.content):
        if isinstance(block, ToolResult):
            result, pictures = _result(block, f"{path}[{place}].content")
            results.append(result)
            parts += pictures
        elif isinstance(block, Text | Image | Document):
            parts += _parts([block], f"{path}[{place}]")
        else:
            raise _misplaced(block, f"{path}[{place}]", "user")
    messages += results
    if parts or not results:
        ask(messages, joined(parts))


def _result(block: ToolResult, path: str) -> tuple[Json, list[Json]]:
    content = block.content or ""
    parts = [_text(content)] if isinstance(content, str) else _parts(content, path)
    said = PARAGRAPH.join(part["text"] for part in parts if part["type"] == "text")
    message = {
        "role": "tool",
        "tool_call_id": block.tool_use_id,
        "content": FAILED + said if block.is_error else said,
    }
    return message, [part for part in parts if part["type"] != "text"]


def _assistant(turn: Turn, path: str) -> Json:
    if isinstance(turn.content, str):
        return {"role": "assistant", "content": turn.content}
    texts: list[str] = []
    thoughts: list[str] = []
    calls: list[Json] = []
    for place, block in enumerate(turn.content):
        if isinstance(block, Text):
            _refuse_citations(block.citations, f"{path}[{place}]")
            texts.append(block.text)
        elif isinstance(block, Thinking):
            thoughts.append(block.thinking)
        elif isinstance(block, ToolUse):
            calls.append(_call(block))
        else:
            raise _misplaced(block, f"{path}[{place}]", "assistant")
    message: Json = {"role": "assistant", "content": PARAGRAPH.join(texts) if texts or not calls else None}
    if thoughts:
        message["reasoning_content"] = PARAGRAPH.join(thoughts)
    return {**message, "tool_calls": calls} if calls else message


def _call(block: ToolUse) -> Json:
    arguments = json.dumps(block.input, ensure_ascii=False)
    return {"id": block.id, "type": "function", "function": {"name": block.name, "arguments": arguments}}


def _parts(blocks: Iterable[Text | Image | Document], path: str) -> list[Json]:
    parts: list[Json] = []
    for block in blocks:
        if isinstance(block, Image):
            parts.append({"type": "image_url", "image_url": {"url": _url(block.source)}})
        elif isinstance(block, Text):
            _refuse_citations(block.citations, path)
            parts.append(_text(block.text))
        else:
            parts += _document(block, path)
    return parts


def _document(block: Document, path: str) -> list[Json]:
    """Its title and context, then its text. One that is a file is refused when it is read."""
    _refuse_citations(block.citations and block.citations.get("enabled"), path)
    head = [_text(line) for line in (block.title, block.context) if line]
    if isinstance(block.source, TextSource):
        return [*head, _text(block.source.data)]
    content = block.source.content
    return [*head, *([_text(content)] if isinstance(content, str) else _parts(content, path))]


def _url(source: Base64Source | UrlSource) -> str:
    return getattr(source, "url", None) or f"data:{source.media_type};base64,{source.data}"  # type: ignore[union-attr]


def _text(text: str) -> Json:
    return {"type": "text", "text": text}


def _refuse_citations(citations: object, path: str) -> None:
    if citations:
        raise invalid(f"{path}.citations", "citations are not supported here. Leave them out")


def _misplaced(block: object, path: str, role: str) -> Exception:
    kind = type(block).__struct_config__.tag  # type: ignore[attr-defined]
    return invalid(path, f"a block of type {kind!r} cannot stand in a message of the {role}")
