"""The servers that tests need: they are there, or a person is told how to have them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import psycopg
import pytest
import redis

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "install_test_services.sh"


@pytest.mark.redis
def test_the_suite_has_a_redis(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        assert client.ping() is True


@pytest.mark.postgres
def test_the_suite_has_a_postgres(postgres_url: str) -> None:
    with psycopg.connect(postgres_url) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


@pytest.mark.parametrize(
    ("system", "told", "not_told"),
    [("Darwin", "brew install redis", "apt-get"), ("Linux", "sudo apt-get install redis-server", "brew")],
)
def test_who_cannot_have_them_installed_is_told_how(
    system: str, told: str, not_told: str, tmp_path: Path
) -> None:
    """On a machine with nothing but a shell."""
    uname = tmp_path / "uname"
    uname.write_text(f"#!/bin/sh\necho {system}\n")
    uname.chmod(0o755)
    command = [shutil.which("bash") or "", str(SCRIPT)]

    done = subprocess.run(command, env={"PATH": str(tmp_path)}, capture_output=True, text=True, check=False)

    assert (done.returncode, told in done.stderr, not_told in done.stderr) == (0, True, False), done.stderr
    in_ci = {"PATH": str(tmp_path), "CI": "true"}
    assert subprocess.run(command, env=in_ci, capture_output=True, check=False).returncode == 1
