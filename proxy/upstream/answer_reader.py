"""What has arrived of an endpoint's answer: read by httptools, or known by its head (`answer_head`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httptools

from ollaproject.wire.heads import CONTENT_LENGTH, Memory
from proxy.request.headers import value as header
from proxy.upstream.answer_head import NO_BODY_STATUSES, AnswerHead
from proxy.upstream.wire_errors import MalformedError

if TYPE_CHECKING:
    from ollaproject.wire.heads import Known
    from proxy.request.headers import Pair
    from proxy.upstream.wire_errors import WireError

BUFFER_BYTES = 256 * 1024
MAX_HEAD_BYTES = 64 * 1024  # give or take one read from the socket
FIRST_FINAL_STATUS = 200
NO_HEAD = AnswerHead(0, [])  # there is none yet
LENGTH_HEADERS = frozenset({b"content-length", b"transfer-encoding"})


class AnswerReader:
    """One answer after another; `_clear` begins the next. Whoever inherits it says how to fail and pause.

    `complete` is when the whole answer has arrived, `answered` when at least one byte has. `said_length` is
    the value of its Content-Length.
    """

    def __init__(self, known: Memory[AnswerHead] | None = None) -> None:
        self._known = Memory() if known is None else known  # heads of answers that came before
        self._usual_head: Known[AnswerHead] | None = None
        self._parser: httptools.HttpResponseParser | None = None
        self._keep_alive = False
        self._clear(expects_body=True)

    def _clear(self, *, expects_body: bool) -> None:
        self.head = NO_HEAD
        self.said_length = b""
        self.complete = False
        self.answered = False
        self._parser = None  # made when it is needed
        self._head_complete = False
        self._head_pairs: list[Pair] = []
        self._head_bytes = 0
        self._expects_body = expects_body
        self._pieces: list[bytes] = []
        self._buffered = 0

    def _fail(self, fault: WireError) -> None:
        raise NotImplementedError

    def _pause_reading(self) -> None:
        raise NotImplementedError

    @property
    def status(self) -> int:
        return self.head.status

    @property
    def headers(self) -> list[Pair]:
        return self.head.pairs(self.said_length)

    @property
    def buffered(self) -> int:
        """How many bytes of the body wait to be read."""
        return self._buffered

    def _take(self, data: bytes) -> None:
        """What has come in."""
        self.answered = True
        if self._parser is not None:
            self._parse(data)
        elif self.complete:
            self._keep_alive = False  # more than was announced
        elif not self._recall(data):
            self._parse(data)
            self._learn(data)

    def _recall(self, data: bytes) -> bool:
        """Take a whole answer whose head came before, without parsing it again."""
        found = self._known.find(data, self._usual_head) if self._expects_body else None
        if found is None:
            return False
        self._usual_head, self.said_length, body = found
        self.head = self._usual_head.what
        if body:
            self._pieces.append(body)
            self._buffered = len(body)
        self._head_complete = self.complete = self._keep_alive = True
        return True

    def _learn(self, data: bytes) -> None:
        if self.complete and self._keep_alive and self._expects_body:
            found = AnswerHead.worth_keeping(data, self.head.status, self._head_pairs)
            if found is not None:
                self._known.keep(*found)

    def _parse(self, data: bytes) -> None:
        if self._parser is None:
            self._parser = httptools.HttpResponseParser(self)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._keep_alive = False
            if not self.complete:
                self._fail(MalformedError(f"sent an answer that is not valid HTTP ({error})"))
        if not self._head_complete:
            self._count_head(len(data))

    def _ends_with_connection(self) -> bool:
        """RFC 9112, 6.3: an answer that gives no length ends where the connection does."""
        return self._head_complete and not any(name in LENGTH_HEADERS for name, _ in self._head_pairs)

    def _count_head(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > MAX_HEAD_BYTES:
            self._fail(MalformedError(f"sent headers larger than {MAX_HEAD_BYTES} bytes"))

    # --- httptools: what the parser has found ---

    def on_message_begin(self) -> None:
        if self._head_complete:
            self._keep_alive = False  # a second answer to one question

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._head_complete:  # else it is a trailer
            self._head_pairs.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        parser = self._parser
        if self._head_complete or parser is None:
            return
        status: int = parser.get_status_code()
        if status < FIRST_FINAL_STATUS:
            self._head_pairs = []  # 1xx: the answer itself follows
            return
        self.head = AnswerHead(status, self._head_pairs)
        self.said_length = header(self._head_pairs, CONTENT_LENGTH)
        self._head_complete = True
        if not self._expects_body or status in NO_BODY_STATUSES:
            self.complete = True
            self._keep_alive = parser.should_keep_alive()

    def on_body(self, data: bytes) -> None:
        if self.complete:
            self._keep_alive = False  # more than was announced
            return
        self._pieces.append(data)
        self._buffered += len(data)
        if self._buffered > BUFFER_BYTES:
            self._pause_reading()

    def on_message_complete(self) -> None:
        if self._head_complete and not self.complete and self._parser is not None:
            self.complete = True
            self._keep_alive = self._parser.should_keep_alive()
