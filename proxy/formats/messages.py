"""Anthropic's `/v1/messages` and `/v1/messages/count_tokens` at the door (contract, section 7)."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from endpoints.profiles import profile
from ollaproject.wire.anthropic import counting, errors
from ollaproject.wire.anthropic.answer import message_of
from ollaproject.wire.anthropic.request import to_chat
from ollaproject.wire.anthropic.stream import MessageStream
from ollaproject.wire.asgi import JSON, encode_json
from proxy.answer.usage import Tap, first_tokens_in
from proxy.formats.translation import FIRST_ERROR_STATUS, Translation
from proxy.request.beside import done
from proxy.request.bodies import whole
from proxy.routing.failover import gathered

if TYPE_CHECKING:
    from endpoints.routing.snapshot import Target
    from ollaproject.wire.anthropic.request import Asked
    from ollaproject.wire.chat import Completion
    from proxy.answer.usage import Tokens
    from proxy.call import Call
    from proxy.formats.translation import Told
    from proxy.request.headers import Pair
    from proxy.routing.failover import Begun

TOKENIZE = b"/tokenize"
PASSTHROUGH = (b"x-olla-mode", b"passthrough")
EXACT, ESTIMATED = (b"x-olla-token-count", b"exact"), (b"x-olla-token-count", b"estimated")
# What servers answer that count no tokens, or not of such a conversation.
CANNOT_COUNT = frozenset({400, 404, 405, 422, 500, 501})
HEAD_BYTES = 4096


class MessagesTap(Tap):
    """A message's stream tells its input at its beginning and its output at its end."""

    __slots__ = ("_head",)

    def __init__(self) -> None:
        super().__init__(hide=False)
        self._head = b""

    def take(self, piece: bytes) -> bytes:
        if len(self._head) < HEAD_BYTES:
            self._head += piece[: HEAD_BYTES - len(self._head)]
        return super().take(piece)

    def tokens(self) -> Tokens | None:
        last = super().tokens()
        if last is None or last.prompt is not None:
            return last
        first = first_tokens_in(self._head)
        return last if first is None else type(last)(first.prompt, last.completion, first.cached)


class Messages(Translation):
    """One message."""

    name = "anthropic"
    drops = (b"anthropic-",)

    @cached_property
    def asked(self) -> Asked:
        return to_chat(whole(self.body))

    def is_spoken_by(self, target: Target) -> bool:
        return profile(target.type).speaks_anthropic

    def chat(self) -> Any:
        return self.asked.chat

    def forget_chat(self) -> None:
        self.asked = replace(self.asked, chat={})

    def whole(self, completion: Completion) -> Any:
        asked = self.asked
        return message_of(completion, model=asked.model, hides_thoughts=asked.hides_thoughts)

    def stream(self) -> Told:
        return MessageStream(model=self.asked.model, hides_thoughts=self.asked.hides_thoughts)

    def error(self, status: int, body: bytes, request_id: str) -> bytes:
        return encode_json(errors.of_openai(status, body, request_id))

    def headers(self) -> list[Pair]:
        return [PASSTHROUGH] if self.passed else []

    def passes_unchanged(self, begun: Begun) -> bool:
        """An error that is not in Anthropic's shape is put into it."""
        is_error = begun.answer.status >= FIRST_ERROR_STATUS and begun.body is not None
        return self.passed and not (is_error and not errors.is_anthropic(begun.body or b""))


class Counting(Messages):
    """How many tokens a message would have: asked of the endpoint where it can tell, else estimated."""

    @cached_property
    def asked(self) -> Asked:
        return to_chat(whole(self.body), counts_only=True, can_continue=True)

    def is_spoken_by(self, target: Target) -> bool:
        return profile(target.type).counts_tokens

    @property
    def chat_path(self) -> bytes:
        return TOKENIZE

    def chat(self) -> Any:
        return counting.tokenize_request(self.asked)

    def forget_chat(self) -> None:
        del self.asked  # read again from the body, if it must be estimated

    async def relay(self, call: Call, begun: Begun) -> None:
        status = begun.answer.status
        if self.passed or (status >= FIRST_ERROR_STATUS and status not in CANNOT_COUNT):
            call.own_headers.append(EXACT)
            await super().relay(call, begun)
            return
        body = await gathered(begun)
        exact = counting.counted(body) if status < FIRST_ERROR_STATUS else None
        call.own_headers.append(ESTIMATED if exact is None else EXACT)
        if exact is None:
            guess = await done(len(self.body), lambda: counting.estimate(self.asked))
            payload = {"input_tokens": guess, "estimated": True}
        else:
            payload = {"input_tokens": exact}
        await call.respond(200, encode_json(payload), [(b"content-type", JSON)])
