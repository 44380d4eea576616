"""A report of usage as a table for spreadsheets."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING, Any

from django.http import HttpResponse

from proxy.reports.usage_report import COUNTS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from proxy.reports.usage_report import Asked, Used

# A spreadsheet takes a cell that begins so for a formula. Names of models and keys come from outside.
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def response(asked: Asked, lines: Sequence[Used]) -> HttpResponse:
    """The file, to be saved as usage-SINCE-UNTIL.csv."""
    name = f"usage-{asked.since}-{asked.until}.csv"
    found = HttpResponse(
        content_type="text/csv; charset=utf-8",
        headers={
            "Content-Disposition": f'attachment; filename="{name}"',
            "Cache-Control": "private, no-store",
        },
    )
    writer = csv.writer(found)
    writer.writerow([*asked.groups, *COUNTS, "mean_ttft_ms", "cost"])
    for line in lines:
        groups = [_harmless(line.group[group]) for group in asked.groups]
        ttft = "" if line.mean_ttft_ms is None else f"{line.mean_ttft_ms:.3f}"
        writer.writerow([*groups, *line.counts.values(), ttft, f"{line.cost:f}"])
    return found


def _harmless(value: Any) -> str:
    text = str(value)
    return f"'{text}" if text.startswith(FORMULA_STARTS) else text
