"""Models that a person may begin with: offered in the form, and nothing more is known of them here."""

from __future__ import annotations

from typing import Final

CHAT: Final = (
    "mlx-community/Llama-3.2-1B-Instruct-4bit",
    "mlx-community/Llama-3.2-3B-Instruct-4bit",
    "mlx-community/Qwen2.5-7B-Instruct-4bit",
    "mlx-community/Qwen2.5-Coder-7B-Instruct-4bit",
    "mlx-community/Qwen3-8B-4bit",
    "mlx-community/Mistral-7B-Instruct-v0.3-4bit",
)
EMBEDDING: Final = (
    "sentence-transformers/all-MiniLM-L6-v2",
    "BAAI/bge-small-en-v1.5",
    "intfloat/multilingual-e5-small",
)
