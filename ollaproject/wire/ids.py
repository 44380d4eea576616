"""Request ids: the client's own when it is safe to repeat, else a new one (contract, section 4)."""

from __future__ import annotations

import re
import secrets

REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")


def new_request_id() -> str:
    return f"req_{secrets.token_hex(12)}"


def accept_request_id(value: str | None) -> str:
    """`value` if it is 1 to 128 characters of `[A-Za-z0-9._:-]`, else a new id."""
    return value if value is not None and REQUEST_ID.fullmatch(value) else new_request_id()
