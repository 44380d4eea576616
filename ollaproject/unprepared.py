"""A command whose database is away or was never prepared: a sentence, in place of a traceback."""

from __future__ import annotations

from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor

from proxy.status import readiness


def sentence(error: DatabaseError) -> str | None:
    """What to do about it, and None where the database is well, so that the program is at fault."""
    answer = readiness.ask_database()
    if answer != "ok":
        return f"{answer} It says: {str(error).partition(chr(10))[0]}"
    executor = MigrationExecutor(connection)
    if executor.migration_plan(executor.loader.graph.leaf_nodes()):
        return "The database lacks tables of this version. Run: manage.py migrate (serve does it by itself)."
    return None
