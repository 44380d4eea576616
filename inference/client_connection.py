"""uvicorn's HTTP/1.1 protocol, with the bodies of requests that would rather go on in another protocol."""

from __future__ import annotations

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from ollaproject.request_scope import refuse_tunnel
from ollaproject.wire.declined_upgrade import asks_for_another, plain_head


class ClientConnection(HttpToolsProtocol):
    """No other protocol is spoken here, and no tunnel opened."""

    def on_headers_complete(self) -> None:
        refuse_tunnel(self.parser)
        super().on_headers_complete()

    def data_received(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError:
            self.send_400_response("Invalid HTTP request received.")
        except httptools.HttpParserUpgrade as stopped:
            if self._should_upgrade():
                scope = self.scope
                head = plain_head(scope["method"], self.url, scope["http_version"], self.headers)
                self.data_received(head + data[stopped.args[0] :])

    def _should_upgrade(self) -> bool:
        """Asked when a head is complete: such a request is not begun yet."""
        return asks_for_another(self.headers)
