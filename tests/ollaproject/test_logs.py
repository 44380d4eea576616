"""The log for machines: an object a line, whatever is logged."""

from __future__ import annotations

import io
import json
import logging
import logging.config
from typing import TYPE_CHECKING, Any

import pytest
from django.db import OperationalError

from ollaproject import logs
from proxy.records.request_log import Requests
from tests.proxy.outcomes import outcome

if TYPE_CHECKING:
    from collections.abc import Callable

OUTCOME = outcome(caller="10.0.0.1")


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[logging.Logger], None]], list[Any]]:
    """What reaches standard error with OLLA_LOG_FORMAT=json, line by line."""
    monkeypatch.setenv("OLLA_LOG_FORMAT", "json")
    monkeypatch.setenv("OLLA_PROCESS", "web")
    made = logging.config.DictConfigurator(logs.configuration()).configure_formatter(
        logs.configuration()["formatters"]["json"]
    )

    def log(act: Callable[[logging.Logger], None]) -> list[Any]:
        stream = io.StringIO()
        handler = logging.StreamHandler(stream)
        handler.setFormatter(made)
        logger = logging.Logger("proxy.record")  # noqa: LOG001 - of this test alone
        logger.addHandler(handler)
        act(logger)
        return [json.loads(line) for line in stream.getvalue().splitlines()]

    return log


def test_each_request_is_an_object_with_its_id(logged: Callable[..., list[Any]]) -> None:
    first, second = logged(lambda logger: logger.info(Requests([OUTCOME, OUTCOME])))

    assert first == second
    assert (first["level"], first["process"], first["logger"]) == ("INFO", "web", "proxy.record")
    assert (first["request_id"], first["status"], first["endpoint"]) == ("req_1", 200, "mini-2")
    assert (first["duration_ms"], first["ttft_ms"], first["prompt_tokens"]) == (1500.0, 250.0, 5)
    assert first["attempts"][0] == {"endpoint": "mini-1", "failure": "refused the connection"}
    assert "10.0.0.1" not in json.dumps(first)


def test_a_traceback_stays_on_its_line(logged: Callable[..., list[Any]]) -> None:
    def fail(logger: logging.Logger) -> None:
        try:
            raise ValueError("no\nway")
        except ValueError:
            logger.exception("Request %s failed", "r-2", extra={"request_id": "r-2"})

    (only,) = logged(fail)

    assert (only["message"], only["request_id"]) == ("Request r-2 failed", "r-2")
    assert only["exception"].endswith("ValueError: no\nway")


def test_what_is_no_json_by_nature_is_told_all_the_same(logged: Callable[..., list[Any]]) -> None:
    (only,) = logged(lambda logger: logger.warning("%s is down", object))

    assert only["message"] == "<class 'object'> is down"


def test_a_database_that_is_away_is_told_by_celery_in_one_line_a_minute() -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.addFilter(logs.Outages())
    for name in ("celery.beat", "endpoints.health.prober"):
        logger = logging.Logger(name)  # noqa: LOG001 - of this test alone
        logger.addHandler(handler)
        for error in (OperationalError("refused"), OperationalError("refused"), ValueError("a fault")):
            try:
                raise error
            except (OperationalError, ValueError):
                logger.exception("%s: %s\n%s", name, error, "the stack")

    told = stream.getvalue()
    assert told.startswith(
        "celery.beat: refused (said once a minute, as long as it is so)\ncelery.beat: a fault\n"
    )
    assert told.count("celery.beat: refused") == 1
    assert told.count("endpoints.health.prober: refused") == 2
    assert told.count("Traceback") == 4
