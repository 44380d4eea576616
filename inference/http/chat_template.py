"""Messages to a prompt, by the template that came with the model.

What a template does not understand is refused with the message named, not handed to it: templates drop
silently what they do not know.
"""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from jinja2 import TemplateError

from inference.http.fields import BAD_REQUEST, Fields, invalid_type, invalid_value
from inference.options import RESERVED_ARGUMENTS
from ollaproject.wire.openai_errors import ApiError
from ollaproject.wire.turns import in_turns, without_system

Ending = Literal["generation_prompt", "nothing", "continuation"]
"""What follows the last message: the beginning of an answer, nothing, or the rest of what it says."""

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from mlx_lm.tokenizer_utils import TokenizerWrapper

    # How many characters there are about, and what gives the text if it is wanted.
    Check = Callable[[int, Callable[[], str]], None]

ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
TOOL_ROLES = {"tool": "tool", "function": "tool"}
OLD_CALL_ID = "call00000"
"""Of calls that came before calls had ids. Some templates want one, of nine characters."""
PASSED_ON = ("tool_call_id", "name", "reasoning_content")


def prompt_tokens(
    tokenizer: TokenizerWrapper,
    messages: list[dict[str, Any]],
    arguments: dict[str, Any],
    *,
    tools: Sequence[dict[str, Any]] = (),
    ending: Ending = "generation_prompt",
    check: Check | None = None,
) -> list[int]:
    """The ids of the prompt. ApiError when a message is not one, or when the template refuses them.

    `check` is asked before anything is tokenised, and may raise an error of its own.
    """
    if not messages:
        raise invalid_value("messages", "'messages' must hold at least one message.")
    if not tokenizer.has_chat_template:
        message = "This model has no chat template, so it cannot chat. Send a prompt to /v1/completions."
        raise ApiError(BAD_REQUEST, "no_chat_template", message, param="messages")
    if taken := RESERVED_ARGUMENTS & arguments.keys():
        name = f"chat_template_kwargs.{min(taken)}"
        raise invalid_value(name, f"'{name}' is decided by the server. Leave it out.")
    roles = ROLES | TOOL_ROLES if tokenizer.has_tool_calling else ROLES
    plain = [_plain_message(message, f"messages[{place}]", roles) for place, message in enumerate(messages)]
    if ending == "continuation" and plain[-1]["role"] != "assistant":
        message = "'continue_final_message' needs the last message to be the assistant's."
        raise invalid_value("continue_final_message", message)
    given = {"tools": list(tools), **arguments} if tools else arguments
    template = partial(
        tokenizer.apply_chat_template,
        add_generation_prompt=ending == "generation_prompt",
        continue_final_message=ending == "continuation",
        return_dict=False,
        **given,
    )
    refusal: Exception | None = None
    for told in _tellings(plain):
        try:
            if check is not None:
                check(len(repr((told, given))), partial(template, told, tokenize=False))
            return list(template(told))
        except (TemplateError, TypeError, ValueError, KeyError) as error:
            refusal = refusal or error
    message = f"The model's chat template refuses these messages: {str(refusal).rstrip('.')}."
    raise ApiError(BAD_REQUEST, "invalid_messages", message, param="messages")


def _tellings(messages: list[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """The conversation as it came, then in ways that templates take which want turns, or know no system."""
    yield messages
    simple = in_turns(messages)
    if simple != messages:
        yield simple
    if simple[0]["role"] == "system":
        yield without_system(simple)


def _plain_message(message: Any, path: str, roles: Mapping[str, str]) -> dict[str, Any]:
    if not isinstance(message, dict):
        raise invalid_type(path, "an object", message)
    fields = Fields(message, prefix=f"{path}.")
    role = fields.string("role")
    if role not in roles:
        known = ", ".join(f"'{known}'" for known in roles)
        raise invalid_value(f"{path}.role", f"'{path}.role' is '{role}', but this model knows {known} only.")
    for name in ("audio",) if "tool" in roles else ("function_call", "audio", "tool_calls"):
        if fields.get(name):
            raise invalid_value(f"{path}.{name}", f"'{path}.{name}' is not supported with this model.")
    plain: dict[str, Any] = {"role": roles[role]}
    plain |= {name: fields.string(name) for name in PASSED_ON if fields.get(name) is not None}
    if role == "function":
        plain.setdefault("tool_call_id", OLD_CALL_ID)
    if fields.get("function_call"):
        function = fields.require_object("function_call")
        calls = [{"id": OLD_CALL_ID, **_made_call(function, f"{path}.function_call")}]
    else:
        calls = _tool_calls(fields.get("tool_calls"), f"{path}.tool_calls")
    content = "" if calls and fields.get("content") is None else fields.get("content")
    told = {**plain, "content": _text(content, f"{path}.content")}
    return {**told, "tool_calls": calls} if calls else told


def _tool_calls(calls: Any, path: str) -> list[dict[str, Any]]:
    """Calls that the model made before. Templates want their arguments as objects, not as JSON in strings."""
    if calls is None:
        return []
    if not isinstance(calls, list):
        raise invalid_type(path, "an array of objects", calls)
    return [_tool_call(call, f"{path}[{place}]") for place, call in enumerate(calls)]


def _tool_call(call: Any, path: str) -> dict[str, Any]:
    if not isinstance(call, dict):
        raise invalid_type(path, "an object", call)
    made = _made_call(Fields(call, prefix=f"{path}.").require_object("function"), f"{path}.function")
    return {"id": call["id"], **made} if isinstance(call.get("id"), str) else made


def _made_call(function: Fields, path: str) -> dict[str, Any]:
    place = f"{path}.arguments"
    try:
        arguments = json.loads(function.string("arguments") or "{}")
    except ValueError as error:
        raise invalid_value(place, f"'{place}' is not JSON: {error}.") from None
    return {"type": "function", "function": {"name": function.string("name"), "arguments": arguments}}


def _text(content: Any, path: str) -> str:
    """A string, or a list of text parts put together."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise invalid_type(path, "a string or an array of text parts", content)
    return "".join(_text_part(part, f"{path}[{place}]") for place, part in enumerate(content))


def _text_part(part: Any, path: str) -> str:
    if not isinstance(part, dict):
        raise invalid_type(path, "an object", part)
    fields = Fields(part, prefix=f"{path}.")
    if (kind := fields.string("type")) != "text":
        raise invalid_value(
            f"{path}.type", f"'{path}.type' is '{kind}', but this model reads 'text' parts only."
        )
    return fields.string("text")
