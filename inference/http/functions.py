"""OpenAI's `functions` and `function_call`, which tools have replaced: told as tools, answered as before."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from inference.http.fields import Fields, invalid_type, invalid_value
from inference.http.renamed import OF_FUNCTIONS, named_as
from inference.http.shapes import ChatShape
from inference.http.tools import Tools, read_tools

if TYPE_CHECKING:
    from inference.http.answers import Piece

WORDS = ("none", "auto")


def read_functions(fields: Fields) -> Tools | None:
    """What is offered with `functions`, None if nothing is. ApiError with these names when it is wrong.

    An answer can hold one call only.
    """
    offered = fields.get("functions")
    if offered is None or offered == []:
        if fields.get("function_call") not in (None, *WORDS):
            raise invalid_value("function_call", "'function_call' needs 'functions' to choose from.")
        return None
    if not isinstance(offered, list):
        raise invalid_type("functions", "an array of objects", offered)
    if fields.get("tools") or fields.get("tool_choice"):
        raise invalid_value("functions", "Give either 'functions' and 'function_call' or 'tools'.")
    for place, function in enumerate(offered):
        if not isinstance(function, dict):
            raise invalid_type(f"functions[{place}]", "an object", function)
    told = {
        "tools": [{"type": "function", "function": function} for function in offered],
        "tool_choice": _choice(fields, [function.get("name") for function in offered]),
        "parallel_tool_calls": False,
    }
    with named_as(OF_FUNCTIONS):
        return read_tools(Fields(told))


def _choice(fields: Fields, names: list[Any]) -> Any:
    choice = fields.get("function_call")
    if choice is None or choice in WORDS:
        return choice
    if isinstance(choice, str):
        message = f"'function_call' must be 'none', 'auto' or a function's name in an object, not '{choice}'."
        raise invalid_value("function_call", message)
    name = fields.require_object("function_call").string("name")
    if name not in names:
        message = f"'function_call' names '{name}', which 'functions' does not offer."
        raise invalid_value("function_call", message)
    return {"type": "function", "function": {"name": name}}


class FunctionShape(ChatShape):
    """A chat answer with `function_call` where there would be `tool_calls`."""

    def growth(self, piece: Piece) -> list[dict[str, Any]]:
        chunks = super().growth(piece)
        for choice in (chunk["choices"][0] for chunk in chunks):
            _tell(choice, choice["delta"])
        return chunks

    def choice(self, index: int, pieces: list[Piece]) -> dict[str, Any]:
        choice = super().choice(index, pieces)
        _tell(choice, choice["message"])
        return choice


def _tell(choice: dict[str, Any], said: dict[str, Any]) -> None:
    if calls := said.pop("tool_calls", None):
        said["function_call"] = calls[0]["function"]
    if choice["finish_reason"] == "tool_calls":
        choice["finish_reason"] = "function_call"
