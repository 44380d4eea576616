"""What a person can misconfigure is found before it does harm."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ollaproject.checks import peppers_are_secrets

if TYPE_CHECKING:
    from django.conf import LazySettings


@pytest.mark.parametrize(("peppers", "found"), [(["x" * 50], 0), (["x" * 50, ""], 1), (["short"], 1)])
def test_a_pepper_that_can_be_guessed_is_an_error(
    settings: LazySettings, peppers: list[str], found: int
) -> None:
    settings.OLLA_KEY_PEPPERS = peppers

    assert len(peppers_are_secrets()) == found
