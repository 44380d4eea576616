"""How log lines begin: with the time, the level, and which process speaks, in which room."""

from __future__ import annotations

import logging


class LineFormatter(logging.Formatter):
    """Of a message with several lines, every one begins alike: a reader of lines can make sense of each."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        first, *others = record.message.split("\n")
        record.message = first
        text = super().formatMessage(record)
        if not others:
            return text
        beginning = text[: len(text) - len(first)]
        return "\n".join([text, *(beginning + other for other in others)])
