"""Asks an endpoint how it is and what it serves. The only room of the fleet that speaks HTTP.

A probe opens a connection of its own (a kept one says nothing about whether new ones are accepted), follows
no redirect, reads no more than it must, and ends in time even when the answer trickles in byte by byte.
"""

from __future__ import annotations

import errno
import socket
import ssl
import time
from dataclasses import replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Self

import httpx

from endpoints.choices import Status
from endpoints.errors import DiscoveryError
from endpoints.health import discovery, replies
from endpoints.health.findings import Answer, CheckTarget, Finding, FoundModel, ProbeResult, Trial
from endpoints.health.fresh_connections import SOCKET, FreshConnections
from endpoints.health.health_answers import is_loading, read_health_body, read_retry_after, read_status
from endpoints.health.patience import Patience
from endpoints.known_models import model_lists
from ollaproject.wire import clock, socket_urls
from ollaproject.wire.durations import format_duration
from ollaproject.wire.itself import CHECK_HEADER, gateway_id

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import TracebackType

MAX_HEALTH_BYTES = 64 * 1024
MAX_MODEL_LIST_BYTES = 4 * 1024**2
USER_AGENT = "olla-health-check"
CONNECTED = frozenset({"connection.connect_tcp.complete", "connection.connect_unix_socket.complete"})
UNREACHABLE = frozenset({errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN, errno.ENETDOWN})

WORDS_OF_FAILURE: tuple[tuple[type[BaseException], str], ...] = (
    (ConnectionRefusedError, "connection refused"),
    (ConnectionResetError, "it reset the connection"),
    (BrokenPipeError, "it reset the connection"),
    (FileNotFoundError, "there is no socket at its path"),
    (PermissionError, "this process may not connect to it"),
    (socket.gaierror, "name not known"),
    (ssl.SSLError, "the TLS handshake failed; it may speak plain http"),
)


class AnswerTooLarge(Exception):
    """A body that is longer than anything we asked for. `status` is the code that came with it."""

    def __init__(self, status: int) -> None:
        super().__init__(f"status {status}")
        self.status = status


