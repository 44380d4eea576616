"""The tools that a request offers, read and checked, and the grammar that makes a model call one of them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from inference.http.fields import Fields, invalid_type, invalid_value, unsupported
from inference.http.structure import BLANK, Structure, json_grammar, json_until, named

if TYPE_CHECKING:
    from typing import Literal

    from inference.http.manner import Fence

MAX_TOOLS = 128
DATA = ("const", "default", "enum", "examples")
"""Keywords of a schema whose values are no schemas."""


@dataclass(frozen=True, slots=True)
class Tools:
    """`offered` is what the model is told of, as the request has it. With `forced` it must call one of
    `callable`; without, it may.
    """

    offered: list[dict[str, Any]] = field(default_factory=list)
    callable: list[dict[str, Any]] = field(default_factory=list)
    forced: bool = False
    parallel: bool = True


def read_tools(fields: Fields) -> Tools:
    """`tools`, `tool_choice` and `parallel_tool_calls`. ApiError when they do not fit together."""
    offered = [] if fields.get("tools") is None else fields.get("tools")
    if not isinstance(offered, list):
        raise invalid_type("tools", "an array of objects", offered)
    if len(offered) > MAX_TOOLS:
        raise invalid_value("tools", f"'tools' may hold at most {MAX_TOOLS} tools, not {len(offered)}.")
    functions = [_function(tool, f"tools[{place}]") for place, tool in enumerate(offered)]
    parallel = fields.boolean("parallel_tool_calls", default=True)
    choice = "auto" if fields.get("tool_choice") is None else fields.get("tool_choice")
    if isinstance(choice, str):
        return _by_word(choice, offered, functions, parallel=parallel)
    name = _name_of_choice(fields)
    named = [function for function in functions if function["name"] == name]
    if not named:
        raise invalid_value("tool_choice", f"'tool_choice' names '{name}', which 'tools' does not offer.")
    return Tools(offered, named, forced=True, parallel=parallel)


def call_grammar(tools: Tools) -> Structure:
    """One call of one of the tools, as a JSON object with `name` and `arguments`.

    Keywords of a tool's schema that cannot be enforced are left to the model, as OpenAI does unless
    `strict` is asked for.
    """
    lenient = not all(function.get("strict") for function in tools.callable)
    return Structure("tools", json_grammar(_any_call(tools.callable), "tools", lenient=lenient))


def strict_grammar(tools: Tools, *, end: int) -> Structure | None:
    """What follows the mark of a call that the model makes of its own accord, down to its `end`, a token.

    None when no tool is `strict`: then it is left to the model what it writes. When some are, the others'
    names are right and their arguments an object.
    """
    if tools.forced or not any(function.get("strict") for function in tools.callable):
        return None
    functions = [each if each.get("strict") else {"name": each["name"]} for each in tools.callable]
    return Structure("tools", json_until(_any_call(functions), end=end))


def answer_or_calls(answer: Structure, tools: Tools, fence: Fence) -> Structure:
    """Either what `answer` describes or calls of tools, whichever the model begins with.

    A call is what the model makes of it, up to the end of its kind, unless a tool is `strict`.
    """
    strict = strict_grammar(tools, end=fence.end_tokens[0]) if fence.is_strict else None
    grammars = named("answer", answer.grammar)
    if strict is not None:
        grammars += named("rest", strict.grammar)
        rest = "rest: @rest"
    elif not fence.end:
        rest = "rest: <[*]>*"
    elif len(fence.end_tokens) == 1:
        rest = f"rest: <[^{fence.end_tokens[0]}]>* <[{fence.end_tokens[0]}]>"
    else:
        rest = f"rest[suffix={json.dumps(fence.end)}]: /(?s:.*)/"
    start = f"<[{fence.start_tokens[0]}]>" if len(fence.start_tokens) == 1 else json.dumps(fence.start)
    more = f"(BLANK? call)*\n{BLANK}" if tools.parallel else ""
    lark = f"start: @answer | calls\ncalls: call {more}\ncall: {start} rest\n{rest}"
    top = {"name": "answer_or_calls", "lark_grammar": lark}
    return Structure("tools", json.dumps({"grammars": [top, *grammars]}))


def _any_call(functions: list[dict[str, Any]]) -> dict[str, Any]:
    """The schema of a call of one of them. Each tool's own is kept whole, as a definition: what it refers to
    is its own, whatever others call theirs.
    """
    definitions, calls = {}, []
    for place, function in enumerate(functions):
        root = f"#/$defs/{place}"
        try:
            definitions[str(place)] = _moved(function.get("parameters") or {"type": "object"}, root)
        except RecursionError:
            message = f"The parameters of '{function['name']}' are nested too deeply."
            raise invalid_value("tools", message) from None
        properties = {"name": {"const": function["name"]}, "arguments": {"$ref": root}}
        calls.append(
            {
                "type": "object",
                "properties": properties,
                "required": ["name", "arguments"],
                "additionalProperties": False,
            }
        )
    return {"anyOf": calls, "$defs": definitions}


def _moved(schema: Any, root: str) -> Any:
    """A schema whose references to its own root, which was `#`, are to `root`."""
    if isinstance(schema, list):
        return [_moved(each, root) for each in schema]
    if not isinstance(schema, dict) or "$id" in schema:  # with an `$id`, `#` goes on to mean its own root
        return schema
    moved = {key: value if key in DATA else _moved(value, root) for key, value in schema.items()}
    target = schema.get("$ref")
    if isinstance(target, str) and (target == "#" or target.startswith("#/")):
        moved["$ref"] = root + target[1:]
    return moved


def _by_word(
    choice: Literal["none", "auto", "required"] | str,
    offered: list[dict[str, Any]],
    functions: list[dict[str, Any]],
    *,
    parallel: bool,
) -> Tools:
    match choice:
        case "none":
            return Tools()
        case "auto":
            return Tools(offered, functions, parallel=parallel)
        case "required" if not offered:
            raise invalid_value("tool_choice", "'tool_choice' is 'required', but 'tools' offers none.")
        case "required":
            return Tools(offered, functions, forced=True, parallel=parallel)
        case _:
            known = "'none', 'auto', 'required' or a function's name in an object"
            raise invalid_value("tool_choice", f"'tool_choice' must be {known}, not '{choice}'.")


def _name_of_choice(fields: Fields) -> str:
    choice = fields.require_object("tool_choice")
    if (kind := choice.string("type")) != "function":
        raise unsupported("tool_choice.type", f"'tool_choice.type' must be 'function', not '{kind}'.")
    return choice.require_object("function").string("name")


def _function(tool: Any, path: str) -> dict[str, Any]:
    if not isinstance(tool, dict):
        raise invalid_type(path, "an object", tool)
    fields = Fields(tool, prefix=f"{path}.")
    if (kind := fields.string("type")) != "function":
        raise unsupported(f"{path}.type", f"'{path}.type' must be 'function', not '{kind}'.")
    function = fields.require_object("function")
    if not function.string("name"):
        raise invalid_value(f"{path}.function.name", f"'{path}.function.name' must not be empty.")
    function.object("parameters")
    function.boolean("strict")
    if function.get("description") is not None:
        function.string("description")
    return function.as_dict()
