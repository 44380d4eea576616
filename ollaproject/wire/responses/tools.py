"""The tools of a Responses request as functions of a chat, and whose they are when they are called.

Tools of a namespace are functions under their two names joined. Tools that OpenAI runs itself are left out
beside others: the model then answers without them. A request that offers nothing else is refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from ollaproject.wire.openai_errors import ApiError

if TYPE_CHECKING:
    from collections.abc import Iterator

Json = dict[str, Any]
BAD_REQUEST = 400
FIELDS = ("name", "description", "parameters", "strict")
# Run by the client, in ways that a chat has no words for.
OF_THE_CLIENT = frozenset(
    {"apply_patch", "computer", "computer_use_preview", "custom", "local_shell", "shell"}
)


class Member(NamedTuple):
    """A function of a namespace."""

    namespace: str
    name: str


def tools_of(given: Json) -> tuple[Json, dict[str, Member]]:
    """`tools` and `tool_choice` of the chat, and the functions of namespaces by what they are called there.

    Raises ApiError 400.
    """
    tools = given.get("tools")
    if not isinstance(tools, list | None):
        raise ApiError(BAD_REQUEST, "invalid_type", "'tools' must be an array of objects.", param="tools")
    choice = given.get("tool_choice")
    if not tools:
        if choice not in (None, "auto", "none"):
            message = "'tool_choice' wants a tool to be called, but 'tools' offers none."
            raise ApiError(BAD_REQUEST, "invalid_value", message, param="tool_choice")
        return {}, {}
    found = [*_functions(tools)]
    if not found:
        raise _refused_tool("tools[0]", _kind(tools[0]))
    if isinstance(choice, dict):
        if choice.get("type") != "function":
            message = f"'tool_choice.type' must be 'function', not {choice.get('type')!r}."
            raise refused("tool_choice.type", message)
        choice = {"type": "function", "function": {"name": choice.get("name")}}
    members = {function["function"]["name"]: member for function, member in found if member is not None}
    chat = {"tools": [function for function, _ in found]}
    return chat | ({"tool_choice": choice} if choice is not None else {}), members


def joined_name(namespace: str, name: str) -> str:
    return f"{namespace.rstrip('_')}__{name}"


def refused(param: str, message: str) -> ApiError:
    return ApiError(BAD_REQUEST, "unsupported_parameter", message, param=param)


def _functions(
    tools: list[Any], path: str = "tools", namespace: str = ""
) -> Iterator[tuple[Json, Member | None]]:
    for place, tool in enumerate(tools):
        here = f"{path}[{place}]"
        kind = _kind(tool)
        if kind == "function":
            yield _function(tool, here, namespace)
        elif kind == "namespace" and not namespace and isinstance(tool.get("tools"), list):
            yield from _functions(tool["tools"], f"{here}.tools", _name(tool, here))
        elif kind is None or kind in OF_THE_CLIENT or kind == "namespace":
            raise _refused_tool(here, kind)


def _function(tool: Json, path: str, namespace: str) -> tuple[Json, Member | None]:
    described = {field: tool[field] for field in FIELDS if tool.get(field) is not None}
    if not namespace:
        return {"type": "function", "function": described}, None
    member = Member(namespace, _name(tool, path))
    return {"type": "function", "function": {**described, "name": joined_name(*member)}}, member


def _name(tool: Json, path: str) -> str:
    name = tool.get("name")
    if not isinstance(name, str) or not name:
        raise ApiError(BAD_REQUEST, "invalid_type", f"'{path}.name' must be a string.", param=f"{path}.name")
    return name


def _kind(tool: Any) -> Any:
    return tool.get("type") if isinstance(tool, dict) else None


def _refused_tool(path: str, kind: Any) -> ApiError:
    why = "" if kind is None or kind in OF_THE_CLIENT else ": it runs on OpenAI's own servers"
    return refused(f"{path}.type", f"'{path}.type' must be 'function' or 'namespace', not {kind!r}{why}.")
