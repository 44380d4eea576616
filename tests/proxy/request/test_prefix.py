"""Prefix keys: prompts that begin alike share them, others do not."""

from __future__ import annotations

import json
from typing import Any

import pytest

from endpoints.routing.warmth import KEY_SHIFT
from proxy.request import intake
from proxy.request.prefix import MAX_BLOCKS, keys_of

SYSTEM = {"role": "system", "content": "You are a careful assistant."}
QUESTION = {"role": "user", "content": "What is MLX?"}
ANSWER = {"role": "assistant", "content": "An array framework."}
NEXT = {"role": "user", "content": "Who made it?"}


def keys(model: str = "m1", **fields: Any) -> tuple[int, ...]:
    body = json.dumps({"model": model, **fields}).encode()
    asked = intake.read(body, inference=True, content_type=b"", encoded=False)
    assert asked.prompt is not None
    return keys_of(asked.prompt, model)


def common(one: tuple[int, ...], other: tuple[int, ...]) -> int:
    return sum(first == second for first, second in zip(one, other, strict=False))


def test_a_conversation_that_grows_keeps_its_keys() -> None:
    before = keys(messages=[SYSTEM, QUESTION])
    after = keys(messages=[SYSTEM, QUESTION, ANSWER, NEXT], stream=True)

    assert (len(before), len(after)) == (2, 4)
    assert after[:2] == before


def test_a_shared_system_prompt_is_a_shared_key() -> None:
    assert common(keys(messages=[SYSTEM, QUESTION]), keys(messages=[SYSTEM, NEXT])) == 1


@pytest.mark.parametrize(
    "other",
    [
        {"model": "m2", "messages": [SYSTEM, QUESTION]},
        {"messages": [QUESTION, SYSTEM]},
        {"messages": [SYSTEM, QUESTION], "tools": [{"type": "function"}]},
        {"messages": [SYSTEM, QUESTION], "system": "Be brief."},
    ],
    ids=["model", "order", "tools", "system"],
)
def test_what_begins_otherwise_shares_nothing(other: dict[str, Any]) -> None:
    assert common(keys(messages=[SYSTEM, QUESTION]), keys(**other)) == 0


def test_a_long_text_with_a_new_ending_shares_its_beginning() -> None:
    text = "".join(f"{number:08}" for number in range(1000))

    one, other = keys(prompt=text + "first"), keys(prompt=text + "second")

    assert (len(one), common(one, other)) == (8, 7)


def test_a_key_tells_the_length_of_its_prefix() -> None:
    lengths = [key >> KEY_SHIFT for key in keys(prompt="x" * 2998)]

    assert lengths == [1024, 2048, 3000]


def test_keys_are_bounded() -> None:
    assert len(keys(prompt="x" * 1_000_000)) == MAX_BLOCKS
    assert len(keys(messages=[QUESTION] * 300)) == MAX_BLOCKS


@pytest.mark.parametrize(
    "fields", [{}, {"messages": []}, {"messages": "text"}, {"prompt": [1, 2, 3]}, {"input": None}]
)
def test_any_prompt_has_keys_or_none(fields: dict[str, Any]) -> None:
    assert len(keys(**fields)) == len(fields)
