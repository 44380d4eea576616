"""The database that pages are measured with: it has the rows that it says, in the tables as they are now."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.db import connection
from django.db.models import Sum

from bench.pages import long_history
from endpoints.models import AlertDelivery, Change, CheckSummary, HealthCheck, Transition
from proxy.models import BudgetReached, RequestRecord, UsageTotal

pytestmark = pytest.mark.django_db(transaction=True)

ROWS = 400


def test_a_long_history_fits_the_tables() -> None:
    if connection.vendor != "sqlite":
        pytest.skip("it is written by SQLite")
    long_history.fill(Path(connection.settings_dict["NAME"]), ROWS)
    assert (HealthCheck.objects.count(), RequestRecord.objects.count()) == (ROWS, ROWS)
    assert UsageTotal.objects.aggregate(all=Sum("requests"))["all"] == ROWS
    for model in (AlertDelivery, BudgetReached, Change, CheckSummary, Transition):
        assert model._default_manager.exists()
