"""What real clients say to models whose templates want it otherwise: it is told as the template takes it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from inference.http.chat_template import prompt_tokens
from inference.loading.loader import load_chat_model
from ollaproject.wire.openai_errors import ApiError
from tests.inference.tiny_models import write_tiny_model

if TYPE_CHECKING:
    from pathlib import Path

SYSTEM_FIRST = """\
{%- for message in messages %}
{%- if message.role == 'system' and not loop.first %}{{ raise_exception('System first.') }}{% endif -%}
[{{ message.role }}: {{ message.content }}]
{%- endfor %}"""
TURNS = """\
{%- for message in messages %}
{%- if (message.role == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Take turns.') }}{% endif -%}
[{{ message.role }}: {{ message.content }}]
{%- endfor %}"""
REMINDED = "Hi\n\n<system-reminder>\nBe brief.\n</system-reminder>"


def told(template: str, messages: list[tuple[str, str]], demo_folder: Path, tmp_path: Path) -> str:
    """What the model reads."""
    folder = write_tiny_model(tmp_path / "model", tokenizer_from=demo_folder)
    config = folder / "tokenizer_config.json"
    known = json.loads(config.read_text())
    config.write_text(json.dumps({**known, "chat_template": template}))
    tokenizer = load_chat_model(str(folder), models_dir=tmp_path).tokenizer
    said = [{"role": role, "content": content} for role, content in messages]
    return str(tokenizer.decode(prompt_tokens(tokenizer, said, {})))


@pytest.mark.parametrize(
    ("template", "messages", "expected"),
    [
        (
            SYSTEM_FIRST,
            [("system", "You help."), ("system", "Much."), ("user", "Hi")],
            "[system: You help.\n\nMuch.][user: Hi]",
        ),
        (SYSTEM_FIRST, [("user", "Hi"), ("system", "Be brief.")], f"[user: {REMINDED}]"),
        (SYSTEM_FIRST, [("user", "A"), ("user", "B")], "[user: A][user: B]"),
        (TURNS, [("user", "A"), ("user", "B"), ("assistant", "C")], "[user: A\n\nB][assistant: C]"),
        (TURNS, [("system", "You help."), ("user", "Hi")], "[user: You help.\n\nHi]"),
    ],
)
def test_a_conversation_is_told_as_its_template_takes_it(
    template: str, messages: list[tuple[str, str]], expected: str, demo_folder: Path, tmp_path: Path
) -> None:
    assert told(template, messages, demo_folder, tmp_path) == expected


def test_what_no_telling_helps_is_refused_with_the_templates_own_words(
    demo_folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(ApiError, match=r"The model's chat template refuses these messages: Take turns\."):
        told(TURNS, [("assistant", "Hi")], demo_folder, tmp_path)
