"""What JSON parsers raise for bytes that they cannot read, of the standard library's and of msgspec's."""

from __future__ import annotations

from typing import Final

UNREADABLE: Final = (ValueError, RecursionError)
"""No JSON, or no such object as was asked for, or no UTF-8; or lists within lists, some thousand deep."""
