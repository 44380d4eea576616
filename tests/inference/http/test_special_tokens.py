"""Tokens that are no text of their own: those before each text, special ones by name, parts of characters."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.inference.servers import running
from tests.inference.tiny_models import write_tiny_model

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from inference.options import ServerOptions

MODEL = "tiny-with-beginning"
BEGINNING, END = "<|im_start|>", "<|im_end|>"


@pytest.fixture(scope="module")
def http(
    tiny_options: ServerOptions, demo_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[httpx.Client]:
    """Of a server whose tokenizer begins each text with a special token, as Llama's does."""
    folder = write_tiny_model(tmp_path_factory.mktemp("models") / MODEL, tokenizer_from=demo_folder)
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    (beginning,) = (entry["id"] for entry in tokenizer["added_tokens"] if entry["content"] == BEGINNING)
    tokenizer["post_processor"] = {
        "type": "TemplateProcessing",
        "single": [
            {"SpecialToken": {"id": BEGINNING, "type_id": 0}},
            {"Sequence": {"id": "A", "type_id": 0}},
        ],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}],
        "special_tokens": {BEGINNING: {"id": BEGINNING, "ids": [beginning], "tokens": [BEGINNING]}},
    }
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    models = replace(tiny_options.models, name=str(folder))
    with (
        running(replace(tiny_options, models=models)) as server,
        httpx.Client(base_url=server.url, timeout=60, trust_env=False) as client,
    ):
        yield client


def scored(http: httpx.Client, prompt: str | list[int], **fields: Any) -> Any:
    """The one choice of a completion that only judges its prompt."""
    body = {"model": MODEL, "prompt": prompt, "echo": True, "max_tokens": 0, "logprobs": 1, **fields}
    response = http.post("/v1/completions", json=body)
    assert response.status_code == 200, response.text
    return response.json()["choices"][0]


def test_the_beginning_is_left_out_when_the_prompt_is_to_be_read_as_it_is(http: httpx.Client) -> None:
    assert scored(http, "One two.")["logprobs"]["tokens"] == [BEGINNING, "One", " two", "."]
    assert scored(http, "One two.", add_special_tokens=False)["logprobs"]["tokens"] == ["One", " two", "."]


def test_a_beginning_that_nobody_typed_takes_no_room_in_the_text(http: httpx.Client) -> None:
    choice = scored(http, "One two.")
    assert (choice["text"], choice["logprobs"]["text_offset"]) == ("One two.", [0, 0, 3, 7])


def test_special_tokens_that_a_prompt_names_stand_where_it_has_them(http: httpx.Client) -> None:
    prompt = f"{BEGINNING}One{END} two"
    choice = scored(http, prompt, add_special_tokens=False)
    logprobs = choice["logprobs"]
    assert choice["text"] == prompt
    assert logprobs["tokens"] == [BEGINNING, "One", END, " two"]
    assert [prompt[place:].startswith(token) for token, place in spelt(logprobs)] == [True] * 4


def test_special_tokens_in_a_prompt_of_ids_are_no_text(http: httpx.Client) -> None:
    ids = http.post("/tokenize", json={"prompt": f"One{END} two", "add_special_tokens": False}).json()[
        "tokens"
    ]
    choice = scored(http, ids)
    assert (choice["text"], choice["logprobs"]["text_offset"]) == ("One two", [0, 3, 3])


def test_parts_of_a_character_are_named_by_their_bytes(http: httpx.Client) -> None:
    logprobs = scored(http, "😀", add_special_tokens=False, logprobs=5)["logprobs"]
    named = [token.removeprefix("bytes:") for token in logprobs["tokens"]]
    assert len(named) > 1
    assert "".join(named) == "".join(f"\\x{byte:02x}" for byte in "😀".encode())
    first, *others = logprobs["top_logprobs"]
    assert first is None
    assert all(token in likeliest for token, likeliest in zip(logprobs["tokens"][1:], others, strict=True))
    assert {len(likeliest) for likeliest in others} <= {5, 6}  # five, and the one that came


def spelt(logprobs: Any) -> Any:
    return zip(logprobs["tokens"], logprobs["text_offset"], strict=True)
