"""Messages to a prompt, by the template that came with the model.

What a template does not understand is refused with the message named, not handed to it: templates drop
silently what they do not know.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jinja2 import TemplateError

from inference.fields import BAD_REQUEST, Fields, invalid_type, invalid_value
from ollaproject.wire.openai_errors import ApiError

if TYPE_CHECKING:
    from mlx_lm.tokenizer_utils import TokenizerWrapper

ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
RESERVED_ARGUMENTS = {
    "add_generation_prompt",
    "chat_template",
    "continue_final_message",
    "conversation",
    "tokenize",
}


def prompt_tokens(
    tokenizer: TokenizerWrapper,
    messages: list[dict[str, Any]],
    arguments: dict[str, Any],
    *,
    add_generation_prompt: bool = True,
) -> list[int]:
    """The ids of the prompt. ApiError when a message is not one, or when the template refuses them."""
    if not messages:
        raise invalid_value("messages", "'messages' must hold at least one message.")
    if taken := RESERVED_ARGUMENTS & arguments.keys():
        name = f"chat_template_kwargs.{min(taken)}"
        raise invalid_value(name, f"'{name}' is decided by the server. Leave it out.")
    plain = [_plain_message(message, f"messages[{place}]") for place, message in enumerate(messages)]
    try:
        tokens = tokenizer.apply_chat_template(
            plain, add_generation_prompt=add_generation_prompt, return_dict=False, **arguments
        )
    except (TemplateError, TypeError, ValueError, KeyError) as error:
        message = f"The model's chat template refuses these messages: {error}."
        raise ApiError(BAD_REQUEST, "invalid_messages", message, param="messages") from None
    return list(tokens)


def _plain_message(message: Any, path: str) -> dict[str, str]:
    if not isinstance(message, dict):
        raise invalid_type(path, "an object", message)
    fields = Fields(message, prefix=f"{path}.")
    role = fields.string("role")
    if role not in ROLES:
        known = ", ".join(f"'{known}'" for known in ROLES)
        raise invalid_value(f"{path}.role", f"'{path}.role' is '{role}', but this server knows {known} only.")
    for name in ("tool_calls", "function_call", "audio"):
        if fields.get(name):
            raise invalid_value(f"{path}.{name}", f"'{path}.{name}' is not supported by this server.")
    return {"role": ROLES[role], "content": _text(fields.get("content"), f"{path}.content")}


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
