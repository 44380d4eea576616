"""The JSON of embeddings, as OpenAI's reference prints it."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from inference.http.schema import EmbeddingRequest


def embeddings(request: EmbeddingRequest, vectors: Any, *, prompt_tokens: int) -> dict[str, Any]:
    """`vectors` is float32 [inputs, dimensions]; base64 is its little-endian bytes."""
    data = [
        {
            "object": "embedding",
            "index": index,
            "embedding": _base64(vector) if request.base64 else vector.tolist(),
        }
        for index, vector in enumerate(vectors)
    ]
    used = {"prompt_tokens": prompt_tokens, "total_tokens": prompt_tokens}
    return {"object": "list", "data": data, "model": request.model, "usage": used}


def _base64(vector: Any) -> str:
    return base64.b64encode(vector.astype(np.dtype("<f4")).tobytes()).decode()
