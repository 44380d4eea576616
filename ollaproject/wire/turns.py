"""The messages of a chat, put together so that every chat template takes them.

Many templates allow one system message, at the start, and some want user and assistant to take turns. So what
the system says later is told in the user's turn, between marks that models know from agents. It keeps its
place: what was read before it need not be read again.
"""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]
PARAGRAPH = "\n\n"
REMINDER = "<system-reminder>\n{}\n</system-reminder>"


def instruct(messages: list[Json], text: str) -> None:
    """Add what the system says next."""
    if messages and any(message["role"] != "system" for message in messages):
        ask(messages, REMINDER.format(text))
    elif messages:
        messages[-1]["content"] += PARAGRAPH + text
    else:
        messages.append({"role": "system", "content": text})


def ask(messages: list[Json], content: str | list[Json]) -> None:
    """Add what the user says next, to the same turn if it is the user's already."""
    last = messages[-1] if messages else {}
    if last.get("role") == "user":
        last["content"] = joined([*_parts(last["content"]), *_parts(content)])
    else:
        messages.append({"role": "user", "content": content})


def in_turns(messages: list[Json]) -> list[Json]:
    """The same conversation with one system message, at its start, and no two turns of the user in a row."""
    told: list[Json] = []
    for message in messages:
        if message["role"] == "system":
            instruct(told, message["content"])
        elif message["role"] == "user":
            ask(told, message["content"])
        else:
            told.append(message)
    return told


def without_system(messages: list[Json]) -> list[Json]:
    """The same conversation, its first message told by the user."""
    told: list[Json] = []
    ask(told, messages[0]["content"])
    return in_turns([*told, *messages[1:]])


def joined(parts: list[Json]) -> str | list[Json]:
    """Text alone as one string: not every chat template reads a list."""
    if all(part["type"] == "text" for part in parts):
        return PARAGRAPH.join(part["text"] for part in parts)
    return parts


def _parts(content: str | list[Json]) -> list[Json]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else content
