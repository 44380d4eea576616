"""`doctor` says what is not well, what to do about it, and tells scripts by its exit code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import suppress
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core.management import CommandError, call_command

from bench.ports import free_port
from endpoints.choices import Mode, Status
from endpoints.models import Endpoint
from inference.local.choices import State
from inference.models import LocalModel, LocalModelStatus, ModelHost
from ollaproject.wire import clock
from proxy.models import WebProcess

ROOT = Path(__file__).resolve().parent.parent.parent

pytestmark = pytest.mark.django_db


@pytest.fixture
def well() -> Endpoint:
    """A gateway that is well: an administrator, a web process, and one endpoint that was just checked."""
    get_user_model().objects.create_superuser("admin")
    now = clock.now()
    WebProcess.objects.create(id="a", host="studio", pid=7, started_at=now, seen_at=now)
    endpoint = Endpoint.objects.create(name="mini", url="http://127.0.0.1:9/", type="vllm-mlx")
    set_health(endpoint, Status.HEALTHY, next_check_at=now + timedelta(seconds=5), checked_at=now)
    return endpoint


def set_health(endpoint: Endpoint, status: Status, **values: Any) -> None:
    health = endpoint.health
    for name, value in {"status": status, **values}.items():
        setattr(health, name, value)
    health.save()


def examine() -> dict[str, list[tuple[str, str]]]:
    """Level and text of what was found, by the part of the gateway."""
    out = StringIO()
    with suppress(CommandError):
        call_command("doctor", json=True, stdout=out)
    parts: dict[str, list[tuple[str, str]]] = {}
    for finding in json.loads(out.getvalue()):
        parts.setdefault(finding["part"], []).append((finding["level"], finding["text"]))
    return parts


def test_a_gateway_that_is_well(well: Endpoint) -> None:
    out = StringIO()

    call_command("doctor", stdout=out, no_color=True)

    lines = out.getvalue().splitlines()
    assert all(line.startswith("ok ") for line in lines), lines
    assert any("1 running: studio (process 7)" in line for line in lines)
    assert any("1 of 1 serve" in line for line in lines)


def test_an_empty_one_says_what_to_do_first() -> None:
    out = StringIO()

    with pytest.raises(CommandError, match=r"^Does not work: accounts, web\.$"):
        call_command("doctor", stdout=out, no_color=True)

    assert "MEND  web           No web process runs" in out.getvalue()
    assert "Add one in the admin, or with: manage.py import_endpoints FILE" in out.getvalue()


def test_a_worker_that_does_not_run_is_told_by_what_it_has_not_done(well: Endpoint) -> None:
    set_health(well, Status.HEALTHY, next_check_at=clock.now() - timedelta(minutes=2))

    ((level, text),) = examine()["checks"]

    assert level == "problem"
    assert text.startswith("No check since ")


def test_endpoints_that_do_not_serve_are_named_with_their_reason(well: Endpoint) -> None:
    set_health(well, Status.OFFLINE, reason="connection refused")
    Endpoint.objects.create(name="away", url="http://127.0.0.1:9/", type="vllm-mlx", mode=Mode.PAUSED)

    assert examine()["endpoints"] == [
        ("problem", "0 of 2 serve; out of service: away: no request can be answered."),
        ("warning", "mini is offline: connection refused"),
    ]


def test_local_models_that_failed_or_that_nobody_runs(well: Endpoint) -> None:
    model = LocalModel.objects.create(name="qwen", source="demo")
    LocalModelStatus.objects.update_or_create(
        model=model, defaults={"state": State.FAILED, "reason": "No space left.", "since": clock.now()}
    )
    ModelHost.objects.create(name="mini-2", seen_at=clock.now() - timedelta(hours=3))

    assert examine()["local models"] == [
        ("problem", "The supervisor of mini-2 has not been heard of for 3 h."),
        ("warning", "qwen failed: No space left."),
    ]


def test_servers_that_do_not_answer_are_sentences_and_hide_nothing_else(tmp_path: Path) -> None:
    nobody = free_port()
    servers = {
        "DATABASE_URL": f"postgresql://olla:s3cret@127.0.0.1:{nobody}/olla",
        "REDIS_URL": f"redis://:s3cret@127.0.0.1:{nobody}/0",
        "OLLA_HOME": str(tmp_path),
    }
    command = [sys.executable, "manage.py", "doctor"]

    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | servers, capture_output=True, text=True, check=False
    )

    assert done.returncode == 1
    assert "The database does not answer (OperationalError). Look at DATABASE_URL" in done.stdout
    assert "The broker does not answer (OperationalError). Look at REDIS_URL" in done.stdout
    assert "endpoints     Not known: the database does not answer" in done.stdout
    assert done.stderr.strip() == "CommandError: Does not work: database, broker."
    assert "s3cret" not in done.stdout
