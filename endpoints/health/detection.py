"""Finds out what runs at a URL: asks for the paths by which the profiles know their types."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.core.exceptions import ValidationError
from django.utils.translation import gettext

from endpoints.errors import DetectionError, FleetError
from endpoints.health.checking import whole_url
from endpoints.health.probe import Checker
from endpoints.known_models.model_lists import value_at
from endpoints.profiles import profiles
from endpoints.secrets import request_headers
from ollaproject.wire.unreadable import UNREADABLE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from endpoints.health.findings import Answer
    from endpoints.models import Endpoint
    from endpoints.profiles.schema import Mark

FIRST_FAILED_STATUS = 300
REFUSED_CREDENTIAL = (401, 403)
DETECTION_TIMEOUT_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class Detected:
    type: str
    display_name: str


def detect(endpoint: Endpoint) -> Detected:
    """What runs at the endpoint's URL, asked with its headers and credential.

    Raises DetectionError, which says why nothing could be found out. Not for an event loop: see `detect_all`.
    """
    found = asyncio.run(detect_all([endpoint]))[0]
    if isinstance(found, DetectionError):
        raise found
    return found


def detected_type(endpoint: Endpoint) -> str:
    """What runs there, for a person who leaves it open. Raises ValidationError for the field `type`."""
    try:
        return detect(endpoint).type
    except DetectionError as error:
        words = gettext("The type cannot be detected: {error}. Start it and save again, or choose it.")
        raise ValidationError({"type": words.format(error=error)}) from None


async def detect_all(endpoints: Sequence[Endpoint]) -> list[Detected | DetectionError]:
    """The same for many at once, in their order. An error is a result."""
    async with Checker() as checker:
        return await asyncio.gather(*(_detect(checker, endpoint) for endpoint in endpoints))


async def _detect(checker: Checker, endpoint: Endpoint) -> Detected | DetectionError:
    try:
        headers = request_headers(endpoint)
    except FleetError as error:
        return DetectionError(str(error))
    paths = sorted({mark.path for profile in profiles() for mark in profile.detection})
    got = await asyncio.gather(
        *(
            checker.fetch(whole_url(endpoint, path), headers=headers, timeout=DETECTION_TIMEOUT_SECONDS)
            for path in paths
        )
    )
    answers = {path: one for path, one in zip(paths, got, strict=True) if not isinstance(one, str)}
    if not answers:
        return DetectionError(f"nothing could be asked there: {next(str(one) for one in got)}")
    found = judge(answers)
    if found is not None:
        return found
    if any(answer.status in REFUSED_CREDENTIAL for answer in answers.values()):
        return DetectionError("it asks for a credential, or refused the one that is given")
    return DetectionError("it answers, but like no server of models that is known here")


def judge(answers: Mapping[str, Answer]) -> Detected | None:
    """The type whose mark is the surest of those that fit, None when none does."""
    fitting = [
        (mark.certainty, profile.name, profile.display_name)
        for profile in profiles()
        for mark in profile.detection
        if mark.path in answers and fits(mark, answers[mark.path])
    ]
    if not fitting:
        return None
    _, name, display_name = max(fitting, key=lambda each: each[0])
    return Detected(name, display_name)


def fits(mark: Mark, answer: Answer) -> bool:
    if answer.status >= FIRST_FAILED_STATUS:
        return False
    if mark.text and mark.text not in answer.body.decode("utf-8", "replace"):
        return False
    if mark.header and mark.header_text.lower() not in answer.headers.get(mark.header, "").lower():
        return False
    if not mark.key:
        return True
    said = value_at(_document(answer.body), mark.key)
    return said is not None if not mark.words else isinstance(said, str) and said in mark.words


def _document(body: bytes) -> Any:
    try:
        return json.loads(body)
    except UNREADABLE:
        return None