class Checker:
    """One HTTP client for many checks, in one event loop: `async with Checker() as checker`."""

    def __init__(self) -> None:
        self._patience = Patience()
        self._client = httpx.AsyncClient(
            trust_env=False,
            transport=FreshConnections(),
            follow_redirects=False,
            timeout=None,  # noqa: S113  # one wall-clock limit holds for the whole exchange, see _get
            headers={
                "User-Agent": USER_AGENT,
                "Accept": "application/json",
                "Accept-Encoding": "identity",
                CHECK_HEADER: gateway_id(),
            },
        )

    async def __aenter__(self) -> Self:
        await self._client.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        await self._client.__aexit__(kind, error, traceback)

    async def check(self, target: CheckTarget, *, with_models: bool) -> Finding:
        """Probe `target`, and read its models when it is well and `with_models` asks for them.

        A list that cannot be read leaves the endpoint healthy, for its health route says so, with the reason
        shown.
        """
        result = await self.probe(target)
        if result.status != Status.HEALTHY or not with_models:
            return Finding(result)
        try:
            models = await self.discover(target)
            return Finding(result, models=models, memory_bytes=await self._memory(target))
        except DiscoveryError as error:
            return Finding(replace(result, reason=f"its list of models cannot be read: {error}"))

    async def probe(self, target: CheckTarget) -> ProbeResult:
        """How `target` is. Raises nothing that the network does: every failure is a result."""
        body = target.profile.health_body
        try:
            answer = await self._get(target, target.health_url, limit=MAX_HEALTH_BYTES if body else 0)
        except AnswerTooLarge as error:
            kilobytes = MAX_HEALTH_BYTES // 1024
            reason = f"its health answer is longer than {kilobytes} KiB: is the health check URL right?"
            return ProbeResult(Status.UNHEALTHY, reason, http_status=error.status)
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError, OSError) as error:
            words = failure_in_words(error, target.timeout_seconds)
            return ProbeResult(Status.OFFLINE, words, silent=isinstance(error, TimeoutError))
        status, reason = read_status(answer.status, has_credential=target.has_credential)
        if status == Status.HEALTHY and body:
            status, reason = read_health_body(answer.body, body)
        elif status == Status.UNHEALTHY and body and is_loading(answer.body, body):
            status, reason = Status.WARMING, "its model is loading"
        return ProbeResult(
            status,
            reason,
            http_status=answer.status,
            latency_seconds=answer.latency_seconds,
            retry_after_seconds=read_retry_after(answer.retry_after, now=clock.now()),
            time_share=answer.latency_seconds / target.timeout_seconds,
            silent=answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR,
            reply=replies.in_text(answer, target.headers),
        )

    async def generate(self, target: CheckTarget, trial: Trial) -> str:
        """Have `target` generate one token. Why it could not, in words; empty when it could.

        A refusal (4xx) says nothing of what is inside, so it counts as if it could.
        """
        try:
            answer = await self._ask(
                trial.url,
                headers=(*target.headers, ("Content-Type", "application/json")),
                timeout=trial.seconds,
                limit=MAX_HEALTH_BYTES,
                body=trial.body,
            )
        except AnswerTooLarge:
            return ""
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError, OSError) as error:
            return failure_in_words(error, trial.seconds)
        if answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            return read_status(answer.status, has_credential=target.has_credential)[1]
        return ""

    async def discover(self, target: CheckTarget) -> tuple[FoundModel, ...]:
        """What `target` serves, after its filters. Raises DiscoveryError with the reason in plain words."""
        try:
            answer = await self._get(target, target.models_url, limit=MAX_MODEL_LIST_BYTES)
        except AnswerTooLarge:
            raise DiscoveryError(f"it is longer than {MAX_MODEL_LIST_BYTES // 1024**2} MiB") from None
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError, OSError) as error:
            raise DiscoveryError(failure_in_words(error, target.timeout_seconds)) from None
        status, reason = read_status(answer.status, has_credential=target.has_credential)
        if status != Status.HEALTHY:
            raise DiscoveryError(reason)
        models = model_lists.parse(answer.body, target.profile.model_list)
        models = discovery.let_through(models, include=target.include, exclude=target.exclude)
        return await self._with_more(target, models)

    async def _with_more(self, target: CheckTarget, models: tuple[FoundModel, ...]) -> tuple[FoundModel, ...]:
        """What other routes say of the models, where the type has such routes and they answer."""
        profile = target.profile
        if profile.loaded_list and (body := await self._extra(target, target.loaded_url)):
            models = model_lists.with_loaded(models, body, profile.loaded_list)
        if profile.properties and (body := await self._extra(target, target.properties_url)):
            models = model_lists.with_properties(models, body, profile.properties)
        return models

    async def _memory(self, target: CheckTarget) -> int | None:
        shape = target.profile.memory
        body = await self._extra(target, target.memory_url) if shape else b""
        return model_lists.read_memory(body, shape) if shape and body else None

    async def _extra(self, target: CheckTarget, url: str) -> bytes:
        """The body at `url`, empty when it cannot be had: nothing depends on it."""
        try:
            answer = await self._get(target, url, limit=MAX_MODEL_LIST_BYTES)
        except (AnswerTooLarge, httpx.HTTPError, httpx.InvalidURL, TimeoutError, OSError):
            return b""
        return answer.body if answer.status == HTTPStatus.OK else b""

    async def fetch(self, url: str, *, headers: Iterable[tuple[str, str]], timeout: float) -> Answer | str:
        """GET `url` and read its body; why there is no answer, in words, when there is none."""
        try:
            return await self._ask(url, headers=headers, timeout=timeout, limit=MAX_MODEL_LIST_BYTES)
        except AnswerTooLarge:
            return "the answer is too long"
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError, OSError) as error:
            return failure_in_words(error, timeout)

    async def _get(self, target: CheckTarget, url: str, *, limit: int) -> Answer:
        return await self._ask(url, headers=target.headers, timeout=target.timeout_seconds, limit=limit)

    async def _ask(
        self,
        url: str,
        *,
        headers: Iterable[tuple[str, str]],
        timeout: float,
        limit: int,
        body: bytes | None = None,
    ) -> Answer:
        """GET `url`, or POST `body`, and read up to `limit` bytes; with 0 the answer's body stays unread."""
        connections: list[Any] = []

        async def keep_connection(event: str, info: dict[str, Any]) -> None:
            if event in CONNECTED:
                connections.append(info["return_value"])

        started, lost = time.perf_counter(), self._patience.lost
        place = socket_urls.read(url)
        request = self._client.build_request(
            "POST" if body else "GET",
            url if place is None else place.http,
            content=body,
            headers=list(headers),
            extensions={"trace": keep_connection, SOCKET: "" if place is None else place.path},
        )
        try:
            async with self._patience.limit(timeout):
                response = await self._client.send(request, stream=True)
                answered = await _read(response, limit=limit)
            seconds = max(0.0, time.perf_counter() - started - (self._patience.lost - lost))
            return Answer(response.status_code, answered, seconds, response.headers)
        finally:
            # httpx forgets the socket of a TLS handshake that does not end in time.
            for connection in connections:
                await connection.aclose()


async def _read(response: httpx.Response, *, limit: int) -> bytes:
    body = bytearray()
    try:
        if limit:
            async for chunk in response.aiter_raw():
                body += chunk
                if len(body) > limit:
                    raise AnswerTooLarge(response.status_code)
    finally:
        await response.aclose()
    return bytes(body)


def failure_in_words(error: BaseException, timeout_seconds: float) -> str:
    """Why there was no answer, as a person would say it."""
    if isinstance(error, TimeoutError | httpx.TimeoutException):
        return f"no answer within {format_duration(timeout_seconds)}"
    for cause in _causes(error):
        if words := _cause_in_words(cause):
            return words
    if isinstance(error, httpx.RemoteProtocolError):
        return "it closed the connection without an answer, or does not speak HTTP"
    if isinstance(error, httpx.InvalidURL | httpx.UnsupportedProtocol):
        return "its URL cannot be used"
    return "the connection failed"


def _cause_in_words(cause: BaseException) -> str:
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"its TLS certificate is not trusted: {cause.verify_message}"
    if isinstance(cause, OSError) and cause.errno in UNREACHABLE:
        return "no route to the host"
    return next((words for kind, words in WORDS_OF_FAILURE if isinstance(cause, kind)), "")


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error, what it came from, and the members of groups (one for each address that was tried)."""
    waiting: list[BaseException | None] = [error]
    seen: set[int] = set()
    while waiting:
        cause = waiting.pop(0)
        if cause is None or id(cause) in seen:
            continue
        seen.add(id(cause))
        yield cause
        waiting += [cause.__cause__, cause.__context__]
        if isinstance(cause, BaseExceptionGroup):
            waiting += cause.exceptions
