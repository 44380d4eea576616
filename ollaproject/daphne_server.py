"""Daphne as it must be for streams: `python -m ollaproject.daphne_server ollaproject.asgi:application`.

Daphne itself buffers all that a slow reader does not take, looks only once a second for what has ended, and
leaves an answer open that its application broke off. All three are mended through the methods below, which
are no documented interface of Daphne: hence its pinned version, and streaming tests that run over both.
"""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import TYPE_CHECKING, Any

import daphne.server
from daphne.cli import CommandLineInterface
from daphne.http_protocol import HTTPFactory, WebRequest
from twisted.internet.defer import Deferred

from ollaproject import open_files
from ollaproject.wire.request_target import in_origin_form

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ollaproject.wire.asgi import Message, Scope

    Task = asyncio.Task[None]

logger = logging.getLogger(__name__)

# An application that listens for its client's departure ends within this time; others are cancelled.
DEPARTURE_GRACE_SECONDS = 0.05
# What the last words of cancelled requests get to reach their clients when the server stops.
FLUSH_SECONDS = 0.1
# Daphne has all of a request's body and hands it over in pieces of this size; its own default is 8 KiB.
BODY_PIECE_BYTES = 256 * 1024


class Request(WebRequest):  # type: ignore[misc]
    """A request whose application waits while the client's connection takes no more."""

    _producing = False
    _resumed: asyncio.Future[None] | None = None
    _has_target = True

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:  # noqa: N802 - Twisted's name
        """`path` is the request's whole target."""
        hosts = [(b"host", value) for value in self.requestHeaders.getRawHeaders(b"host", [])]
        try:
            path, hosts = in_origin_form(path, hosts)
        except ValueError:
            self._has_target = False
        if hosts:
            self.requestHeaders.setRawHeaders(b"host", [value for _, value in hosts])
        super().requestReceived(command, path, version)

    def process(self) -> Any:
        if self._has_target:
            return super().process()
        self.basic_error(400, b"Bad Request", "What was sent is not an HTTP/1.1 request.")
        return None

    # Twisted's interface for producers: the connection calls these as its buffer fills and drains.

    def pauseProducing(self) -> None:  # noqa: N802 - Twisted's name
        if self._resumed is None:
            self._resumed = asyncio.get_running_loop().create_future()

    def resumeProducing(self) -> None:  # noqa: N802 - Twisted's name
        resumed, self._resumed = self._resumed, None
        if resumed is not None and not resumed.done():
            resumed.set_result(None)

    stopProducing = resumeProducing  # noqa: N815 - Twisted's name

    @property
    def connected(self) -> bool:
        return not self.finished and self.channel is not None

    async def drained(self) -> None:
        """Wait until the client's connection can take more."""
        if self._resumed is not None:
            await self._resumed

    def handle_reply(self, message: Message) -> None:
        more = message["type"] == "http.response.body" and message.get("more_body")
        if more and self.connected and not self._producing:
            self._producing = True
            self.registerProducer(self, True)  # noqa: FBT003 - Twisted's signature
        super().handle_reply(message)

    def finish(self) -> None:
        if self._producing:
            self._producing = False
            self.unregisterProducer()
        super().finish()

    def connectionLost(self, reason: object) -> None:  # noqa: N802 - Twisted's name
        self._producing = False
        self.resumeProducing()
        super().connectionLost(reason)
        self.server.client_left(self)

    def handle_exception(self, exception: BaseException) -> None:
        """Answer 500. Once an answer has begun, there is nothing left to say."""
        if self._response_started:
            self.cut()
        else:
            super().handle_exception(exception)

    def cut(self) -> None:
        """Close the connection after what was written, in the middle of the answer."""
        if self.connected:
            self.channel.loseConnection()


class Factory(HTTPFactory):  # type: ignore[misc]
    """Makes connections whose requests are ours."""

    def buildProtocol(self, addr: object) -> Any:  # noqa: N802 - Twisted's name
        protocol = super().buildProtocol(addr)
        protocol.requestFactory = Request
        return protocol


class Server(daphne.server.Server):  # type: ignore[misc]
    """Daphne's server with back-pressure, prompt cancellation and prompt ends."""

    def __init__(self, *args: Any, **options: Any) -> None:
        options.setdefault("request_buffer_size", BODY_PIECE_BYTES)
        super().__init__(*args, **options)

    def run(self) -> None:
        open_files.allow_many()
        daphne.server.HTTPFactory = Factory  # `run` makes its factory itself and takes none
        super().run()

    async def handle_reply(self, protocol: Any, message: Message) -> None:
        await super().handle_reply(protocol, message)
        if isinstance(protocol, Request):
            await protocol.drained()

    def create_application(self, protocol: Any, scope: Scope) -> Any:
        queue = super().create_application(protocol, scope)
        task = self._task_of(protocol)
        if task is not None and isinstance(protocol, Request):
            task.add_done_callback(partial(self._ended, protocol))
        return queue

    def client_left(self, request: Request) -> None:
        """The connection of a request is gone: its application has a moment to end by itself."""
        task = self._task_of(request)
        if task is not None:
            asyncio.get_running_loop().call_later(DEPARTURE_GRACE_SECONDS, task.cancel)

    def protocol_disconnected(self, protocol: Any) -> None:
        if protocol in self.connections:
            super().protocol_disconnected(protocol)
            self._forget(protocol)

    def kill_all_applications(self) -> Any:
        """Cancel what runs before the server stops, and let it have its last words."""
        running = [task for task in map(self._task_of, self.connections) if task is not None]
        for task in running:
            task.cancel()
        return Deferred.fromFuture(asyncio.ensure_future(self._end_of(running)))

    async def _end_of(self, running: Iterable[Task]) -> None:
        await asyncio.gather(*running, return_exceptions=True)
        await asyncio.sleep(FLUSH_SECONDS)

    def _task_of(self, protocol: Any) -> Task | None:
        task: Task | None = self.connections.get(protocol, {}).get("application_instance")
        return task if task is not None and not task.done() else None

    def _ended(self, request: Request, task: Task) -> None:
        """The application has returned. What it left unfinished is cut, and the record of it goes."""
        record = self.connections.get(request)
        if record is None:
            return
        record.pop("application_instance", None)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            logger.error("The application failed: %s", error, exc_info=error)
            request.handle_exception(error)
        else:
            request.cut()
        self._forget(request)

    def _forget(self, protocol: Any) -> None:
        """Drop the record of a connection when both it and its application are gone."""
        record = self.connections.get(protocol, {})
        if "disconnected" in record and "application_instance" not in record:
            del self.connections[protocol]


class Command(CommandLineInterface):  # type: ignore[misc]
    """Daphne's own command line."""

    server_class = Server


if __name__ == "__main__":
    Command.entrypoint()
