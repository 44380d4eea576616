"""The API: what of the gateway answers a request, and a request's way through it (ARCHITECTURE.md)."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

from msgspec.structs import replace

from endpoints.routing.snapshot import snapshot
from ollaproject.wire.openai_errors import ApiError
from proxy import errors
from proxy.answer import usage
from proxy.answer.dialects import ANTHROPIC
from proxy.answer.relay import relay
from proxy.boundary import READ_METHODS, GatewayConsumer
from proxy.formats import batches
from proxy.formats.messages import Messages, MessagesTap
from proxy.formats.translation import converse
from proxy.formats.translators import is_translatable, translation_for
from proxy.request import estimate, headers, intake, needs
from proxy.request.beside import done
from proxy.request.bodies import data_of
from proxy.request.parameters import parameters_for
from proxy.request.paths import has_dot_segments, place_of
from proxy.routing.plan import Plan
from proxy.routing.routing import Question
from proxy.routing.sticky import Asker
from proxy.routing.tables import routing_table_loaded
from proxy.status import anthropic_models, model_catalogue, model_list
from proxy.upstream.transport import IDEMPOTENT_METHODS
from proxy.upstream.upstream import Outgoing

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from proxy.access.patterns import Names
    from proxy.call import Call
    from proxy.formats.batches import Part
    from proxy.request.bodies import Body
    from proxy.request.intake import Asked
    from proxy.request.parameters import Parameters
    from proxy.request.paths import Place
    from proxy.routing.failover import Begun

# With these, nothing is asked of a model.
HARMLESS_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
MODELS = b"/v1/models"
HEALTH = b"/health"
CATALOGUE = b"/olla/models"


class ApiConsumer(GatewayConsumer):
    """`/olla/…` and `/v1/…`."""

    def finished(self, call: Call) -> None:
        if call.session is not None:
            call.session.ended()
        outcome = call.outcome()
        if call.permit is not None:
            call.permit.close(outcome.charged)
        if self.gateway.revocations is not None:
            self.gateway.revocations.ended(call)
        self.gateway.records.close(outcome)
        if call.trace is not None:
            call.trace.end(outcome)
        self.gateway.translators.count(call)

    async def answer(self, call: Call) -> None:
        self.gateway.guard.check_host(call.head)
        if snapshot().revision < 0:
            await routing_table_loaded()
        call.caller = self.gateway.guard.authenticate(call.scope)
        if self.gateway.revocations is not None and call.holder is not None:
            self.gateway.revocations.began(call)
        await self.dispatch(call, call.path)

    def dispatch(self, call: Call, path: bytes) -> Awaitable[None]:
        """What answers a caller who is known, by what `path` asks for."""
        if self.gateway.tracing is not None:  # strangers leave no traces
            call.trace = self.gateway.tracing.request(call)
        if call.head.is_loop:
            raise errors.gateway_loop()
        if has_dot_segments(path):
            raise errors.invalid_path()
        if path == CATALOGUE or path.startswith(CATALOGUE + b"/"):
            return self._catalogue(call, path)
        place = place_of(path)
        if place is None:
            raise errors.not_found(unquote_to_bytes(path).decode("utf-8", "replace"))
        call.surface = place.surface
        if place.path.startswith(MODELS) and place.path[len(MODELS) : len(MODELS) + 1] in (b"", b"/"):
            return self._models(call, place)
        if place.path == HEALTH:
            return self._health(call, place)
        return self._forward(call, place)

    async def _catalogue(self, call: Call, path: bytes) -> None:
        """Every model of the fleet, or one by its name or alias. Names contain slashes."""
        if call.method not in READ_METHODS:
            raise errors.method_not_allowed(call.method, READ_METHODS)
        name = unquote_to_bytes(path[len(CATALOGUE) :]).decode("utf-8", "replace").strip("/")
        if not name:
            await call.respond_json(200, model_catalogue.listing(call.scope["query_string"], call.holder))
            return
        found = model_catalogue.one(name, call.holder)
        if found is None:
            known = [each.name for each in model_catalogue.known_models(call.holder)]
            raise errors.model_not_found(name, known)
        await call.respond_json(200, found)

    async def _models(self, call: Call, place: Place) -> None:
        """The list, or one of its entries. Ids contain slashes."""
        if call.method not in READ_METHODS:
            raise errors.method_not_allowed(call.method, READ_METHODS)
        name = unquote_to_bytes(place.path[len(MODELS) :]).decode("utf-8", "replace").strip("/")
        to_anthropic = call.dialect is ANTHROPIC or bool(headers.value(call.headers, b"anthropic-version"))
        if not name:
            listed = model_list.listed(place.surface, call.holder)
            query = call.scope["query_string"]
            shown = anthropic_models.page(listed["data"], query) if to_anthropic else listed
            await call.respond_json(200, shown)
            return
        found = model_list.entry(place.surface, name, call.holder)
        if found is None:
            known = model_list.listed(place.surface, call.holder)["data"]
            raise errors.model_not_found(name, [each["id"] for each in known])
        await call.respond_json(200, anthropic_models.model(found) if to_anthropic else found)

    async def _health(self, call: Call, place: Place) -> None:
        """A healthy backend's own answer. When there is none, that is a health answer too."""
        try:
            await self._forward(call, place)
        except ApiError as error:
            if error.status < errors.FIRST_SERVER_STATUS:
                raise
            pairs = [(name.lower().encode(), headers.text(text)) for name, text in error.headers.items()]
            call.error_code = error.code
            await call.respond_json(503, {"status": "unhealthy", "reason": error.message}, pairs)

    async def _forward(self, call: Call, place: Place) -> None:
        body = await call.read_body(self.gateway.spool, self.gateway.max_body_size)
        call.watch_client()
        inference = intake.is_inference(call.method, place.path)
        asked = intake.read(
            data_of(body),
            inference=inference,
            content_type=call.head.content_type,
            encoded=bool(call.head.named.get(b"content-encoding")),
        )
        call.model, call.stream = asked.model, asked.stream
        purpose = needs.purpose_of(place.path) if inference else ""
        question = Question(place.surface, asked.model, _allowed_endpoints(call, asked, body), purpose)
        body, parameters = await self._with_parameters(call, question, place, body, inference=inference)
        body = await self._within_limits(call, place, body, inference=inference)
        call.translation = translation_for(call.method, place.path, body, self.gateway.spool, parameters)
        if inference:
            body = self._tap(call, place, asked, body)
        outgoing = self._outgoing(call, place, body)
        repeatable = (
            inference or call.method in IDEMPOTENT_METHODS or intake.is_repeatable(call.method, place.path)
        )

        def ask(outgoing: Outgoing) -> Awaitable[Begun]:
            router, session = self.gateway.router, call.session
            plan = Plan(router, question, asked.prompt, session=session, waits=inference)
            return self.gateway.failover.first_answer(call, plan, outgoing, repeatable=repeatable)

        if self.gateway.rediscovery is not None and not self.gateway.router.knows(question):
            await self.gateway.rediscovery.ask()
        if inference and self.gateway.waking.is_needed:
            await self.gateway.waking.awake(call, question)
        parts = await self._parts(place, question, body) if call.translation is None else []
        if inference and not parts and self.gateway.sticky is not None:
            call.session = self.gateway.sticky.session_of(asker_of(call, asked))
        if call.translation is not None:
            await converse(call, call.translation, lambda: ask(outgoing))
        elif parts:
            await batches.answer(call, parts, lambda body: ask(replace(outgoing, body=body)))
        else:
            await relay(call, await ask(outgoing))

    async def _parts(self, place: Place, question: Question, body: Body) -> list[Part]:
        """The parts of a batch that is worth splitting: none where there is one endpoint to go to."""
        size = self.gateway.embedding_batch_size
        if place.path != batches.PATH or not size or len(body) < size:
            return []
        candidates = Plan(self.gateway.router, question).candidates()
        if len(list(islice(candidates, 2))) < 2:  # noqa: PLR2004 - one endpoint takes it whole
            return []
        return await done(len(body), batches.split, data_of(body), size)

    async def _with_parameters(
        self, call: Call, question: Question, place: Place, body: Body, *, inference: bool
    ) -> tuple[Body, Parameters | None]:
        """What an alias adds, in the body already unless a translation is to put it there."""
        most = call.holder.longest_answer if call.holder is not None else None
        parameters = parameters_for(question, place.path, most) if inference else None
        if parameters is not None and not is_translatable(place.path):
            body = await parameters.in_body(body, self.gateway.spool)
        return body, parameters

    async def _within_limits(self, call: Call, place: Place, body: Body, *, inference: bool) -> Body:
        """Count the request where its caller has limits. Gives the body with the answer's length limited."""
        caller, limiter = call.caller, self.gateway.limiter
        if caller is None or place.path == HEALTH:
            return body
        most = caller.holder.longest_answer if caller.holder is not None else None
        concerned = limiter.concerns(caller)
        if most is None and not concerned:
            return body
        guess = estimate.estimate(place.path, body, most) if inference else estimate.NONE
        if most is not None and inference:
            if headers.value(call.headers, b"content-encoding"):
                raise errors.unreadable_body()
            body = estimate.kept_short(place.path, body, guess.asked, most)
        if concerned:
            call.permit = await limiter.enter(caller, guess)
        return body

    def _tap(self, call: Call, place: Place, asked: Asked, body: Body) -> Body:
        """Count the tokens of the answer to come. Gives the body as the endpoint is to see it."""
        if call.translation is not None:
            call.tap = MessagesTap() if call.translation.name == Messages.name else usage.Tap(hide=False)
            return body
        changed = None
        if self.gateway.ask_for_usage and asked.stream and place.path in usage.PATHS_TO_ASK:
            changed = usage.asking(body, asked.stream_options)
        call.tap = usage.Tap(hide=changed is not None)
        return body if changed is None else changed

    def _outgoing(self, call: Call, place: Place, body: Body) -> Outgoing:
        scope, caller, head = call.scope, call.caller, call.head
        shared = head.passed_on(
            stream=call.stream,
            peer=caller.peer if caller else "",
            trusted=caller is not None and caller.peer_trusted,
            client=caller.address if caller else "",
            scheme=scope["scheme"],
        )
        own = headers.identifying(head.named, call.request_id.encode())
        return Outgoing(call.method, place.path, scope["query_string"], shared, own, body, call.translation)


def asker_of(call: Call, asked: Asked) -> Asker:
    address = call.caller.address if call.caller else ""
    return Asker(call.headers, address, asked.model or "", asked.prompt)


def _allowed_endpoints(call: Call, asked: Asked, body: Body) -> Names | None:
    """The endpoints that the caller's key may use, None for all. Raises ApiError 403 for its models."""
    holder = call.holder
    if holder is None:
        return None
    if holder.models:
        unread = asked.model is None and call.method not in HARMLESS_METHODS
        if unread or (asked.model is not None and not holder.models.admit(asked.model)):
            raise errors.model_not_allowed(holder.name, asked.model)
        if asked.model is not None and intake.names_another(data_of(body)):
            raise errors.model_not_allowed(holder.name, None)
    return holder.endpoints or None
