"""What may go wrong on a connection to an upstream, in words that need no subject."""

from __future__ import annotations


class WireError(Exception):
    """The connection did not carry a whole answer. Its text says what the upstream did, without a subject."""


class ClosedError(WireError):
    """The upstream closed or reset the connection before the answer was whole."""


class MalformedError(WireError):
    """What the upstream sent is not HTTP/1.1, or is beyond our limits."""


class CannotConnectError(WireError):
    """There was no connection, so nothing was sent. Its cause says why; none: it took too long."""


class StalledError(WireError):
    """Nothing moved for as long as the caller was ready to wait."""
