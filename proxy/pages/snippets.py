"""How each client is told of this gateway, ready to copy: with its address and one of its models."""

from __future__ import annotations

from typing import NamedTuple

from django.utils.translation import gettext


class Snippet(NamedTuple):
    """`slug` is its page in docs/clients."""

    slug: str
    client: str
    where: str
    text: str


def snippets(origin: str, model: str) -> list[Snippet]:
    """`origin` is the gateway's address without a path. The key is left to whoever copies."""
    base = f"{origin}/v1"
    return [
        Snippet("curl", "curl", gettext("In a terminal"), _curl(base, model)),
        Snippet("openai-python", "openai", "Python, pip install openai", _openai(base, model)),
        Snippet("claude-code", "Claude Code", gettext("In a terminal"), _claude_code(origin, model)),
        Snippet("aider", "aider", gettext("In a terminal"), _aider(base, model)),
        Snippet("continue", "Continue", "~/.continue/config.yaml", _continue(base, model)),
        Snippet("open-webui", "Open WebUI", gettext("In a terminal"), _open_webui(base)),
    ]


def _curl(base: str, model: str) -> str:
    return f"""curl {base}/chat/completions \\
  -H "Authorization: Bearer $OLLA_API_KEY" \\
  -H "Content-Type: application/json" \\
  -d '{{"model": "{model}", "messages": [{{"role": "user", "content": "Hello"}}]}}'"""


def _openai(base: str, model: str) -> str:
    return f"""import os

from openai import OpenAI

client = OpenAI(base_url="{base}", api_key=os.environ["OLLA_API_KEY"])
answer = client.chat.completions.create(
    model="{model}",
    messages=[{{"role": "user", "content": "Hello"}}],
)
print(answer.choices[0].message.content)"""


def _claude_code(origin: str, model: str) -> str:
    return f"""export ANTHROPIC_BASE_URL={origin}/olla/anthropic
export ANTHROPIC_AUTH_TOKEN=$OLLA_API_KEY
export ANTHROPIC_MODEL={model}
export ANTHROPIC_SMALL_FAST_MODEL={model}
claude"""


def _aider(base: str, model: str) -> str:
    return f"""export OPENAI_API_BASE={base}
export OPENAI_API_KEY=$OLLA_API_KEY
aider --model openai/{model}"""


def _continue(base: str, model: str) -> str:
    return f"""name: Team
version: 1.0.0
schema: v1
models:
  - name: {model}
    provider: openai
    model: {model}
    apiBase: {base}
    apiKey: sk-olla-…
    roles: [chat, edit, apply]"""


def _open_webui(base: str) -> str:
    return f"""docker run -d -p 3000:8080 -v open-webui:/app/backend/data \\
  -e OPENAI_API_BASE_URL={base} \\
  -e OPENAI_API_KEY=$OLLA_API_KEY \\
  ghcr.io/open-webui/open-webui:main"""
