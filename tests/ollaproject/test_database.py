"""What each connection to SQLite is told, whichever process it is of."""

from __future__ import annotations

import pytest
from django.db import connection

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.skipif(connection.vendor != "sqlite", reason="of SQLite"),
]


def ask(pragma: str) -> object:
    with connection.cursor() as cursor:
        cursor.execute(f"PRAGMA {pragma}")
        return cursor.fetchone()[0]


def test_readers_do_not_wait_for_writers() -> None:
    assert ask("journal_mode") == "wal"


def test_a_power_cut_does_not_damage_it_even_where_a_sync_does_not_reach_the_disk() -> None:
    normal = 1
    assert ask("synchronous") == normal
    assert ask("checkpoint_fullfsync") == 1  # of effect on macOS alone
