"""Which consumer answers which path of the model server."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.urls import re_path

from inference.http import cancelling, consumers, figures, messages, responses, tokenizing

if TYPE_CHECKING:
    from django.urls import URLPattern

    from inference.http.boundary import Serving


def url_patterns(serving: Serving) -> list[URLPattern]:
    """The last one catches all: a router raises on a path that it does not know."""
    routes = {
        r"^health/?$": consumers.Health,
        r"^v1/models/?$": consumers.Models,
        r"^v1/models/(?P<name>.+)$": consumers.Models,
        r"^v1/chat/completions/?$": consumers.ChatCompletions,
        r"^v1/completions/?$": consumers.Completions,
        r"^v1/embeddings/?$": consumers.Embeddings,
        r"^v1/messages/?$": messages.Messages,
        r"^v1/messages/count_tokens/?$": messages.CountTokens,
        r"^v1/responses/?$": responses.Responses,
        r"^v1/requests/(?P<name>[^/]+)(?:/cancel)?/?$": cancelling.Cancel,
        r"^tokenize/?$": tokenizing.Tokenize,
        r"^detokenize/?$": tokenizing.Detokenize,
        r"^v1/status/?$": figures.Status,
        r"^metrics/?$": figures.Metrics,
        r"^version/?$": figures.Version,
        r"": consumers.UnknownRoute,
    }
    return [re_path(path, consumer.as_asgi(serving=serving)) for path, consumer in routes.items()]
