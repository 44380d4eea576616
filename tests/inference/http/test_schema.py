"""Request bodies: what is wrong is refused with the field named; what is harmless passes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from inference.http.fields import read_object
from inference.http.schema import read_chat, read_completion, read_embedding
from inference.work import Sampling
from ollaproject.wire.openai_errors import ApiError

CHAT: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
COMPLETION: dict[str, Any] = {"model": "m", "prompt": "hi"}


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({"temperature": 2.1}, "temperature", "decimal_above_max_value"),
        ({"temperature": -0.1}, "temperature", "decimal_below_min_value"),
        ({"temperature": "hot"}, "temperature", "invalid_type"),
        ({"temperature": True}, "temperature", "invalid_type"),
        ({"top_p": 1.5}, "top_p", "decimal_above_max_value"),
        ({"max_tokens": 0}, "max_tokens", "integer_below_min_value"),
        ({"max_tokens": 1.5}, "max_tokens", "invalid_type"),
        ({"max_completion_tokens": -1}, "max_completion_tokens", "integer_below_min_value"),
        ({"n": 0}, "n", "integer_below_min_value"),
        ({"n": 17}, "n", "integer_above_max_value"),
        ({"stop": 5}, "stop", "invalid_type"),
        ({"stop": False}, "stop", "invalid_type"),
        ({"stop": ["a", 1]}, "stop[1]", "invalid_type"),
        ({"stop_token_ids": 0}, "stop_token_ids", "invalid_type"),
        ({"stop_token_ids": [1, -1]}, "stop_token_ids[1]", "invalid_value"),
        ({"tools": ""}, "tools", "invalid_type"),
        ({"tool_choice": 0}, "tool_choice", "invalid_type"),
        ({"tool_choice": ""}, "tool_choice", "invalid_value"),
        ({"guided_json": 0}, "guided_json", "invalid_type"),
        ({"guided_choice": ["a", 1]}, "guided_choice[1]", "invalid_type"),
        ({"structured_outputs": {"json_object": 1}}, "structured_outputs.json_object", "invalid_type"),
        ({"enable_thinking": "no"}, "enable_thinking", "invalid_type"),
        ({"moderation": {"model": "m"}}, "moderation", "unsupported_parameter"),
        ({"stop": [""]}, "stop", "invalid_value"),
        ({"stop": ["a"] * 17}, "stop", "invalid_value"),
        ({"stream": "yes"}, "stream", "invalid_type"),
        ({"stream_options": {"include_usage": True}}, "stream_options", "invalid_value"),
        (
            {"stream": True, "stream_options": {"include_usage": 1}},
            "stream_options.include_usage",
            "invalid_type",
        ),
        ({"seed": 1.5}, "seed", "invalid_type"),
        ({"frequency_penalty": 2.5}, "frequency_penalty", "decimal_above_max_value"),
        ({"presence_penalty": -2.5}, "presence_penalty", "decimal_below_min_value"),
        ({"logit_bias": {"a": 1}}, "logit_bias", "invalid_value"),
        ({"logit_bias": {"1": 101}}, "logit_bias.1", "decimal_above_max_value"),
        ({"top_logprobs": 2}, "top_logprobs", "invalid_value"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs", "integer_above_max_value"),
        ({"max_completion_tokens": 5, "max_tokens": "5"}, "max_tokens", "invalid_type"),
        ({"messages": "hi"}, "messages", "invalid_type"),
        ({"messages": None}, "messages", "missing_required_parameter"),
        ({"model": None}, "model", "missing_required_parameter"),
        ({"model": 5}, "model", "invalid_type"),
        ({"tools": [{"type": "function"}]}, "tools[0].function", "missing_required_parameter"),
        ({"tool_choice": "required"}, "tool_choice", "invalid_value"),
        ({"functions": [{"description": "f"}]}, "functions[0].name", "missing_required_parameter"),
        ({"modalities": ["audio"]}, "modalities", "unsupported_parameter"),
        ({"reasoning_effort": "much"}, "reasoning_effort", "invalid_value"),
        (
            {"continue_final_message": True, "add_generation_prompt": True},
            "continue_final_message",
            "invalid_value",
        ),
        ({"prompt_logprobs": 1, "stream": True}, "prompt_logprobs", "unsupported_parameter"),
        ({"prompt_logprobs": 21}, "prompt_logprobs", "integer_above_max_value"),
        ({"prompt_logprobs": -1}, "prompt_logprobs", "integer_below_min_value"),
        ({"use_beam_search": True}, "use_beam_search", "unsupported_parameter"),
        ({"skip_special_tokens": "no"}, "skip_special_tokens", "invalid_type"),
        ({"bad_words": "hell"}, "bad_words", "invalid_type"),
        ({"bad_words": ["a", " "]}, "bad_words[1]", "invalid_value"),
        ({"bad_words": ["a", 1]}, "bad_words[1]", "invalid_type"),
        ({"bad_words": ["a"] * 1001}, "bad_words", "invalid_value"),
        ({"allowed_token_ids": []}, "allowed_token_ids", "invalid_value"),
        ({"allowed_token_ids": [1, -1]}, "allowed_token_ids[1]", "invalid_value"),
        ({"thinking_token_budget": -2}, "thinking_token_budget", "integer_below_min_value"),
        ({"truncation_side": "middle"}, "truncation_side", "invalid_value"),
        ({"truncate_prompt_tokens": 0}, "truncate_prompt_tokens", "invalid_value"),
        ({"echo": True}, "echo", "unsupported_parameter"),
    ],
)
def test_it_refuses_a_bad_chat_field_and_names_it(fields: dict[str, Any], param: str, code: str) -> None:
    with pytest.raises(ApiError) as refused:
        read_chat(CHAT | fields)
    assert (refused.value.status, refused.value.param, refused.value.code) == (400, param, code)
    assert param.partition(".")[0] in refused.value.message


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"suffix": "end"}, "suffix"),
        ({"best_of": 2}, "best_of"),
        ({"logprobs": 6}, "logprobs"),
        ({"prompt": None}, "prompt"),
        ({"prompt": []}, "prompt"),
        ({"prompt": [1, "a"]}, "prompt[1]"),
        ({"prompt": ["a", 1]}, "prompt[1]"),
        ({"prompt": [[]]}, "prompt[0]"),
        ({"prompt": [[1], [2, True]]}, "prompt[1][1]"),
        ({"prompt": [[1], "a"]}, "prompt[1]"),
        ({"prompt": [None]}, "prompt[0]"),
        ({"prompt": [-1]}, "prompt[0]"),
        ({"prompt": {"a": 1}}, "prompt"),
        ({"prompt": ["a"] * 65}, "prompt"),
    ],
)
def test_it_refuses_a_bad_completion_field_and_names_it(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(ApiError) as refused:
        read_completion(COMPLETION | fields)
    assert (refused.value.status, refused.value.param) == (400, param)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"input": []}, "input"),
        ({"input": None}, "input"),
        ({"input": 5}, "input"),
        ({"encoding_format": "hex"}, "encoding_format"),
        ({"encoding_format": ""}, "encoding_format"),
        ({"encoding_format": 0}, "encoding_format"),
        ({"truncate_prompt_tokens": 5}, "truncate_prompt_tokens"),
        ({"add_special_tokens": False}, "add_special_tokens"),
        ({"normalize": False}, "normalize"),
        ({"dimensions": 0}, "dimensions"),
        ({"input": ["a"] * 2049}, "input"),
    ],
)
def test_it_refuses_a_bad_embedding_field_and_names_it(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(ApiError) as refused:
        read_embedding({"model": "m", "input": "a"} | fields)
    assert (refused.value.status, refused.value.param) == (400, param)


def test_it_lets_pass_what_describes_the_caller_or_asks_for_nothing() -> None:
    harmless: dict[str, Any] = {
        "user": "someone",
        "metadata": {"a": "b"},
        "store": True,
        "tools": [],
        "tool_choice": "none",
        "response_format": {"type": "text"},
        "verbosity": "medium",
        "an_unknown_field": 1,
        "temperature": None,
        "stop": None,
    }
    assert read_chat(CHAT | harmless) == read_chat(CHAT)


def test_the_defaults_are_those_of_openai() -> None:
    generating = read_chat(CHAT).generating
    assert generating.sampling == Sampling(temperature=1, top_p=1, frequency_penalty=0, presence_penalty=0)
    assert (generating.n, generating.max_tokens, generating.stream) == (1, None, False)
    assert read_completion(COMPLETION).generating.max_tokens == 16


def test_max_completion_tokens_wins_over_max_tokens() -> None:
    assert read_chat(CHAT | {"max_tokens": 5, "max_completion_tokens": 7}).generating.max_tokens == 7


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"enable_thinking": False}, {"enable_thinking": False}),
        ({"enable_thinking": False, "reasoning_effort": "high"}, {"enable_thinking": False}),
        (
            {"enable_thinking": False, "chat_template_kwargs": {"enable_thinking": True}},
            {"enable_thinking": True},
        ),
        ({"reasoning_effort": "none"}, {"enable_thinking": False}),
    ],
)
def test_whether_to_think_may_be_said_in_three_ways(fields: dict[str, Any], told: dict[str, Any]) -> None:
    assert read_chat(CHAT | fields).template_arguments.items() >= told.items()


@pytest.mark.parametrize(
    ("prompt", "prompts"),
    [("hi", ["hi"]), (["a", "b"], ["a", "b"]), ([1, 2], [[1, 2]]), ([[1, 2], [3]], [[1, 2], [3]])],
)
def test_a_prompt_comes_in_four_forms(prompt: Any, prompts: Any) -> None:
    assert read_completion(COMPLETION | {"prompt": prompt}).prompts == prompts


def test_one_stop_string_is_as_good_as_a_list() -> None:
    assert read_chat(CHAT | {"stop": "END"}).generating.stops == ("END",)


@pytest.mark.parametrize("body", [b"", b"{", b"[1]", b'"text"', b"\xff\xfe", b"null", b'{"a": NaN}'])
def test_it_refuses_what_is_no_json_object(body: bytes) -> None:
    with pytest.raises(ApiError) as refused:
        read_object(body)
    assert (refused.value.status, refused.value.code) == (400, "invalid_json")


def test_deep_nesting_is_refused_and_not_a_crash() -> None:
    with pytest.raises(ApiError):
        read_object(b"[" * 100_000)


def test_an_object_is_read_as_it_is() -> None:
    assert read_object(json.dumps(CHAT).encode()) == CHAT
