"""What a request needs of a model: abilities and room, read from the bytes of its prompt.

Only looked at where candidates differ in it. Sizes are estimates from lengths: nothing is decoded again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from endpoints.known_models.abilities import CHAT, EMBEDDINGS, TOOLS, VISION

if TYPE_CHECKING:
    from proxy.request.prefix import Prompt

# As JSON writes them: inside a text they would stand between escaped quotes.
IMAGE_MARKS: Final = (b'"image_url"', b'"input_image"', b'"image"')
EMPTY: Final = frozenset({b"", b"[]", b"null"})
# A token of ordinary text; and more than the tokens of any real text have on average.
BYTES_PER_TOKEN = 4
MOST_BYTES_PER_TOKEN = 8
# `\\u4f60` is one character.
ESCAPED_BYTES = 5
ESCAPE = b"\\u"

CHAT_PATHS: Final = frozenset(
    {b"/v1/chat/completions", b"/v1/completions", b"/v1/messages", b"/v1/responses"}
)
EMBEDDING_PATHS: Final = frozenset({b"/v1/embeddings"})


class Size(NamedTuple):
    """Of a prompt, in tokens: what it probably has, and what it has at the least."""

    about: int = 0
    at_least: int = 0


NO_SIZE: Final = Size()


def purpose_of(path: bytes) -> str:
    """The ability that a route is about, empty for others."""
    path = path.rstrip(b"/")
    if path in CHAT_PATHS:
        return CHAT
    return EMBEDDINGS if path in EMBEDDING_PATHS else ""


def abilities_needed(prompt: Prompt | None, purpose: str) -> frozenset[str]:
    needs = {purpose} if purpose else set()
    if prompt is not None and purpose == CHAT:
        if bytes(memoryview(prompt.tools)[:8]).replace(b" ", b"") not in EMPTY:
            needs.add(TOOLS)
        if has_images(prompt):
            needs.add(VISION)
    return frozenset(needs)


def has_images(prompt: Prompt) -> bool:
    return any(mark in bytes(field) for field in (prompt.messages, prompt.input) for mark in IMAGE_MARKS)


def length_of(prompt: Prompt | None, purpose: str) -> int:
    """The bytes of the prompt, 0 where they say nothing of its tokens."""
    # A list of prompts, or of tokens, is another matter.
    if prompt is None or purpose != CHAT or bytes(memoryview(prompt.prompt)[:1]) == b"[":
        return 0
    fields = (prompt.tools, prompt.system, prompt.instructions, prompt.messages, prompt.prompt, prompt.input)
    return sum(len(memoryview(field)) for field in fields)


def size_of(prompt: Prompt, length: int) -> Size:
    """Of a prompt of so many bytes. One with images has none: their bytes are no text."""
    if has_images(prompt):
        return NO_SIZE
    escapes = sum(
        bytes(field).count(ESCAPE) for field in (prompt.system, prompt.messages, prompt.prompt, prompt.input)
    )
    length -= escapes * ESCAPED_BYTES
    return Size(length // BYTES_PER_TOKEN, length // MOST_BYTES_PER_TOKEN)
