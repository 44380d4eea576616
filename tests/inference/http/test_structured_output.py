"""Structured output: random models, whose free text is nonsense, say exactly what a grammar lets them."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest
from llguidance import LLMatcher

from inference.errors import GenerationFailed
from inference.generation.limits import limits_of
from inference.generation.scheduler import Scheduler
from inference.http.fields import Fields
from inference.http.grammars import Grammars
from inference.http.structure import Structure, read_structure
from tests.inference.conftest import TINY
from tests.inference.generation.test_scheduler import alone, row, some_prompt, tokens, until_idle
from tests.inference.http.test_answers_over_http import chat, completion, events, refusal
from tests.inference.tiny_models import VOCABULARY_SIZE, prompt_cache, tiny_model

if TYPE_CHECKING:
    import httpx
    import openai
    from transformers import PreTrainedTokenizerFast

END = 2
CITY: dict[str, Any] = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "maxLength": 8},
        "kind": {"enum": ["town", "capital"]},
        "inhabitants": {"type": "integer", "minimum": 0, "maximum": 99},
    },
    "required": ["city", "kind", "inhabitants"],
    "additionalProperties": False,
}


def json_schema(schema: Any) -> Any:
    return {"type": "json_schema", "json_schema": {"name": "city", "strict": True, "schema": schema}}


@pytest.fixture(scope="module")
def grammars(demo_tokenizer: PreTrainedTokenizerFast) -> Grammars:
    return Grammars(demo_tokenizer.backend_tokenizer, width=VOCABULARY_SIZE, ends=[END])


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_an_answer_conforms_to_its_json_schema(tiny_client: openai.OpenAI, seed: int) -> None:
    answer = tiny_client.chat.completions.create(
        model=TINY,
        messages=[{"role": "user", "content": "Describe a city."}],
        response_format=json_schema(CITY),
        seed=seed,
        max_tokens=300,
    )
    choice = answer.choices[0]
    assert choice.finish_reason == "stop"
    city = json.loads(choice.message.content or "")
    assert list(city) == ["city", "kind", "inhabitants"]
    assert isinstance(city["city"], str)
    assert len(city["city"]) <= 8
    assert city["kind"] in ("town", "capital")
    assert 0 <= city["inhabitants"] <= 99


def test_a_stream_says_the_same_structure_as_a_whole_answer(tiny_http: httpx.Client) -> None:
    body = chat(response_format=json_schema(CITY), seed=5, temperature=1, max_tokens=300)
    whole = tiny_http.post("/v1/chat/completions", json=body).json()["choices"][0]["message"]["content"]
    chunks = events(tiny_http.post("/v1/chat/completions", json={**body, "stream": True}))
    assert "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks) == whole
    assert json.loads(whole)["kind"] in ("town", "capital")


def test_any_json_object_begins_like_one(tiny_http: httpx.Client) -> None:
    body = chat(response_format={"type": "json_object"}, max_tokens=40)
    text = tiny_http.post("/v1/chat/completions", json=body).json()["choices"][0]["message"]["content"]
    assert re.match(r'\s*\{\s*("|\})', text)


@pytest.mark.parametrize(
    ("fields", "pattern"),
    [
        ({"guided_regex": "[0-9]{3}-[a-f]{2}"}, "[0-9]{3}-[a-f]{2}"),
        ({"structured_outputs": {"regex": "(ja|nein)!"}}, "(ja|nein)!"),
        ({"structured_outputs": {"choice": ["left", 'a "right"\n', "\\"]}}, 'left|a "right"\n|\\\\'),
        ({"guided_choice": ["é日", "🌍"]}, "é日|🌍"),
        ({"guided_choice": ["\x7f\\\b"]}, "\x7f\\\\\b"),
        ({"guided_grammar": 'start: "a" "b"+ "c"\n'}, "ab+c"),
        ({"structured_outputs": {"json": {"enum": [12, True]}}}, "12|true"),
        ({"guided_json": '{"const": "x"}'}, '"x"'),
    ],
)
def test_an_answer_follows_the_grammar_of_vllms_fields(
    tiny_http: httpx.Client, fields: dict[str, Any], pattern: str
) -> None:
    choice = tiny_http.post("/v1/completions", json=completion(**fields, max_tokens=200)).json()["choices"][0]
    if choice["finish_reason"] == "stop":
        assert re.fullmatch(pattern, choice["text"])
    else:  # only b may go on for ever
        assert re.fullmatch("ab+", choice["text"])


def test_all_choices_follow_the_grammar_each_for_itself(tiny_http: httpx.Client) -> None:
    body = completion(guided_regex="[a-z]{6}", n=4, temperature=1.5, seed=3)
    choices = tiny_http.post("/v1/completions", json=body).json()["choices"]
    texts = {choice["text"] for choice in choices}
    assert all(re.fullmatch("[a-z]{6}", text) for text in texts)
    assert len(texts) > 1


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({"response_format": "json"}, "response_format", "invalid_type"),
        ({"response_format": {"type": "xml"}}, "response_format.type", "invalid_value"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema", None),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "a"}}},
            "response_format.json_schema.schema",
            "missing_required_parameter",
        ),
        (
            {"response_format": json_schema({"type": "objekt"})},
            "response_format.json_schema.schema",
            "invalid_grammar",
        ),
        (
            {"response_format": json_schema({"if": {"type": "object"}})},
            "response_format.json_schema.schema",
            "invalid_grammar",
        ),
        (
            {"response_format": json_schema({"const": 10**40})},
            "response_format.json_schema.schema",
            "invalid_grammar",
        ),
        (
            {"response_format": {"type": "json_object", "schema": {"type": "integer"}}},
            "response_format.schema",
            "unsupported_parameter",
        ),
        ({"guided_json": {"maximum": -(10**40)}}, "guided_json", "invalid_grammar"),
        ({"guided_regex": "(a|b"}, "guided_regex", "invalid_grammar"),
        ({"guided_regex": "(((a{1000}){1000}){1000}){1000}"}, "guided_regex", "invalid_grammar"),
        (
            {"response_format": json_schema({"type": "string", "pattern": "^(a{1000}){1000}$"})},
            "response_format.json_schema.schema",
            "invalid_grammar",
        ),
        ({"guided_regex": ""}, "guided_regex", "invalid_value"),
        ({"guided_grammar": "start: nothing"}, "guided_grammar", "invalid_grammar"),
        ({"guided_json": {"$ref": "#"}}, "guided_json", "invalid_grammar"),
        ({"guided_json": "{"}, "guided_json", "invalid_value"),
        ({"guided_json": [1]}, "guided_json", "invalid_type"),
        ({"guided_choice": []}, "guided_choice", "invalid_value"),
        ({"guided_choice": ["a", 1]}, "guided_choice[1]", "invalid_type"),
        ({"structured_outputs": {"structural_tag": "x"}}, "structured_outputs.structural_tag", None),
        ({"guided_regex": "a", "guided_choice": ["a"]}, "guided_choice", "invalid_value"),
        ({"guided_regex": "a", "ignore_eos": True}, "ignore_eos", "unsupported_parameter"),
        ({"guided_regex": "a", "min_tokens": 5}, "min_tokens", "unsupported_parameter"),
    ],
)
def test_what_cannot_be_followed_is_refused_before_anything_runs(
    tiny_http: httpx.Client, fields: dict[str, Any], param: str, code: str | None
) -> None:
    error = refusal(tiny_http.post("/v1/chat/completions", json=chat(**fields)), 400)
    assert error["param"] == param
    if code is not None:
        assert error["code"] == code


@pytest.mark.parametrize(
    ("regex", "text", "fits"),
    [
        (r"\d{4}-\d\d", "2024-07", True),
        (r"\d{4}", "١٢٣٤", False),
        (r"[\d-]+", "12-34", True),
        (r"[^\d]+", "abc", True),
        (r"\D\W", "a!", True),
        (r"\w+", "größe", False),
        (r"\\d", r"\d", True),
        (r"[äöü]\w", "äb", True),
    ],
)
def test_digits_and_words_of_a_regex_are_ascii(
    grammars: Grammars, demo_tokenizer: PreTrainedTokenizerFast, regex: str, text: str, *, fits: bool
) -> None:
    assert is_followed(grammars, demo_tokenizer, text, {"guided_regex": regex}) == fits


@pytest.mark.parametrize(
    ("grammar", "text", "fits"),
    [
        (r"start: /\d{4}/", "2024", True),
        (r"start: /\d{4}/", "١٢٣٤", False),
        (r'start: "/" /\w+/ "\"/" A' + "\n" + r"A: /[\d\/]+/", '/ab"/1/2', True),
        (r'start: "/" /\w+/', "/ß", False),
        (r'start: "\\d"', r"\d", True),
        ('start: /a/ A // "not a string\n# nor /a pattern\nA: /\\d/', "a7", True),
        ('start: /a/ A // "not a string\n# nor /a pattern\nA: /\\d/', "a٣", False),
        (r'start: %json {"type": "string", "pattern": "^\\d$"}', '"7"', True),
    ],
)
def test_so_they_are_in_the_patterns_of_a_grammar(
    grammars: Grammars, demo_tokenizer: PreTrainedTokenizerFast, grammar: str, text: str, *, fits: bool
) -> None:
    assert is_followed(grammars, demo_tokenizer, text, {"guided_grammar": grammar}) == fits


def is_followed(
    grammars: Grammars, tokenizer: PreTrainedTokenizerFast, text: str, asked: dict[str, Any]
) -> bool:
    """Whether a text is, from its beginning to its end, what was asked for."""
    structure = read_structure(Fields(asked))
    assert structure is not None
    matcher = grammars.matcher(structure)
    ids = tokenizer.encode(text, add_special_tokens=False)
    return matcher.try_consume_tokens(ids) == len(ids) and matcher.is_accepting()


@pytest.mark.parametrize("grammar", ["start: " + "\\/" * 300_000, 'start: "' + '\\"' * 300_000 + "\\"])
def test_a_pattern_without_an_end_is_read_once(grammar: str) -> None:
    assert read_structure(Fields({"guided_grammar": grammar})) is not None


def scheduler_of(model: Any) -> Scheduler:
    limits = limits_of(model, max_rows=4, chunk_tokens=16)
    return Scheduler(model, prompt_cache=prompt_cache(), limits=limits)


def test_guided_rows_and_free_rows_share_a_batch(grammars: Grammars) -> None:
    model = tiny_model(seed=1)
    scheduler = scheduler_of(model)
    matcher = grammars.matcher(Structure("guided_regex", LLMatcher.grammar_from_regex("[0-9]{5}")))
    free = [row(some_prompt(length, seed=length), 20) for length in (3, 12)]
    guided = row(some_prompt(7, seed=2), 20, matcher=matcher, stop_tokens=(END,))
    for one in (free[0], guided, free[1]):
        scheduler.add(one)
    seen = until_idle(scheduler)
    for one in free:
        assert tokens(seen[one]) == alone(model, one.prompt, 20)
    assert seen[guided][-1].finish_reason == "stop"
    assert len(tokens(seen[guided])) <= 5
    scheduler.close()


def test_a_row_that_loses_its_grammar_fails_with_a_sentence(
    grammars: Grammars, capfd: pytest.CaptureFixture[str]
) -> None:
    scheduler = scheduler_of(tiny_model(seed=1))
    matcher = grammars.matcher(Structure("guided_regex", LLMatcher.grammar_from_regex("[0-9]{5}")))
    guided = row(some_prompt(7, seed=2), 20, matcher=matcher, stop_tokens=(END,))
    guided.said.append(0)  # begun again, with something behind it that the grammar never allowed
    free = row(some_prompt(3, seed=3), 9)
    scheduler.add(guided)
    scheduler.add(free)
    seen = until_idle(scheduler)
    error = seen[guided][-1].error
    assert isinstance(error, GenerationFailed)
    assert "cannot be followed any further" in str(error)
    assert seen[free][-1].finish_reason == "length"
    assert capfd.readouterr().err == ""
    scheduler.close()


def test_a_pattern_that_turns_out_too_large_in_the_middle_of_an_answer_is_the_request_s_fault(
    tiny_http: httpx.Client,
) -> None:
    pattern = {"type": "string", "pattern": "((([a-z]{1,900}){1,900}x){1,900}|y)"}
    schema = {"type": "object", "properties": {"sunny": {"type": "boolean"}, "name": pattern}}
    body = chat(
        response_format=json_schema({**schema, "required": ["sunny", "name"]}), seed=1, max_tokens=300
    )
    error = refusal(tiny_http.post("/v1/chat/completions", json=body), 400)
    assert (error["type"], error["code"]) == ("invalid_request_error", "invalid_grammar")
    assert "lexer error" in error["message"]


def test_a_matcher_is_copied_for_each_row(grammars: Grammars) -> None:
    matcher = grammars.matcher(Structure("guided_regex", LLMatcher.grammar_from_regex("ab")))
    scheduler = scheduler_of(tiny_model(seed=1))
    rows = [row(some_prompt(4, seed=seed), 9, matcher=matcher, stop_tokens=(END,)) for seed in (1, 2)]
    for one in rows:
        scheduler.add(one)
    seen = until_idle(scheduler)
    assert [seen[one][-1].finish_reason for one in rows] == ["stop", "stop"]
    assert not matcher.is_stopped()
    scheduler.close()
