"""What an examination says: which part, how well it is, in a sentence, and what to do."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    OK = "ok"
    WARNING = "warning"  # it works, and somebody should know
    PROBLEM = "problem"  # something does not work


@dataclass(frozen=True, slots=True)
class Finding:
    """`hint` is what a person can do about it; empty when all is well."""

    part: str
    level: Level
    text: str
    hint: str = ""


def ok(part: str, text: str) -> Finding:
    return Finding(part, Level.OK, text)


def warning(part: str, text: str, hint: str) -> Finding:
    return Finding(part, Level.WARNING, text, hint)


def problem(part: str, text: str, hint: str) -> Finding:
    return Finding(part, Level.PROBLEM, text, hint)
