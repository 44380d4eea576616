"""Numbers of ports, as people type them."""

from __future__ import annotations

from argparse import ArgumentTypeError

LAST_PORT = 65535


def port_number(text: str) -> int:
    """For argparse: a larger number would be taken for another one, without a word (99999 is 34463)."""
    try:
        number = int(text)
    except ValueError:
        raise ArgumentTypeError(f"{text!r} is not a number") from None
    if not 1 <= number <= LAST_PORT:
        raise ArgumentTypeError(f"{number} is not between 1 and {LAST_PORT}")
    return number
