from __future__ import annotations

import psycopg
import pytest
import redis


@pytest.mark.redis
def test_the_suite_has_a_redis(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        assert client.ping() is True


@pytest.mark.postgres
def test_the_suite_has_a_postgres(postgres_url: str) -> None:
    with psycopg.connect(postgres_url) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
