"""What a fetch is asked for and what it answers: values that cross between two processes as JSON."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypedDict, final

CHAT, EMBEDDING, DRAFT = "chat", "embedding", "draft"


@final
class Fetched(TypedDict):
    """`folders` and `facts` by role. `commit` is that of the chat model, or of the only one."""

    folders: dict[str, str]
    facts: dict[str, dict[str, int]]
    commit: str


@final
class Failed(TypedDict):
    """`again` is after how many seconds it is worth another try, None when a person has to do something."""

    failed: str
    again: float | None


@dataclass(frozen=True, slots=True)
class Job:
    """`sources` by role. `revision` is that of the first; `with_code` has Python files come along with it."""

    sources: dict[str, str]
    models_dir: str
    revision: str = ""
    with_code: bool = False
    token: str = field(default="", repr=False)
