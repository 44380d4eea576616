"""What a model can do for a request, by its server's words and by its name."""

from __future__ import annotations

import pytest

from endpoints.known_models.abilities import CHAT, EMBEDDINGS, TOOLS, VISION, Abilities, Fit, abilities_of
from endpoints.known_models.model_names import parse


def by_name(name: str) -> Abilities:
    return abilities_of(parse(name).capabilities, told=False)


@pytest.mark.parametrize(
    ("name", "needs", "fit"),
    [
        ("mlx-community/Qwen2.5-VL-3B-Instruct-4bit", {CHAT, VISION}, Fit.CAN),
        ("mlx-community/SmolLM2-135M-Instruct", {CHAT}, Fit.CAN),
        ("mlx-community/SmolLM2-135M-Instruct", {CHAT, VISION}, Fit.MAY),
        ("mlx-community/SmolLM2-135M-Instruct", {CHAT, TOOLS}, Fit.MAY),
        ("mlx-community/Llama-3.2-3B-Instruct-4bit", {CHAT, TOOLS}, Fit.CAN),
        ("nomic-embed-text-v1.5", {EMBEDDINGS}, Fit.CAN),
        ("all-MiniLM-L6-v2", {CHAT}, Fit.CANNOT),
        ("whisper-large-v3", {CHAT}, Fit.CANNOT),
        ("whatever", {EMBEDDINGS}, Fit.MAY),
    ],
)
def test_a_name_tells_what_it_tells(name: str, needs: set[str], fit: Fit) -> None:
    assert by_name(name).fit(frozenset(needs)) == fit


def test_a_server_that_names_the_kind_is_taken_to_say_everything() -> None:
    found = abilities_of(("completion", "tools"), told=True)

    assert found.fit(frozenset({VISION})) == Fit.CANNOT
    assert found.fit(frozenset({CHAT, TOOLS})) == Fit.CAN


def test_a_server_that_names_one_ability_alone_leaves_the_others_open() -> None:
    found = abilities_of(("vision",), told=True)

    assert found.fit(frozenset({CHAT, VISION})) == Fit.MAY
    assert found.fit(frozenset({VISION})) == Fit.CAN
