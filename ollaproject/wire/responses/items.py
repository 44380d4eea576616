"""The items of a Responses request as the messages of a chat.

An assistant's thoughts, words and calls are items of their own here, and one message there.
"""

from __future__ import annotations

from typing import Any

from ollaproject.wire.openai_errors import ApiError
from ollaproject.wire.responses.tools import joined_name
from ollaproject.wire.turns import ask, instruct, joined

Json = dict[str, Any]
BAD_REQUEST = 400
ROLES = {"user": "user", "assistant": "assistant", "system": "system", "developer": "system"}
TEXTS = {"input_text": "text", "output_text": "text", "text": "text", "refusal": "refusal"}


def messages_of(given: Json) -> list[Json]:
    """Raises ApiError 400 for an item that a chat has no words for."""
    instructions = given.get("instructions")
    messages: list[Json] = []
    if instructions is not None:
        if not isinstance(instructions, str):
            raise _invalid("instructions", "must be a string")
        instruct(messages, instructions)
    said = given.get("input")
    if isinstance(said, str):
        return [*messages, {"role": "user", "content": said}]
    if not isinstance(said, list) or not said:
        raise _invalid("input", "must be a string, or an array with at least one item")
    for place, item in enumerate(said):
        if not isinstance(item, dict):
            raise _invalid(f"input[{place}]", "must be an object")
        _add(messages, item, f"input[{place}]")
    return messages


def _add(messages: list[Json], item: Json, path: str) -> None:
    match item.get("type", "message"):
        case "message":
            _add_message(messages, item, path)
        case "function_call":
            _assistant(messages).setdefault("tool_calls", []).append(_call(item, path))
        case "function_call_output":
            _add_output(messages, item, path)
        case "reasoning":
            if thought := _thought(item, path):
                _assistant(messages, thinks=True)["reasoning_content"] = thought
        case other:
            raise _invalid(f"{path}.type", f"is {other!r}, which needs OpenAI's own servers")


def _add_message(messages: list[Json], item: Json, path: str) -> None:
    role = ROLES.get(item.get("role", ""))
    if role is None:
        raise _invalid(f"{path}.role", f"must be one of {', '.join(ROLES)}")
    content = _content(item.get("content"), f"{path}.content")
    if role == "user":
        messages.append({"role": role, "content": content})
        return
    if not isinstance(content, str):
        raise _invalid(f"{path}.content", f"of the {item['role']} may hold text only")
    if role == "system":
        instruct(messages, content)
        return
    last = messages[-1] if messages else {}
    if last.get("role") == "assistant" and last["content"] is None and "tool_calls" not in last:
        last["content"] = content  # what it said after its thoughts
    else:
        messages.append({"role": "assistant", "content": content})


def _add_output(messages: list[Json], item: Json, path: str) -> None:
    """A tool's message holds text only: its pictures come after it, as the user's."""
    output = _content(item.get("output"), f"{path}.output")
    pictures: list[Json] = []
    if not isinstance(output, str):
        pictures = [part for part in output if part["type"] != "text"]
        output = joined([part for part in output if part["type"] == "text"])
    messages.append({"role": "tool", "tool_call_id": item.get("call_id"), "content": output})
    if pictures:
        ask(messages, pictures)


def _assistant(messages: list[Json], *, thinks: bool = False) -> Json:
    """The assistant's message that an item belongs to: the last one, unless a new thought begins."""
    if not messages or messages[-1]["role"] != "assistant" or thinks:
        messages.append({"role": "assistant", "content": None})
    return messages[-1]


def _call(item: Json, path: str) -> Json:
    for name in ("call_id", "name", "arguments"):
        if not isinstance(item.get(name), str):
            raise _invalid(f"{path}.{name}", "must be a string")
    namespace = item.get("namespace")
    name = joined_name(namespace, item["name"]) if isinstance(namespace, str) else item["name"]
    function = {"name": name, "arguments": item["arguments"]}
    return {"id": item["call_id"], "type": "function", "function": function}


def _thought(item: Json, path: str) -> str:
    """Its text, or else the summary. Encrypted thoughts can be read by OpenAI only."""
    parts = item.get("content") or item.get("summary") or []
    thought = "\n\n".join(str(part.get("text", "")) for part in parts if isinstance(part, dict))
    if not thought and item.get("encrypted_content"):
        raise _invalid(f"{path}.encrypted_content", "can be read by OpenAI's own servers only")
    return thought


def _content(content: Any, path: str) -> str | list[Json]:
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise _invalid(path, "must be a string or an array of parts")
    parts = [_content_part(part, f"{path}[{place}]") for place, part in enumerate(content)]
    return joined(parts)


def _content_part(part: Any, path: str) -> Json:
    kind = part.get("type") if isinstance(part, dict) else None
    if kind in TEXTS:
        text = part.get("text", part.get("refusal"))
        if not isinstance(text, str):
            raise _invalid(f"{path}.text", "must be a string")
        return {"type": "text", "text": text}
    if kind == "input_image" and isinstance(part.get("image_url"), str):
        detail = {"detail": part["detail"]} if part.get("detail") else {}
        return {"type": "image_url", "image_url": {"url": part["image_url"], **detail}}
    if kind == "input_image":
        raise _invalid(f"{path}.file_id", "names a file at OpenAI: send the picture as 'image_url'")
    raise _invalid(f"{path}.type", f"is {kind!r}, which is not supported here")


def _invalid(param: str, problem: str) -> ApiError:
    return ApiError(BAD_REQUEST, "invalid_value", f"'{param}' {problem}.", param=param)
