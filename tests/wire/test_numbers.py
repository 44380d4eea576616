"""Numbers on pages are in the reader's language, so that a dot does not mean two things on one page."""

from __future__ import annotations

from decimal import Decimal

import pytest
from django.utils import translation

from endpoints.past.history import Uptime
from ollaproject.wire import numbers
from ollaproject.wire.time_words import exact_span
from proxy.templatetags.requests import duration
from proxy.templatetags.usage import money, short


@pytest.mark.parametrize(
    ("language", "told"),
    [
        ("en", ["12,345", "1,234.50", "98.5", "100", "5.1 GB", "93 MB", "1.5 s", "1 min 30 s", "99.83 %"]),
        ("de", ["12.345", "1.234,50", "98,5", "100", "5,1 GB", "93 MB", "1,5 s", "1 min 30 s", "99,83 %"]),
    ],
)
def test_numbers_are_told_in_the_readers_language(language: str, told: list[str]) -> None:
    with translation.override(language):
        assert [
            numbers.whole(Decimal("12345.9")),
            numbers.decimal(1234.5, 2),
            numbers.shortened(98.50, 2),
            numbers.shortened(100, 2),
            numbers.size(5_100_000_000),
            numbers.size(93_000_000),
            exact_span(1.5),
            exact_span(90),
            Uptime(up_seconds=9983.5, down_seconds=16.5).words,
        ] == told


def test_usage_is_told_in_the_readers_language() -> None:
    with translation.override("de"):
        assert (money(Decimal("1016.6")), money(Decimal("0.0012"))) == ("1.016,60", "0,0012")
        assert (short(49_600_000), duration(2240)) == ("49,6M", "2,2 s")


@pytest.mark.parametrize(
    ("count", "told"),
    [
        (0, "0"),
        (950, "950"),
        (1000, "1k"),
        (12_345, "12.3k"),
        (100_000, "100k"),
        (999_400, "999k"),
        (999_600, "1M"),
        (4_560_000, "4.56M"),
    ],
)
def test_a_large_number_is_told_with_three_digits(count: int, told: str) -> None:
    assert short(count) == told
