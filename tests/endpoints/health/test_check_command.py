"""`check_endpoints`: asks now, prints, and tells scripts by its exit code."""

from __future__ import annotations

import json
from io import StringIO
from typing import TYPE_CHECKING, Any

import pytest
from django.core.management import CommandError, call_command

from endpoints.choices import Mode
from endpoints.models import HealthCheck
from tests.fakes import answers

if TYPE_CHECKING:
    from tests.endpoints.conftest import MakeEndpoint
    from tests.fakes.upstream import FakeUpstream


def check(*names: str, **options: Any) -> str:
    out = StringIO()
    call_command("check_endpoints", *names, stdout=out, **options)
    return out.getvalue()


def test_it_prints_a_table(make_endpoint: MakeEndpoint, upstream: FakeUpstream) -> None:
    upstream.answer("/v1/models", answers.respond(answers.models_list(["a", "b", "c", "d", "e"])))
    make_endpoint(name="mini", url=upstream.url)
    head, row = check().splitlines()
    assert head.split() == ["name", "status", "latency", "models", "reason"]
    assert row.startswith("mini  healthy  ")
    assert row.endswith("a, b, c and 2 more")


def test_it_prints_json(make_endpoint: MakeEndpoint, upstream: FakeUpstream) -> None:
    make_endpoint(name="mini", url=upstream.url)
    (row,) = json.loads(check(json=True))
    assert (row["name"], row["status"], row["models"], row["http_status"]) == ("mini", "healthy", ["m1"], 200)


def test_it_fails_when_one_in_service_is_not_healthy(
    make_endpoint: MakeEndpoint, upstream: FakeUpstream, capsys: pytest.CaptureFixture[str]
) -> None:
    make_endpoint(name="mini", url=upstream.url)
    make_endpoint(name="dead")
    out = StringIO()
    with pytest.raises(CommandError, match=r"^Not healthy: dead\.$"):
        call_command("check_endpoints", stdout=out)
    assert "connection refused" in out.getvalue()


@pytest.mark.parametrize("mode", [Mode.PAUSED, Mode.DRAINING])
def test_one_out_of_service_may_be_down(make_endpoint: MakeEndpoint, mode: Mode) -> None:
    make_endpoint(name="dead", mode=mode)
    assert f"offline ({mode})" in check()


def test_it_checks_those_that_are_named(make_endpoint: MakeEndpoint, upstream: FakeUpstream) -> None:
    make_endpoint(name="mini", url=upstream.url)
    make_endpoint(name="dead")
    assert "dead" not in check("mini")


def test_a_name_that_does_not_exist_is_said(make_endpoint: MakeEndpoint) -> None:
    with pytest.raises(CommandError, match="There is no endpoint called nobody"):
        check("nobody")


@pytest.mark.django_db
def test_an_empty_fleet_says_what_to_do() -> None:
    assert "manage.py import_endpoints FILE" in check()


def test_nothing_is_stored(make_endpoint: MakeEndpoint, upstream: FakeUpstream) -> None:
    make_endpoint(url=upstream.url)
    check()
    assert not HealthCheck.objects.exists()
