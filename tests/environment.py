"""Loaded before Django: every test run has a home of its own, and no setting of the person's leaks in."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

KEPT = {"OLLA_MODELS_DIR"}

for name in [name for name in os.environ if name.startswith("OLLA_") and name not in KEPT]:
    if "PYTEST_XDIST_WORKER" not in os.environ:
        del os.environ[name]

# Hundreds of processes are started from here: each would compile all of the source again.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

os.environ.setdefault("OLLA_HOME", tempfile.mkdtemp(prefix="olla-test-"))
# The demo models are large and never change: one copy serves every run.
os.environ.setdefault("OLLA_MODELS_DIR", str(Path(__file__).resolve().parent.parent / "var" / "models"))
# Nothing here asks the real hub: tests that download bring a hub of their own.
os.environ.setdefault("HF_ENDPOINT", "http://127.0.0.1:9")
# Rows are written by a thread with a connection of its own, past the transactions of the tests that serve the
# whole application. Those that are about rows make their own writer.
os.environ.setdefault("OLLA_REQUEST_HISTORY_DAYS", "0")
os.environ.setdefault("OLLA_SHARED_COUNTS", "false")
os.environ.setdefault("OLLA_USAGE_TOTALS", "false")
