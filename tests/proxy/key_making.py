"""Makes keys as a test needs them, and asks a gateway's guard whom it takes their senders for."""

from __future__ import annotations

from typing import Any

from ollaproject.wire.openai_errors import ApiError
from proxy.access import key_table, keys
from tests.proxy.access.test_access import request_from
from tests.proxy.conftest import open_guard

REMOTE = "192.168.0.7"


def made(name: str = "ann", **fields: Any) -> str:
    """A key as its holder sends it, known to this process."""
    plain = keys.create(name=name, **fields).plain
    key_table.rebuild()
    return plain


def judged(plain: str, *, peer: str = REMOTE, header: str = "bearer", **rules: Any) -> str:
    """The name of the holder, "nobody", or the error."""
    sent = ("authorization", f"Bearer {plain}") if header == "bearer" else ("x-api-key", plain)
    try:
        caller = open_guard(**rules).authenticate(request_from(peer, sent))
    except ApiError as error:
        return f"{error.status} {error.code}"
    return caller.holder.name if caller.holder else "nobody"
