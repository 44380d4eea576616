"""What the translated formats have seen since the process started, for /internal/stats/translators."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from proxy.messages import Counting, Messages
from proxy.responses import Responses

if TYPE_CHECKING:
    from proxy.call import Call
    from proxy.translation import Translation

FIRST_ERROR_STATUS = 400
BY_PATH: dict[bytes, type[Translation]] = {
    b"/v1/messages": Messages,
    b"/v1/messages/count_tokens": Counting,
    b"/v1/responses": Responses,
}


def translation_for(method: str, path: bytes, body: bytes) -> Translation | None:
    """None for everything that goes out as it came in."""
    kind = BY_PATH.get(path.rstrip(b"/"))
    return kind(body) if kind is not None and method == "POST" else None


@dataclass(slots=True)
class TranslatorFigures:
    """Of one format. `latency_sum` is in seconds, over all requests that have ended.

    A request that was answered below 400 has succeeded; one whose client left counts as neither. A fallback
    is a request that an endpoint was believed to understand as it came, and did not.
    """

    requests: int = 0
    succeeded: int = 0
    failed: int = 0
    passed_through: int = 0
    translated: int = 0
    streaming: int = 0
    fallbacks: int = 0
    latency_sum: float = 0.0

    def count(self, call: Call, translation: Translation) -> None:
        self.requests += 1
        self.latency_sum += call.elapsed
        self.streaming += call.stream
        self.fallbacks += translation.fell_back
        if call.target is not None:
            self.passed_through += translation.passed
            self.translated += not translation.passed
        if call.error_code is not None or call.status >= FIRST_ERROR_STATUS:
            self.failed += 1
        elif not call.client_left:
            self.succeeded += 1

    @property
    def success_rate(self) -> float | None:
        """Between 0 and 1, None while nothing has ended."""
        ended = self.succeeded + self.failed
        return self.succeeded / ended if ended else None

    @property
    def passthrough_rate(self) -> float | None:
        placed = self.passed_through + self.translated
        return self.passed_through / placed if placed else None

    @property
    def latency_average(self) -> float | None:
        return self.latency_sum / self.requests if self.requests else None


class Translators:
    """The figures of every format, by name."""

    def __init__(self) -> None:
        self.figures = {kind.name: TranslatorFigures() for kind in BY_PATH.values()}

    def count(self, call: Call) -> None:
        if call.translation is not None:
            self.figures[call.translation.name].count(call, call.translation)
