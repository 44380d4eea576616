"""Server-sent events as the OpenAI API writes them: `data: {json}`, a blank line, and `[DONE]` at the end."""

from __future__ import annotations

import json
from typing import Any

CONTENT_TYPE = b"text/event-stream"
DONE = b"data: [DONE]\n\n"


def event(payload: Any) -> bytes:
    """One event. Some clients strip exactly `data: ` and split on a blank line: space and LFs stay."""
    return b"data: " + json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode() + b"\n\n"
