"""A fake mail server on a loopback port: it keeps what it is sent, or refuses it."""

from __future__ import annotations

import socketserver
import threading
from typing import Self


class _Session(socketserver.StreamRequestHandler):
    """As much of RFC 5321 as a client needs to deliver one message."""

    server: FakeMailServer

    def handle(self) -> None:
        self._say("220 fake")
        while line := self.rfile.readline():
            word = line[:4].upper()
            if word in {b"EHLO", b"HELO"}:
                self._say("250 fake")
            elif word == b"RCPT" and self.server.refusal:
                self._say(self.server.refusal)
            elif word == b"DATA":
                self._say("354 go on")
                self.server.messages.append(self._message())
                self._say("250 taken")
            elif word == b"QUIT":
                self._say("221 bye")
                return
            else:
                self._say("250 ok")

    def _say(self, line: str) -> None:
        self.wfile.write(f"{line}\r\n".encode())

    def _message(self) -> str:
        lines = []
        while (line := self.rfile.readline()).rstrip() != b".":
            lines.append(line.decode())
        return "".join(lines)


class FakeMailServer(socketserver.ThreadingTCPServer):
    """`refusal` is what it answers to recipients, such as `450 later`, empty to take them."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Session)
        self.messages: list[str] = []
        self.refusal = ""
        self.port: int = self.server_address[1]
        self._thread = threading.Thread(target=self.serve_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()
