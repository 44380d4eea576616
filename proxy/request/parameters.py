"""Puts the parameters of an alias into a request: those that it has not said, and those that are fixed.

They are parameters of a chat. A message or a response of an alias that has any is therefore told in chat.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from endpoints.routing.snapshot import snapshot
from ollaproject.wire.unreadable import UNREADABLE
from proxy import errors
from proxy.request.beside import done
from proxy.request.bodies import NoRoomError, data_of
from proxy.routing.routing import alias_for

if TYPE_CHECKING:
    from collections.abc import Mapping

    from endpoints.routing.snapshot import Alias
    from proxy.request.bodies import Body, Spool
    from proxy.routing.routing import Question

# Here nothing is generated: they are told of a prompt, or of tokens, and say what there is.
COUNTING_PATHS: Final = frozenset({b"/v1/messages/count_tokens", b"/tokenize", b"/detokenize"})
# Two names of one thing: who says one of them has said the other.
LENGTHS: Final = frozenset({"max_tokens", "max_completion_tokens"})

_decode = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class Parameters(NamedTuple):
    """Those of an alias. `most` is the longest answer that the caller may have, None for any."""

    alias: Alias
    most: int | None

    def put_into(self, fields: dict[str, Any]) -> dict[str, Any]:
        """The request with them. Values that came are bytes, or what these have been read to."""
        return _overridden(
            _filled(fields, self._allowed(self.alias.defaults)), self._allowed(self.alias.overrides)
        )

    async def in_body(self, body: Body, spool: Spool) -> Body:
        """The same of a body, which was read before: it is an object. Raises ApiError."""

        def made() -> bytes:
            return msgspec.json.encode(self.put_into(_decode(data_of(body))))

        if isinstance(body, bytes):
            return await done(len(body), made)
        try:
            return await spool.keep(made)
        except NoRoomError:
            raise errors.no_room_for_body() from None
        finally:
            body.rest()

    def _allowed(self, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
        """No longer answer than the caller may have, who has not asked for it."""
        most = self.most
        if most is None or LENGTHS.isdisjoint(parameters):
            return parameters
        return {
            name: most if name in LENGTHS and isinstance(value, int) and value > most else value
            for name, value in parameters.items()
        }


def parameters_for(question: Question, path: bytes, most: int | None) -> Parameters | None:
    """What the alias that is asked for adds to a request on an inference route."""
    now = snapshot()
    if not now.has_parameters or path.rstrip(b"/") in COUNTING_PATHS:
        return None
    alias = alias_for(now, question)
    return Parameters(alias, most) if alias is not None and alias.has_parameters else None


def _filled(given: dict[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """What is missing in `given`, or null there, which means a default; objects are filled in turn."""
    found = dict(given)
    for name, value in defaults.items():
        said = _plain(given.get(name), value)
        if isinstance(said, dict) and isinstance(value, dict):
            found[name] = _filled(said, value)
        elif said is None and not _is_said_otherwise(name, given):
            found[name] = value
    return found


def _overridden(given: dict[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """A merge patch (RFC 7396): objects are merged, null takes out."""
    found = dict(given)
    for name, value in overrides.items():
        if name in LENGTHS:
            for other in LENGTHS:
                found.pop(other, None)
        if value is None:
            found.pop(name, None)
        elif isinstance(value, dict):
            said = _plain(found.get(name), value)
            found[name] = _overridden(said if isinstance(said, dict) else {}, value)
        else:
            found[name] = value
    return found


def _is_said_otherwise(name: str, given: Mapping[str, Any]) -> bool:
    return name in LENGTHS and any(_plain(given.get(other), 0) is not None for other in LENGTHS)


def _plain(said: Any, beside: Any) -> Any:
    """A value that came, read as far as it matters: all of an object beside one, else whether it is null.

    Raises ApiError 400 for an object that cannot be read: what came was looked at, but not all of it.
    """
    if not isinstance(said, msgspec.Raw):
        return said
    text = bytes(memoryview(said)[:4])
    if text == b"null":
        return None
    if not (isinstance(beside, dict) and text[:1] == b"{"):
        return said
    try:
        return msgspec.json.decode(said)
    except UNREADABLE:
        raise errors.invalid_json("is not valid JSON") from None
