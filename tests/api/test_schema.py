"""The OpenAPI schema: pinned, so that a change of it is a decision, and true, tried by calls made of it."""

from __future__ import annotations

from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import schemathesis
import yaml
from django.core.management import call_command
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import positive_data_acceptance

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from pytest_django.live_server_helper import LiveServer
    from rest_framework.test import APIClient

PINNED = Path(__file__).parent / "schema.yaml"
CALLS_PER_OPERATION = 4
CSRF_TOKEN = "a" * 32


def test_the_schema_is_the_pinned_one(tmp_path: Path) -> None:
    """After a wanted change: `manage.py spectacular --file tests/api/schema.yaml`."""
    made = tmp_path / "schema.yaml"
    call_command("spectacular", "--fail-on-warn", "--validate", "--file", str(made))
    assert yaml.safe_load(made.read_text()) == yaml.safe_load(PINNED.read_text())


@pytest.mark.django_db(transaction=True)
def test_whatever_the_schema_allows_is_answered_as_the_schema_says(
    live_server: LiveServer, client: APIClient, admin_user: User
) -> None:
    client.force_login(admin_user)
    cookies = {name: morsel.value for name, morsel in client.cookies.items()} | {"olla_csrf": CSRF_TOKEN}
    schema = schemathesis.openapi.from_dict(yaml.safe_load(PINNED.read_text()))
    found = schema.include(path_regex="^/api/").get_all_operations()
    operations: list[Any] = [result.ok() for result in found if isinstance(result, Ok)]
    assert len(operations) > 15

    for operation in operations:

        @settings(
            max_examples=CALLS_PER_OPERATION,
            derandomize=True,
            database=None,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy())
        def call(case: Any) -> None:
            headers = {"X-CSRFToken": CSRF_TOKEN}
            answer = case.call(base_url=live_server.url, cookies=cookies, headers=headers)
            assert answer.status_code < HTTPStatus.INTERNAL_SERVER_ERROR, case.as_curl_command()
            # The rules of URLs, durations and the like are more than a schema says.
            case.validate_response(answer, excluded_checks=[positive_data_acceptance])

        call()
