"""A random model that knows tools and thoughts, with a small template of the kind that most models have.

Its tokenizer is the demo model's with two tokens renamed to the markers of a thought.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.inference.tiny_models import write_tiny_model

if TYPE_CHECKING:
    from pathlib import Path

MODEL = "tiny-tools"
TEMPLATE = """\
{%- if tools %}<|im_start|>system
{%- for tool in tools %}{{ tool | tojson }}{% endfor %}
Answer with <tool_call>{"name": ..., "arguments": ...}</tool_call><|im_end|>
{% endif -%}
{%- for message in messages -%}
<|im_start|>{{ message.role }}
{{ message.content }}
{%- for tool_call in message.tool_calls or [] %}{% set tool_call = tool_call.function %}<tool_call>
{"name": "{{ tool_call.name }}", "arguments": {{ tool_call.arguments | tojson }}}
</tool_call>{% endfor %}<|im_end|>
{% endfor -%}
{%- if add_generation_prompt -%}
<|im_start|>assistant
{% if think_aloud %}<think>
{% endif %}
{%- endif -%}
"""


def write_tool_model(folder: Path, *, tokenizer_from: Path, marks_are_tokens: bool = False) -> Path:
    """`marks_are_tokens`: those around a call, too, as in most models."""
    write_tiny_model(folder, tokenizer_from=tokenizer_from)
    file = folder / "tokenizer.json"
    text = file.read_text().replace("<repo_name>", "<think>").replace("<reponame>", "<think>")
    text = text.replace("<file_sep>", "</think>")
    if marks_are_tokens:
        text = text.replace("<issue_start>", "<tool_call>").replace("<issue_closed>", "</tool_call>")
    file.write_text(text)
    config = folder / "tokenizer_config.json"
    known = config.read_text().replace("<repo_name>", "<think>").replace("<file_sep>", "</think>")
    config.write_text(json.dumps({**json.loads(known), "chat_template": TEMPLATE}))
    return folder
