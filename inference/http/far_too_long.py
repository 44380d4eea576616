"""Is a text far too long for a model? Its beginning tells: to tokenise all of a megabyte takes seconds.

Others wait for the tokenizing thread as long, and a text of 20 MB is nobody's prompt.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

MANY_CHARACTERS = 16
"""For each token that the model reads: a text that has more of them is hardly one that fits."""
FAR_TOO_LONG = 2
"""So many times what the model reads cannot be wrong by where a text was cut."""


def may_be(characters: int, most: int) -> bool:
    """Whether a text of so many characters is worth a look: the model reads `most` tokens."""
    return characters > most * MANY_CHARACTERS


def counted(text: str, most: int, count: Callable[[str], int]) -> int | None:
    """How many tokens `text` has at least, if they are far more than `most`; None if they are not.

    `count` says it of a piece. No more pieces are counted than it takes.
    """
    if not may_be(len(text), most):
        return None
    found, piece = 0, most * MANY_CHARACTERS
    for start in range(0, len(text), piece):
        found += count(text[start : start + piece])
        if found >= most * FAR_TOO_LONG:
            return found
    return None
