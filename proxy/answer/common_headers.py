"""The headers that every answer carries (contract, section 4): its own, and those of the way that it took."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from ollaproject.wire.header_lines import HeaderLines
from proxy.answer import server_timing
from proxy.request import headers

if TYPE_CHECKING:
    from proxy.call import Call
    from proxy.request.headers import Pair

MAX_WAYS = 1024


def own(call: Call) -> list[Pair]:
    """Those that are this answer's alone."""
    request_id = call.request_id.encode()
    pairs = [
        (b"x-olla-request-id", request_id),
        (b"x-request-id", request_id),
        (b"x-olla-response-time", b"%dms" % (call.elapsed * 1000)),
    ]
    if call.permit is not None:
        pairs += call.permit.pairs
    if call.session is not None:
        pairs += call.session.headers()
    pairs += call.dialect.headers(request_id)
    pairs += call.own_headers
    if server_timing.ASKED_BY in call.head.named:
        pairs.append(server_timing.header(call.attempts, call.elapsed))
    return pairs


def of_its_way(call: Call) -> HeaderLines:
    """What an answer says of its way, the same for all that took it."""
    target, surface = call.target, call.surface
    where: tuple[str | None, str | None] = (None, None)
    if target is not None:
        where = (target.name, target.type)
    elif surface is not None:
        where = (None, surface.only_type)
    return _of_way(where, call.model, call.served_model, len(call.attempts), call.routing)


@lru_cache(MAX_WAYS)
def _of_way(
    where: tuple[str | None, str | None],
    model: str | None,
    served_model: str | None,
    attempts: int,
    routing: tuple[str, str, str] | None,
) -> HeaderLines:
    """`where` is an endpoint's name and type; without a name the gateway itself answers, maybe for a type."""
    pairs: list[Pair] = []
    endpoint, backend_type = where
    if endpoint is not None:
        pairs.append((b"x-olla-endpoint", headers.text(endpoint)))
    if backend_type is not None:
        pairs.append((b"x-olla-backend-type", headers.text(backend_type)))
    if model is not None:
        pairs.append((b"x-olla-model", headers.text(model)))
    if served_model is not None:
        pairs.append((b"x-olla-served-model", headers.text(served_model)))
    if attempts:
        pairs.append((b"x-olla-attempts", b"%d" % attempts))
    if routing is not None:
        strategy, decision, reason = (word.encode() for word in routing)
        pairs += [
            (b"x-olla-routing-strategy", strategy),
            (b"x-olla-routing-decision", decision),
            (b"x-olla-routing-reason", reason),
        ]
    return HeaderLines(pairs)
