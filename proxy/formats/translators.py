"""What the translated formats have seen since the process started, for /internal/stats/translators."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING

from proxy.formats.messages import Counting, Messages
from proxy.formats.responses import Responses
from proxy.records.counts import share

if TYPE_CHECKING:
    from collections.abc import Mapping

    from proxy.call import Call
    from proxy.formats.translation import Translation
    from proxy.request.bodies import Body, Spool
    from proxy.request.parameters import Parameters

FIRST_ERROR_STATUS = 400
BY_PATH: dict[bytes, type[Translation]] = {
    b"/v1/messages": Messages,
    b"/v1/messages/count_tokens": Counting,
    b"/v1/responses": Responses,
}


def is_translatable(path: bytes) -> bool:
    return path.rstrip(b"/") in BY_PATH


def translation_for(
    method: str, path: bytes, body: Body, spool: Spool, parameters: Parameters | None = None
) -> Translation | None:
    """None for everything that goes out as it came in."""
    kind = BY_PATH.get(path.rstrip(b"/"))
    return kind(body, spool, parameters) if kind is not None and method == "POST" else None


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
        return share(self.succeeded, self.failed)

    @property
    def passthrough_rate(self) -> float | None:
        return share(self.passed_through, self.translated)

    @property
    def latency_average(self) -> float | None:
        return self.latency_sum / self.requests if self.requests else None


COUNTED = frozenset(each.name for each in fields(TranslatorFigures)) - {"latency_sum"}
PREFIX = "translator:"


class Translators:
    """The figures of every format, by name."""

    def __init__(self) -> None:
        self.figures = {kind.name: TranslatorFigures() for kind in BY_PATH.values()}
        self._taken: dict[str, dict[str, float]] = {}

    def count(self, call: Call) -> None:
        if call.translation is not None:
            self.figures[call.translation.name].count(call, call.translation)

    def take(self) -> dict[str, dict[str, float]]:
        """What was counted since the last time, by the name that `figures_in` knows it by."""
        newly: dict[str, dict[str, float]] = {}
        for name, figures in self.figures.items():
            now, before = asdict(figures), self._taken.get(name, {})
            if now != before and figures.requests:
                newly[PREFIX + name] = {key: number - before.get(key, 0) for key, number in now.items()}
                self._taken[name] = now
        return newly


def figures_in(named: Mapping[str, Mapping[str, float]]) -> dict[str, TranslatorFigures]:
    """The figures of every format, out of what all processes have counted."""
    found: dict[str, TranslatorFigures] = {}
    for kind in BY_PATH.values():
        sums = named.get(PREFIX + kind.name, {})
        whole = {key: int(number) for key, number in sums.items() if key in COUNTED}
        found[kind.name] = TranslatorFigures(**whole, latency_sum=sums.get("latency_sum", 0.0))
    return found
