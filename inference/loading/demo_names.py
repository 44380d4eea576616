"""What the demo models are called: their folders in OLLA_MODELS_DIR, and what clients ask for."""

from __future__ import annotations

CHAT_NAME = "SmolLM2-135M-Instruct"
EMBEDDING_NAME = "all-MiniLM-L6-v2"
