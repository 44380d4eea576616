"""What `manage.py serve` says when it answers."""

from __future__ import annotations

import io

import pytest
from django.core.management.base import OutputWrapper

from ollaproject.announce import Address, Announcement
from tests.fakes import answers
from tests.fakes.upstream import FakeUpstream


@pytest.mark.parametrize(
    ("runs_models", "has_servers", "told"), [(True, False, 2), (False, False, 1), (True, True, 0)]
)
async def test_who_has_servers_is_not_told_to_add_some(
    *, runs_models: bool, has_servers: bool, told: int
) -> None:
    out = io.StringIO()
    with FakeUpstream() as gateway:
        gateway.answer("/livez", answers.respond({"status": "healthy"}))
        address = Address("127.0.0.1", gateway.port)
        said = Announcement(address, runs_models=runs_models, has_servers=has_servers)
        await said.when_ready(OutputWrapper(out))

    assert f"{address.url}/v1" in out.getvalue()
    assert ("Add your servers" in out.getvalue()) is not has_servers
    assert out.getvalue().rstrip().count("\n", out.getvalue().index("/v1")) == told
