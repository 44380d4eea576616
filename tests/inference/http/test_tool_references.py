"""What a tool's schema refers to is its own: beside tools that use the same names, and within itself."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from inference.http.grammars import Grammars
from inference.http.tools import Tools, call_grammar, strict_grammar
from ollaproject.wire.openai_errors import ApiError
from tests.inference.tiny_models import VOCABULARY_SIZE

if TYPE_CHECKING:
    from collections.abc import Callable

    from llguidance import LLMatcher
    from transformers import PreTrainedTokenizerFast

END, END_OF_CALL = 2, 3


def takes(item: dict[str, Any]) -> dict[str, Any]:
    """A tool's parameters: an item, which is a definition of the name that most would choose."""
    return obj({"item": {"$ref": "#/$defs/Item"}}, **{"$defs": {"Item": item}})


def obj(properties: dict[str, Any], **more: Any) -> dict[str, Any]:
    required = {"required": list(properties), "additionalProperties": False}
    return {"type": "object", "properties": properties, **required, **more}


def tools(**parameters: Any) -> Tools:
    functions = [{"name": name, "parameters": each, "strict": True} for name, each in parameters.items()]
    return Tools(functions, functions, forced=True)


@pytest.fixture(scope="module")
def grammars(demo_tokenizer: PreTrainedTokenizerFast) -> Grammars:
    return Grammars(demo_tokenizer.backend_tokenizer, width=VOCABULARY_SIZE, ends=[END])


@pytest.fixture(scope="module")
def accepts(grammars: Grammars, demo_tokenizer: PreTrainedTokenizerFast) -> Callable[..., bool]:
    """Whether a call of one of some tools may be made with these arguments."""

    def accepts(offered: Tools, name: str, arguments: Any) -> bool:
        matcher: LLMatcher = grammars.matcher(call_grammar(offered))
        call = json.dumps({"name": name, "arguments": arguments})
        ids = demo_tokenizer.encode(call, add_special_tokens=False)
        return matcher.try_consume_tokens(ids) == len(ids) and matcher.is_accepting()

    return accepts


def test_definitions_of_the_same_name_are_those_of_their_tool(accepts: Callable[..., bool]) -> None:
    count, flag = takes({"type": "integer"}), takes({"type": "boolean"})
    for offered in (tools(counts=count, flags=flag), tools(flags=flag, counts=count)):
        assert accepts(offered, "counts", {"item": 3})
        assert accepts(offered, "flags", {"item": True})
        assert not accepts(offered, "counts", {"item": True})
        assert not accepts(offered, "flags", {"item": 3})


def test_a_schema_may_refer_to_itself(accepts: Callable[..., bool]) -> None:
    chain = tools(chain=obj({"next": {"anyOf": [{"type": "null"}, {"$ref": "#"}]}}))
    assert accepts(chain, "chain", {"next": {"next": {"next": None}}})
    assert not accepts(chain, "chain", {"next": {"name": "chain", "arguments": {"next": None}}})


def test_a_schema_may_refer_to_any_part_of_itself(accepts: Callable[..., bool]) -> None:
    pair = tools(pair=obj({"one": {"type": "boolean"}, "other": {"$ref": "#/properties/one"}}))
    assert accepts(pair, "pair", {"one": True, "other": False})
    assert not accepts(pair, "pair", {"one": True, "other": 1})


def test_what_only_looks_like_a_reference_is_left(accepts: Callable[..., bool]) -> None:
    told = obj({"$ref": {"type": "boolean"}, "like": {"enum": [{"$ref": "#/one"}]}})
    assert accepts(tools(told=told), "told", {"$ref": True, "like": {"$ref": "#/one"}})


def test_a_schema_with_an_id_keeps_its_references(accepts: Callable[..., bool]) -> None:
    named = tools(named={"$id": "https://schemas.example/item", **takes({"type": "boolean"})})
    assert accepts(named, "named", {"item": True})
    assert not accepts(named, "named", {"item": 1})


def test_calls_of_the_models_own_accord_keep_definitions_apart(
    grammars: Grammars, demo_tokenizer: PreTrainedTokenizerFast
) -> None:
    functions = tools(flags=takes({"type": "boolean"}), counts=takes({"type": "integer"})).callable
    structure = strict_grammar(Tools(functions, functions), end=END_OF_CALL)
    assert structure is not None
    for item, fits in (("true", True), ("3", False)):
        call = f'{{"name": "flags", "arguments": {{"item": {item}}}}}'
        ids = [*demo_tokenizer.encode(call, add_special_tokens=False), END_OF_CALL]
        assert (grammars.matcher(structure).try_consume_tokens(ids) == len(ids)) == fits


@pytest.mark.parametrize("definitions", [[1], "none", None])
def test_definitions_that_are_no_object_fail_no_request(
    accepts: Callable[..., bool], definitions: Any
) -> None:
    assert accepts(tools(odd={"type": "object", "$defs": definitions}), "odd", {})


def test_parameters_that_are_nested_too_deeply_are_refused() -> None:
    deep: dict[str, Any] = {}
    for _ in range(2000):
        deep = {"items": deep}
    with pytest.raises(ApiError, match="'deep' are nested too deeply") as refused:
        call_grammar(tools(deep=deep))
    assert (refused.value.status, refused.value.param) == (400, "tools")
