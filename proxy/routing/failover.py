"""Candidates are tried in order until one answers. Nothing was passed on yet: the client notices nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from endpoints.choices import Retry
from proxy import errors
from proxy.errors import FirstByteTimeoutError, UnreachableError, UpstreamError
from proxy.records.record import FIRST_FAILED_STATUS
from proxy.request.beside import done
from proxy.request.rewrite import with_model

if TYPE_CHECKING:
    from endpoints.routing.selection import Candidate
    from endpoints.routing.snapshot import Target
    from proxy.call import Call
    from proxy.records.record import Records, Running
    from proxy.routing.admission import Admission, Slot
    from proxy.routing.plan import Plan
    from proxy.upstream.upstream import Answer, Outgoing, Upstream

# The endpoint says that it cannot serve now. A sibling may.
RETRY_STATUSES = frozenset({429, 502, 503, 504})
# A plain answer up to this size is complete before any of it is passed on: then it cannot break halfway.
MAX_GATHERED_BYTES = 256 * 1024
# Of an attempt that nobody waits for any more: the client has left, or the gateway ends the request.
BROKEN_OFF = "broken off before it answered"


class Begun(msgspec.Struct):
    """An answer to pass on. `body` is all of it when it was gathered, None when it is to be relayed."""

    answer: Answer
    body: bytes | None
    running: Running


class Failover:
    """Finds the endpoint that answers."""

    def __init__(self, upstream: Upstream, records: Records, admission: Admission) -> None:
        self._upstream = upstream
        self._records = records
        self._admission = admission

    async def first_answer(self, call: Call, plan: Plan, outgoing: Outgoing, *, repeatable: bool) -> Begun:
        """The first good answer, or the last candidate's own, whatever it says.

        A `repeatable` request goes to the next candidate even when the one before may have acted on it,
        others only when nothing was sent; an endpoint's `retry` may say otherwise of what it gets. Raises
        ApiError: 502 or 504 when no candidate answered, 503 when those left stay full.
        """
        failure: type[UpstreamError] | None = None
        line, priority = (call.caller.line, call.caller.priority) if call.caller else ("", 0)
        while (slot := await self._admission.enter(plan, line, priority)) is not None:
            target = _place(call, plan, slot.candidate)
            may_repeat = _may_repeat(target, repeatable=repeatable)
            running = self._begin(call, slot)
            try:
                sent = await for_candidate(outgoing, slot.candidate)
                begun = await self._attempt(target, sent, running, repeatable=may_repeat)
            except UpstreamError as error:
                failure = type(error)
                plan.broke(slot.candidate)
                running.failed(reason=str(error), broken=True)
                call.tried(target.name, str(error))
                if not may_repeat and not isinstance(error, UnreachableError):
                    break
                continue
            except BaseException:
                running.abandoned()
                call.tried(target.name, BROKEN_OFF)
                raise
            if may_repeat and begun.answer.status in RETRY_STATUSES and not plan.exhausted:
                call.tried(target.name, f"answered {begun.answer.status}")
                settle(begun)
                begun.answer.close()
                continue
            call.tried(target.name, None)
            return begun
        if failure is UnreachableError:
            call.target = None  # no backend was reached
        told = [f"{each.endpoint} {each.reason}" for each in call.attempts]
        raise errors.all_failed(told, timed_out=failure is FirstByteTimeoutError)

    def _begin(self, call: Call, slot: Slot) -> Running:
        running = self._records.attempt(slot, call)
        if call.overhead is None:
            call.overhead = call.elapsed - slot.waited
        if call.trace is not None:
            running.trace = call.trace.attempt(slot)
        return running

    async def _attempt(
        self, target: Target, outgoing: Outgoing, running: Running, *, repeatable: bool
    ) -> Begun:
        if running.trace is not None:
            outgoing = replace(outgoing, own=running.trace.headers(outgoing.own))
        answer = await self._upstream.send(target, outgoing, repeatable=repeatable)
        if answer.is_stream or answer.length is None or answer.length > MAX_GATHERED_BYTES:
            running.answered()
            return Begun(answer, None, running)
        try:
            body = await answer.gather()
        finally:
            answer.close()
        running.answered()
        return Begun(answer, body, running)


def _may_repeat(target: Target, *, repeatable: bool) -> bool:
    """Whether what was sent to an endpoint may be sent again."""
    return repeatable if target.retry is Retry.SAFE else target.retry is Retry.ALWAYS


def _place(call: Call, plan: Plan, candidate: Candidate) -> Target:
    call.placed(candidate.target)
    call.served_model = candidate.model
    if plan.question.model is not None:
        call.routing = plan.decision(candidate)
    return candidate.target


async def for_candidate(outgoing: Outgoing, candidate: Candidate) -> Outgoing:
    """The request as it goes to a candidate: in a format that it speaks, and for the model of an alias."""
    if outgoing.translation is not None:
        outgoing = await outgoing.translation.outgoing_for(outgoing, candidate.target)
    if candidate.model is None:
        return outgoing
    body = outgoing.body
    return replace(outgoing, body=await done(len(body), with_model, body, candidate.model))


def settle(begun: Begun, bytes_out: int = 0) -> None:
    """An answer has come to its end: its status says whether the endpoint did what was asked."""
    if begun.answer.status >= FIRST_FAILED_STATUS:
        begun.running.failed(bytes_out, reason=f"answered {begun.answer.status}", broken=False)
    else:
        begun.running.succeeded(bytes_out)


async def gathered(begun: Begun) -> bytes:
    """All of an answer's body, for who makes another of it. Raises ApiError 502 when the endpoint fails."""
    try:
        body = begun.body if begun.body is not None else await begun.answer.gather()
        settle(begun, len(body))
    except UpstreamError as error:
        begun.running.failed(reason=str(error), broken=True)
        told = [f"{begun.answer.target.name} {error}"]
        raise errors.all_failed(told, timed_out=False) from error
    else:
        return body
    finally:
        begun.running.abandoned()
        begun.answer.close()
