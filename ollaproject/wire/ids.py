"""Request ids: the client's own when it is safe to repeat, else a new one (contract, section 4)."""

from __future__ import annotations

import random
import re
import time

REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")

RANDOM_BITS = 52
# Ids are to be unique, not secret. Asking the system for randomness takes twice as long.
_random = random.Random(random.SystemRandom().getrandbits(256))  # noqa: S311


def new_request_id() -> str:
    """Ids of later milliseconds sort later: an index of them then grows at its end, which costs little."""
    moment = int(time.time() * 1000)
    return f"req_{moment << RANDOM_BITS | _random.getrandbits(RANDOM_BITS):024x}"


def new_span_id() -> bytes:
    """Eight bytes in hexadecimal, as a trace's span is called (W3C Trace Context). Never all zero."""
    return b"%016x" % (_random.getrandbits(64) or 1)


def accept_request_id(value: str | None) -> str:
    """`value` if it is 1 to 128 characters of `[A-Za-z0-9._:-]`, else a new id."""
    return value if value is not None and REQUEST_ID.fullmatch(value) else new_request_id()
