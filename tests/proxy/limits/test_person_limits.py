"""What all keys of a person may use together."""

from __future__ import annotations

import pytest

from ollaproject.wire.openai_errors import ApiError
from proxy.access.auth import Caller
from proxy.access.key_table import Person
from proxy.limits.limiter import Limiter
from proxy.limits.limits import Limits
from proxy.request.estimate import Estimate
from tests.proxy.limits.test_limits import holder


async def test_all_keys_of_a_person_share_what_the_person_may_use() -> None:
    ada = Person(Limits(concurrent=2))
    limiter = Limiter()
    callers = [
        Caller("", "", peer_trusted=False, holder=holder(number=number, user_id=9, user="ada", person=ada))
        for number in (1, 2, 3)
    ]
    for caller in callers[:2]:
        await limiter.enter(caller, Estimate())

    with pytest.raises(ApiError) as refused:
        await limiter.enter(callers[2], Estimate())

    assert "The person 'ada' has reached a limit (requests at a time: 2)" in refused.value.message
    bob = holder(number=4, user_id=8, user="bob", person=ada)
    await limiter.enter(Caller("", "", peer_trusted=False, holder=bob), Estimate())
