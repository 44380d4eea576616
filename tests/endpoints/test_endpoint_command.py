"""`manage.py endpoint`: drain, pause, maintain and resume, by name or by host."""

from __future__ import annotations

from datetime import timedelta
from io import StringIO
from typing import TYPE_CHECKING

import pytest
from django.core.management import CommandError, call_command

from endpoints import operations, tasks
from endpoints.choices import Mode, Status
from endpoints.models import Endpoint
from endpoints.routing import routing_table
from ollaproject.wire import clock

if TYPE_CHECKING:
    from tests.endpoints.conftest import MakeEndpoint

pytestmark = pytest.mark.django_db


def run(*arguments: str) -> str:
    out = StringIO()
    call_command("endpoint", *arguments, stdout=out)
    return out.getvalue()


def modes() -> dict[str, str]:
    return dict(Endpoint.objects.values_list("name", "mode"))


def test_it_drains_pauses_and_resumes_by_name(make_endpoint: MakeEndpoint) -> None:
    make_endpoint(name="one")
    make_endpoint(name="two")

    assert "Draining one" in run("drain", "one")
    run("pause", "two")
    assert modes() == {"one": Mode.DRAINING, "two": Mode.PAUSED}
    run("resume", "one", "two")
    assert modes() == {"one": Mode.ACTIVE, "two": Mode.ACTIVE}


def test_it_takes_a_whole_host(make_endpoint: MakeEndpoint) -> None:
    make_endpoint(name="chat", url="http://studio.local:8000")
    make_endpoint(name="embed", url="http://Studio.local:8001")
    make_endpoint(name="other", url="http://mini.local:8000")

    run("drain", "--host", "studio.local")

    assert modes() == {"chat": Mode.DRAINING, "embed": Mode.DRAINING, "other": Mode.ACTIVE}


def test_maintenance_ends_by_itself(make_endpoint: MakeEndpoint) -> None:
    made = make_endpoint(name="one")
    run("maintain", "one", "--until", "2h")
    made.refresh_from_db()
    assert made.maintenance_until is not None
    assert routing_table.build(1).targets[0].mode == Mode.MAINTENANCE

    assert operations.end_maintenance(clock.now() + timedelta(hours=1)) == 0
    assert operations.end_maintenance(clock.now() + timedelta(hours=3)) == 1

    made.refresh_from_db()
    assert modes() == {"one": Mode.ACTIVE}
    assert not made.maintenance_until
    assert made.health.status == Status.UNKNOWN


def test_every_tick_looks_for_maintenances_that_are_over(make_endpoint: MakeEndpoint, checks: None) -> None:
    made = make_endpoint(name="one")
    operations.maintain(endpoint=made, until=clock.now() - timedelta(seconds=1))

    tasks.check_due()

    assert modes() == {"one": Mode.ACTIVE}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("drain",), "Name endpoints"),
        (("drain", "nope"), "no endpoint called nope"),
        (("pause", "--host", "nowhere"), "on the host nowhere"),
        (("maintain", "one"), "needs --until"),
        (("maintain", "one", "--until", "soon"), "neither a time nor a duration"),
        (("maintain", "one", "--until", "2001-01-01T00:00"), "over already"),
    ],
)
def test_what_cannot_be_done_is_said(
    make_endpoint: MakeEndpoint, arguments: tuple[str, ...], words: str
) -> None:
    make_endpoint(name="one")

    with pytest.raises(CommandError, match=words):
        run(*arguments)

    assert modes() == {"one": Mode.ACTIVE}
