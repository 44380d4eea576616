"""Ends a request that is under way, by its id or by that of its answer, as vllm-mlx does."""

from __future__ import annotations

from inference.http.boundary import NOT_FOUND, OK, Consumer
from ollaproject.wire.openai_errors import ApiError


class Cancel(Consumer):
    """`POST /v1/requests/ID/cancel` and `DELETE /v1/requests/ID`.

    The request is answered with an error that says so, and its rows are free at the engine's next step.
    Where several requests have that id, all of them end.
    """

    route = "cancel"
    methods = ("POST", "DELETE")

    async def respond(self, body: bytes) -> None:  # noqa: ARG002
        name = self.scope["url_route"]["kwargs"]["name"]
        found = self.serving.running.get(name)
        if not found:
            message = f"No request {name!r} is under way here. It may have ended."
            raise ApiError(NOT_FOUND, "request_not_found", message)
        for consumer in found:
            consumer.cancel()
        payload = {
            "object": "request.cancel",
            "id": name,
            "cancelled": True,
            "model": self.serving.engine.model_name,
        }
        await self.send_object(OK, payload)
