"""Signs keys anew that were made under an old pepper, when they are used: only then is their secret at hand.

It happens once a key, in a thread of its own; the request that brought the key waits for nothing.
"""

from __future__ import annotations

import logging
import threading
from functools import partial
from typing import TYPE_CHECKING

from django.db import DatabaseError, InterfaceError, connection

from endpoints.routing import revision
from proxy.access.key_secrets import Signed, sign
from proxy.models import ApiKey

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger(__name__)

_under_way: set[tuple[int, str]] = set()


def resign(key_id: int, public_id: str, secret: str, old: Signed) -> None:
    """Store `secret` under the newest pepper in the place of `old`, soon. Returns at once."""
    if (key_id, old.digest) in _under_way:
        return
    _under_way.add((key_id, old.digest))
    signed = sign(public_id, secret)
    work = partial(store, key_id, old, signed)
    threading.Thread(target=_run, args=(work,), name="sign-key-anew", daemon=True).start()


def store(key_id: int, old: Signed, signed: Signed) -> None:
    """Whichever of the two secrets of a key this is: it may have been rotated meanwhile."""
    rows = ApiKey.objects.filter(pk=key_id)
    now = rows.filter(digest=old.digest, pepper=old.pepper)
    before = rows.filter(previous_digest=old.digest, previous_pepper=old.pepper)
    changed = now.update(digest=signed.digest, pepper=signed.pepper) or before.update(
        previous_digest=signed.digest, previous_pepper=signed.pepper
    )
    if changed:
        logger.info(
            "The key %s is now signed with the newest pepper.", rows.values_list("name", flat=True)[0]
        )
        revision.bump(access=True)


def _run(work: Callable[[], None]) -> None:
    try:
        work()
    except (DatabaseError, InterfaceError) as error:
        logger.warning("A key could not be signed with the newest pepper: %s", error)
        _under_way.clear()
    finally:
        connection.close()
